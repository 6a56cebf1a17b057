//! Fits a decoded request to a model's signature. Pure.

use std::time::Instant;

use bytes::Bytes;
use smallvec::{SmallVec, smallvec};

use crate::serving::{Wanted, Work};
use crate::types::{
    DType, Dim, InferError, InferRequest, InputTensor, Payload, Priority, Shape, Signature, Tensor,
    TensorSpec,
};

/// A request that fits its model.
#[derive(Debug)]
pub struct Bound {
    pub work: Work,
    /// Per wanted output: goes into the binary part of an HTTP answer.
    pub binary: SmallVec<[bool; 4]>,
    /// Per wanted output: top N classes, 0 for the tensor. Empty when none asks.
    pub classification: SmallVec<[u32; 4]>,
}

/// Puts the inputs into the signature's order and finds the outputs asked for.
///
/// # Errors
/// `InvalidArgument`, saying what was expected and what came, for missing,
/// unknown or duplicate inputs and outputs, other types or shapes, and inputs
/// whose rows differ.
pub fn bind(
    signature: &Signature,
    request: InferRequest<'_>,
    deadline: Instant,
) -> Result<Bound, InferError> {
    let raw = matches!(request.payload, Payload::Raw(_));
    let inputs = match request.payload {
        Payload::Inputs(inputs) => bind_inputs(signature, inputs)?,
        Payload::Raw(body) => smallvec![bind_raw(signature, body)?],
    };
    check_rows(signature, &inputs)?;

    let mut wanted = Wanted::new();
    let mut binary = SmallVec::new();
    let mut classification = SmallVec::new();
    if request.outputs.is_empty() {
        wanted.extend(0..signature.outputs.len());
        binary.resize(wanted.len(), raw || request.binary_output);
    }
    for output in &request.outputs {
        let index = position(&signature.outputs, &output.name).ok_or_else(|| {
            InferError::invalid(format!(
                "unknown output '{}'; the model has {}",
                clip(&output.name),
                names(&signature.outputs)
            ))
        })?;
        if wanted.contains(&index) {
            return Err(InferError::invalid(format!(
                "output '{}' is asked for twice",
                clip(&output.name)
            )));
        }
        wanted.push(index);
        binary.push(output.binary.unwrap_or(request.binary_output));
        classification.push(output.classification);
    }
    if classification.iter().all(|top| *top == 0) {
        classification.clear();
    }
    let (priority, variant) = (Priority::Normal, None);
    let work = Work { inputs, wanted, deadline, priority, variant };
    Ok(Bound { work, binary, classification })
}

