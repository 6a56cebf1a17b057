//! From what a run made to the tensors of an answer.

use std::sync::Arc;

use smallvec::SmallVec;

use super::ffi::{Environment, Session, Value, ValueKind};
use super::signature::Form;
use super::strings;
use crate::types::{DType, Shape, Tensor, TensorSpec};

/// Largest output that is given its buffer before the run. Above it the saving
/// means nothing, and ONNX Runtime fails cleanly when memory is short.
const OWN_BUFFER_BYTES: usize = 1 << 20;

/// One output of the model, and what the first runs have taught about it.
#[derive(Clone, Debug)]
pub(super) struct OutputPlan {
    dtype: DType,
    pub(super) form: Form,
    pub(super) shape: KnownShape,
    /// Keys of the maps, packed as a tensor's data; `None` until a run has shown them.
    pub(super) keys: Option<Arc<[u8]>>,
}

/// What can be said about an output's shape before a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KnownShape {
    Unknown,
    Fixed(Shape),
    /// This shape with the rows of the inputs as its first dimension.
    Rows(Shape),
}

/// Memory of ours that a run writes an output to, and an answer then carries.
pub(super) struct OwnBuffer {
    dtype: DType,
    shape: Shape,
    pub(super) data: Vec<u8>,
}

/// In the order of the wanted outputs; `None` for one that ONNX Runtime allocates.
pub(super) type OwnBuffers = SmallVec<[Option<OwnBuffer>; 2]>;

impl OwnBuffer {
    pub(super) fn value(&mut self, environment: &Environment) -> Result<Value<'_>, String> {
        Value::over_mut(environment, self.dtype, self.shape.dims(), &mut self.data)
    }

    pub(super) fn into_output(self) -> Result<Output, String> {
        let tensor = Tensor::new(self.dtype, self.shape, self.data.into());
        Ok(Output { tensor: tensor.map_err(|error| error.to_string())?, keys: None })
    }
}

impl OutputPlan {
    pub(super) fn new(dtype: DType, form: Form) -> OutputPlan {
        OutputPlan { dtype, form, shape: KnownShape::Unknown, keys: None }
    }

    /// A buffer for the output of a run over `rows`, where its size is known.
    pub(super) fn own_buffer(&self, rows: Option<usize>, fill: u8) -> Option<OwnBuffer> {
        let shape = match &self.shape {
            KnownShape::Unknown => return None,
            KnownShape::Fixed(shape) => shape.clone(),
            KnownShape::Rows(one) => one.with_rows(rows?).ok()?,
        };
        let size = self.dtype.size()?;
        let len = shape.elements().checked_mul(size)?;
        if len == 0 || len > OWN_BUFFER_BYTES {
            return None;
        }
        let data = vec![fill; len];
        // Allocators align far more than asked; where one did not, ONNX Runtime allocates.
        let aligned = data.as_ptr().addr().is_multiple_of(size);
        aligned.then_some(OwnBuffer { dtype: self.dtype, shape, data })
    }
}

/// An output of a run as one tensor, with the keys of its maps where it has any.
pub(super) struct Output {
    pub(super) tensor: Tensor,
    pub(super) keys: Option<Box<[u8]>>,
}

/// Makes the tensor of the output `spec` out of what `session` made. Maps must have
/// the keys of `plan`, where it knows them.
pub(super) fn collect(
    environment: &Environment,
    session: &Arc<Session>,
    spec: &TensorSpec,
    plan: &OutputPlan,
    value: Value<'_>,
) -> Result<Output, String> {
    let maps = |key, maps: &mut dyn Iterator<Item = Result<Value<'_>, String>>| {
        let mut rows = Rows::new(spec, key, plan.keys.as_deref());
        for map in maps {
            rows.push_map(environment, &map?)?;
        }
        Ok::<_, String>(rows)
    };
    let collected = match (plan.form, value.kind()?) {
        (Form::Tensor, ValueKind::Tensor) => {
            let tensor = tensor_of(session, spec.dtype, value)?;
            Ok(Output { tensor, keys: None })
        }
        (Form::Stack, ValueKind::Sequence) => stack(environment, spec, &value),
        (Form::Map { key }, ValueKind::Map) => {
            let rows = maps(key, &mut std::iter::once(Ok(value)))?;
            rows.finish(|_, columns| vec![columns])
        }
        (Form::Maps { key }, ValueKind::Sequence) => {
            let count = value.count()?;
            let rows = maps(key, &mut (0..count).map(|index| value.part(environment, index)))?;
            rows.finish(|rows, columns| vec![rows, columns])
        }
        _ => Err("the model gave no value".to_owned()),
    };
    collected.map_err(|reason| format!("output '{}': {reason}", spec.name))
}