fn bind_inputs(
    signature: &Signature,
    inputs: SmallVec<[InputTensor<'_>; 2]>,
) -> Result<SmallVec<[Tensor; 2]>, InferError> {
    let mut slots: SmallVec<[Option<Tensor>; 2]> = SmallVec::new();
    slots.resize(signature.inputs.len(), None);
    for (given, input) in inputs.into_iter().enumerate() {
        // Clients mostly send inputs in the signature's order.
        let same = signature.inputs.get(given).filter(|spec| *spec.name == *input.name);
        let index = match same {
            Some(_) => given,
            None => position(&signature.inputs, &input.name).ok_or_else(|| {
                InferError::invalid(format!(
                    "unknown input '{}'; the model takes {}",
                    clip(&input.name),
                    names(&signature.inputs)
                ))
            })?,
        };
        check(&signature.inputs[index], &input.tensor)?;
        if slots[index].replace(input.tensor).is_some() {
            return Err(InferError::invalid(format!(
                "input '{}' is given twice",
                clip(&input.name)
            )));
        }
    }
    if let Some(missing) = slots.iter().position(Option::is_none) {
        return Err(InferError::invalid(format!(
            "input '{}' is missing; the model takes {}",
            signature.inputs[missing].name,
            names(&signature.inputs)
        )));
    }
    Ok(slots.into_iter().flatten().collect())
}

fn check(spec: &TensorSpec, tensor: &Tensor) -> Result<(), InferError> {
    if tensor.dtype() != spec.dtype {
        return Err(InferError::invalid(format!(
            "input '{}' has datatype {}, expected {}",
            spec.name,
            tensor.dtype(),
            spec.dtype
        )));
    }
    if !spec.accepts(tensor.shape().dims()) {
        return Err(InferError::invalid(format!(
            "input '{}' has shape {}, expected {:?} (-1 is any size)",
            spec.name,
            tensor.shape(),
            spec.wire_dims()
        )));
    }
    Ok(())
}

/// A raw body: the model's only input, whose shape follows from the body's
/// length. A free first dimension is one row where another dimension can take
/// up the length.
fn bind_raw(signature: &Signature, body: Bytes) -> Result<Tensor, InferError> {
    let [spec] = signature.inputs.as_slice() else {
        return Err(InferError::invalid(format!(
            "a raw binary request needs a model with one input, this one takes {}: {}",
            signature.inputs.len(),
            names(&signature.inputs)
        )));
    };
    let Some(size) = spec.dtype.size() else {
        return bind_raw_string(spec, &body);
    };
    let free = spec.dims.iter().filter(|dim| matches!(dim, Dim::Free(_))).count();
    let fixed = spec.dims.iter().try_fold(size, |product, dim| match dim {
        Dim::Fixed(fixed) => product.checked_mul(*fixed),
        Dim::Free(_) => Some(product),
    });
    let rows_are_free = spec.has_free_first_dim();
    if free > 1 + usize::from(rows_are_free) {
        return Err(InferError::invalid(format!(
            "a raw binary request needs an input with at most one free dimension beside the batch, {spec} has more"
        )));
    }
    let elements = fixed.filter(|fixed| *fixed > 0 && body.len().is_multiple_of(*fixed));
    let Some(free_size) = elements.map(|fixed| body.len() / fixed) else {
        return Err(InferError::invalid(format!(
            "the raw body has {} bytes, which do not fill input {spec}",
            body.len()
        )));
    };
    let mut left = Some(free_size as i64);
    let dims = spec.dims.iter().enumerate().map(|(i, dim)| match dim {
        Dim::Fixed(fixed) => *fixed as i64,
        Dim::Free(_) if i == 0 && free > 1 => 1,
        Dim::Free(_) => left.take().unwrap_or(1),
    });
    let shape = Shape::new(dims).map_err(|error| InferError::invalid(error.to_string()))?;
    Tensor::new(spec.dtype, shape, body).map_err(|error| InferError::invalid(error.to_string()))
}

/// A raw body for a string input is one element, without a length prefix.
fn bind_raw_string(spec: &TensorSpec, body: &Bytes) -> Result<Tensor, InferError> {
    let length = u32::try_from(body.len())
        .map_err(|_| InferError::invalid("the raw body is too long for one string element"))?;
    let packed = [&length.to_le_bytes()[..], body].concat();
    let shape = Shape::new(spec.dims.iter().map(|_| 1))
        .map_err(|error| InferError::invalid(error.to_string()))?;
    if !spec.accepts(shape.dims()) {
        return Err(InferError::invalid(format!(
            "a raw binary request holds one string, input {spec} needs more"
        )));
    }
    Tensor::new(DType::Bytes, shape, Bytes::from(packed))
        .map_err(|error| InferError::invalid(error.to_string()))
}

/// Where the first dimension is a batch, every input must have as many rows.
fn check_rows(signature: &Signature, inputs: &[Tensor]) -> Result<(), InferError> {
    if inputs.len() < 2 || !signature.may_batch() {
        return Ok(());
    }
    let rows = |tensor: &Tensor| tensor.shape().rows();
    match inputs.iter().zip(&signature.inputs).find(|(input, _)| rows(input) != rows(&inputs[0])) {
        None => Ok(()),
        Some((input, spec)) if same_symbol(spec, &signature.inputs[0]) => {
            Err(InferError::invalid(format!(
                "input '{}' has shape {} and input '{}' has shape {}: their first dimensions must agree",
                signature.inputs[0].name,
                inputs[0].shape(),
                spec.name,
                input.shape()
            )))
        }
        Some(_) => Ok(()),
    }
}

/// Whether the graph says that two first dimensions are the same one.
fn same_symbol(a: &TensorSpec, b: &TensorSpec) -> bool {
    match (a.dims.first(), b.dims.first()) {
        (Some(Dim::Free(Some(a))), Some(Dim::Free(Some(b)))) => a == b,
        _ => false,
    }
}

fn position(specs: &[TensorSpec], name: &str) -> Option<usize> {
    specs.iter().position(|spec| *spec.name == *name)
}

fn names(specs: &[TensorSpec]) -> String {
    let mut names: Vec<String> =
        specs.iter().take(16).map(|spec| format!("'{}'", spec.name)).collect();
    if specs.len() > 16 {
        names.push("...".to_owned());
    }
    names.join(", ")
}

/// Client text as far as an error message repeats it.
fn clip(text: &str) -> &str {
    let end = text.char_indices().nth(64).map_or(text.len(), |(at, _)| at);
    &text[..end]
}