/// A tensor with the value's data: without a copy where that is possible.
fn tensor_of(session: &Arc<Session>, dtype: DType, value: Value<'_>) -> Result<Tensor, String> {
    let shape = shape_of(&value, dtype)?;
    let data = match dtype.size() {
        Some(_) => value.into_bytes(session)?,
        None => strings::packed(&value, shape.elements())?.into(),
    };
    Tensor::new(dtype, shape, data).map_err(|error| error.to_string())
}

fn shape_of(value: &Value<'_>, dtype: DType) -> Result<Shape, String> {
    let (made, dims) = value.tensor_type()?;
    if made != dtype {
        return Err(format!("the model declares {dtype} and gave {made}"));
    }
    Shape::new(dims).map_err(|error| error.to_string())
}

/// Appends the packed elements of a tensor and returns their shape.
fn append(value: &Value<'_>, dtype: DType, to: &mut Vec<u8>) -> Result<Shape, String> {
    let shape = shape_of(value, dtype)?;
    match dtype.size() {
        Some(_) => to.extend_from_slice(value.data()?),
        None => to.append(&mut strings::packed(value, shape.elements())?),
    }
    Ok(shape)
}

fn stack(
    environment: &Environment,
    spec: &TensorSpec,
    sequence: &Value<'_>,
) -> Result<Output, String> {
    let count = sequence.count()?;
    let mut data = Vec::new();
    let mut first: Option<Shape> = None;
    for index in 0..count {
        let shape = append(&sequence.part(environment, index)?, spec.dtype, &mut data)?;
        match &first {
            None => first = Some(shape),
            Some(first) if *first == shape => {}
            Some(first) => {
                return Err(format!(
                    "it is a sequence of tensors of different shapes ({first} and {shape}), which \
                     do not stack"
                ));
            }
        }
    }
    let declared = || spec.dims.iter().skip(1).map(|dim| dim.wire().max(0));
    let element = match first {
        Some(shape) => shape.dims().to_vec(),
        None => declared().collect(),
    };
    let rows = i64::try_from(count).map_err(|_| "too many tensors".to_owned())?;
    tensor(spec.dtype, std::iter::once(rows).chain(element), data)
        .map(|tensor| Output { tensor, keys: None })
}

fn tensor(
    dtype: DType,
    dims: impl IntoIterator<Item = i64>,
    data: Vec<u8>,
) -> Result<Tensor, String> {
    let shape = Shape::new(dims).map_err(|error| error.to_string())?;
    Tensor::new(dtype, shape, data.into()).map_err(|error| error.to_string())
}

/// Maps with the same keys, one after another, as the rows of one tensor.
struct Rows {
    dtype: DType,
    key: DType,
    keys: Option<Vec<u8>>,
    /// The keys of the row at hand; kept for its memory.
    row_keys: Vec<u8>,
    columns: usize,
    rows: usize,
    data: Vec<u8>,
}

impl Rows {
    fn new(spec: &TensorSpec, key: DType, keys: Option<&[u8]>) -> Rows {
        Rows {
            dtype: spec.dtype,
            key,
            keys: keys.map(<[u8]>::to_vec),
            row_keys: Vec::new(),
            // Where there is no row at all, the columns are those that are declared.
            columns: spec.dims.last().map_or(0, |dim| usize::try_from(dim.wire()).unwrap_or(0)),
            rows: 0,
            data: Vec::new(),
        }
    }

    fn push_map(&mut self, environment: &Environment, map: &Value<'_>) -> Result<(), String> {
        self.row_keys.clear();
        append(&map.part(environment, 0)?, self.key, &mut self.row_keys)?;
        match &self.keys {
            Some(keys) if *keys != self.row_keys => {
                return Err(format!(
                    "its map has the keys {:?}, but {:?} before, so they are no columns",
                    labels(self.key, &self.row_keys),
                    labels(self.key, keys),
                ));
            }
            Some(_) => {}
            None => self.keys = Some(self.row_keys.clone()),
        }
        let shape = append(&map.part(environment, 1)?, self.dtype, &mut self.data)?;
        self.columns = shape.elements();
        self.rows += 1;
        Ok(())
    }

    fn finish(self, dims: impl FnOnce(i64, i64) -> Vec<i64>) -> Result<Output, String> {
        let count = |n: usize| i64::try_from(n).map_err(|_| "too many maps".to_owned());
        let dims = dims(count(self.rows)?, count(self.columns)?);
        Ok(Output {
            tensor: tensor(self.dtype, dims, self.data)?,
            keys: self.keys.map(Vec::into_boxed_slice),
        })
    }
}

/// Packed keys as text.
pub(super) fn labels(key: DType, packed: &[u8]) -> Vec<String> {
    match key {
        DType::Int64 => {
            let (keys, _) = packed.as_chunks::<8>();
            keys.iter().map(|key| i64::from_le_bytes(*key).to_string()).collect()
        }
        _ => strings::Packed::new(packed)
            .into_iter()
            .flatten()
            .map(|key| String::from_utf8_lossy(key).into_owned())
            .collect(),
    }
}
