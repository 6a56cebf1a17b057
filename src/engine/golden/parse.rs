//! The JSON of a golden file, parsed straight into packed tensors.

use std::str::FromStr;

use bytes::Bytes;
use jiter::{Jiter, JiterError, Peek};

use super::{Case, Golden, MOST_CASES, Named, Tolerance};
use crate::types::{DType, MAX_RANK, Shape, Tensor};

const RELATIVE: f64 = 1e-3;
const ABSOLUTE: f64 = 1e-5;

/// Most tensors on one side of a case.
const MOST_TENSORS: usize = 1024;

/// Reads the whole file: an object of `cases`, or a single case itself.
pub(super) fn parse(text: &[u8]) -> Result<Golden, String> {
    let mut tolerance = Tolerance { relative: RELATIVE, absolute: ABSOLUTE };
    let mut cases: Option<Vec<Case>> = None;
    let mut single = HalfCase::default();
    let mut json = Json::new(text);
    json.object(|json, key| {
        match key {
            "cases" => {
                let mut read = Vec::new();
                json.array(|json| {
                    if read.len() >= MOST_CASES {
                        return Err(format!("more than {MOST_CASES} cases"));
                    }
                    let mut half = HalfCase::default();
                    json.object(|json, key| half.take(json, key))?;
                    read.push(
                        half.whole().map_err(|why| format!("case {}: {why}", read.len() + 1))?,
                    );
                    Ok(())
                })?;
                cases = Some(read);
            }
            "rtol" => tolerance.relative = json.tolerance("rtol")?,
            "atol" => tolerance.absolute = json.tolerance("atol")?,
            _ => single.take(json, key)?,
        }
        Ok(())
    })?;
    json.end()?;
    let cases = match cases {
        Some(cases) if single.is_empty() => cases,
        Some(_) => return Err("it has 'cases' and also 'inputs' or 'outputs'".to_owned()),
        None => vec![single.whole()?],
    };
    if cases.is_empty() {
        return Err("it has no cases".to_owned());
    }
    Ok(Golden { cases, tolerance })
}

#[derive(Default)]
struct HalfCase {
    inputs: Option<Vec<Named>>,
    outputs: Option<Vec<Named>>,
}

impl HalfCase {
    fn take(&mut self, json: &mut Json<'_>, key: &str) -> Result<(), String> {
        match key {
            "inputs" => self.inputs = Some(tensors(json)?),
            "outputs" => self.outputs = Some(tensors(json)?),
            _ => json.skip()?,
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.inputs.is_none() && self.outputs.is_none()
    }

    fn whole(self) -> Result<Case, String> {
        let inputs = self.inputs.ok_or("'inputs' is missing")?;
        let outputs = self.outputs.filter(|outputs| !outputs.is_empty());
        Ok(Case { inputs, outputs: outputs.ok_or("'outputs' is missing or empty")? })
    }
}

fn tensors(json: &mut Json<'_>) -> Result<Vec<Named>, String> {
    let mut tensors: Vec<Named> = Vec::new();
    json.array(|json| {
        let tensor = tensor(json)?;
        if tensors.len() >= MOST_TENSORS {
            return Err(format!("more than {MOST_TENSORS} tensors"));
        }
        if tensors.iter().any(|earlier| earlier.name == tensor.name) {
            return Err(format!("tensor '{}' stands twice", tensor.name));
        }
        tensors.push(tensor);
        Ok(())
    })?;
    Ok(tensors)
}

/// One tensor of the protocol. Its data is read once type and shape are known.
fn tensor(json: &mut Json<'_>) -> Result<Named, String> {
    let (mut name, mut dtype, mut dims, mut data) = (None, None, None, None);
    json.object(|json, key| {
        match key {
            "name" => name = Some(json.text()?),
            "datatype" => {
                let text = json.text()?;
                dtype =
                    Some(DType::parse(&text).ok_or_else(|| format!("'{text}' is not a datatype"))?);
            }
            "shape" => dims = Some(json.dims()?),
            "data" => data = Some(json.raw()?),
            _ => json.skip()?,
        }
        Ok(())
    })?;
    let name = name.ok_or("a tensor has no 'name'")?;
    let read = || -> Result<Tensor, String> {
        let dtype = dtype.ok_or("'datatype' is missing")?;
        let shape = Shape::new(dims.ok_or("'shape' is missing")?).map_err(|e| e.to_string())?;
        let mut packed = Vec::new();
        let mut json = Json::new(data.ok_or("'data' is missing")?);
        json.elements(0, &mut |json, peek| json.element(peek, dtype, &mut packed))?;
        Tensor::new(dtype, shape, Bytes::from(packed)).map_err(|error| error.to_string())
    };
    let tensor = read().map_err(|why| format!("tensor '{name}': {why}"))?;
    Ok(Named { name, tensor })
}

/// A pull parser whose errors say where.
struct Json<'a> {
    text: &'a [u8],
    jiter: Jiter<'a>,
}

impl<'a> Json<'a> {
    fn new(text: &'a [u8]) -> Json<'a> {
        Json { text, jiter: Jiter::new(text).with_allow_inf_nan() }
    }

    fn object(
        &mut self,
        mut each: impl FnMut(&mut Json<'a>, &str) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut key = self.jiter.next_object().map(|key| key.map(str::to_owned));
        loop {
            match key {
                Ok(Some(name)) => each(self, &name)?,
                Ok(None) => return Ok(()),
                Err(error) => return Err(wrong(self.text, &error)),
            }
            key = self.jiter.next_key().map(|key| key.map(str::to_owned));
        }
    }

    fn array(
        &mut self,
        mut each: impl FnMut(&mut Json<'a>) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut next = self.jiter.next_array();
        loop {
            match next {
                Ok(Some(_)) => each(self)?,
                Ok(None) => return Ok(()),
                Err(error) => return Err(wrong(self.text, &error)),
            }
            next = self.jiter.array_step();
        }
    }

    /// The elements of flat or nested arrays, in order.
    fn elements(
        &mut self,
        depth: usize,
        each: &mut impl FnMut(&mut Json<'a>, Peek) -> Result<(), String>,
    ) -> Result<(), String> {
        if depth > MAX_RANK {
            return Err("its data nests too deep".to_owned());
        }
        let mut next = self.jiter.next_array();
        loop {
            match next {
                Ok(Some(Peek::Array)) => self.elements(depth + 1, each)?,
                Ok(Some(peek)) => each(self, peek)?,
                Ok(None) => return Ok(()),
                Err(error) => return Err(wrong(self.text, &error)),
            }
            next = self.jiter.array_step();
        }
    }

    fn element(&mut self, peek: Peek, dtype: DType, to: &mut Vec<u8>) -> Result<(), String> {
        match dtype {
            DType::Bool => {
                let value = self.jiter.known_bool(peek);
                to.push(u8::from(value.map_err(|error| wrong(self.text, &error))?));
            }
            DType::Bytes => {
                let text = self.text()?;
                let length = u32::try_from(text.len()).map_err(|error| error.to_string())?;
                to.extend(length.to_le_bytes());
                to.extend(text.as_bytes());
            }
            DType::Fp32 => to.extend(self.number::<f32>(peek, dtype)?.to_le_bytes()),
            DType::Fp64 => to.extend(self.number::<f64>(peek, dtype)?.to_le_bytes()),
            DType::Fp16 => {
                to.extend(half::f16::from_f64(self.number(peek, dtype)?).to_le_bytes());
            }
            DType::Bf16 => {
                to.extend(half::bf16::from_f64(self.number(peek, dtype)?).to_le_bytes());
            }
            DType::Uint8 => to.extend(self.number::<u8>(peek, dtype)?.to_le_bytes()),
            DType::Uint16 => to.extend(self.number::<u16>(peek, dtype)?.to_le_bytes()),
            DType::Uint32 => to.extend(self.number::<u32>(peek, dtype)?.to_le_bytes()),
            DType::Uint64 => to.extend(self.number::<u64>(peek, dtype)?.to_le_bytes()),
            DType::Int8 => to.extend(self.number::<i8>(peek, dtype)?.to_le_bytes()),
            DType::Int16 => to.extend(self.number::<i16>(peek, dtype)?.to_le_bytes()),
            DType::Int32 => to.extend(self.number::<i32>(peek, dtype)?.to_le_bytes()),
            DType::Int64 => to.extend(self.number::<i64>(peek, dtype)?.to_le_bytes()),
        }
        Ok(())
    }

    /// A number that fits `T`; floats may be `NaN` and `Infinity`.
    fn number<T: FromStr>(&mut self, peek: Peek, dtype: DType) -> Result<T, String> {
        let bytes = match self.jiter.known_number_bytes(peek) {
            Ok(bytes) => bytes,
            Err(error) => return Err(wrong(self.text, &error)),
        };
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        text.parse().map_err(|_| {
            let shown: String = text.chars().take(40).collect();
            format!("{shown} is no {dtype}")
        })
    }

    /// A number that is at least 0.
    fn tolerance(&mut self, key: &str) -> Result<f64, String> {
        let value = self.jiter.next_float().map_err(|error| wrong(self.text, &error))?;
        match value.is_finite() && value >= 0.0 {
            true => Ok(value),
            false => Err(format!("'{key}' is {value}, expected a number from 0 on")),
        }
    }

    fn dims(&mut self) -> Result<Vec<i64>, String> {
        let mut dims = Vec::new();
        self.array(|json| {
            let peek = json.jiter.peek().map_err(|error| wrong(json.text, &error))?;
            dims.push(json.number(peek, DType::Int64)?);
            match dims.len() > MAX_RANK {
                true => Err(format!("a shape has more than {MAX_RANK} dimensions")),
                false => Ok(()),
            }
        })?;
        Ok(dims)
    }

    fn text(&mut self) -> Result<String, String> {
        match self.jiter.next_str() {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(wrong(self.text, &error)),
        }
    }

    /// The JSON of the next value, unread.
    fn raw(&mut self) -> Result<&'a [u8], String> {
        self.jiter.peek().map_err(|error| wrong(self.text, &error))?;
        let start = self.jiter.current_index();
        self.skip()?;
        Ok(self.jiter.slice_to_current(start))
    }

    fn skip(&mut self) -> Result<(), String> {
        self.jiter.next_skip().map_err(|error| wrong(self.text, &error))
    }

    fn end(&mut self) -> Result<(), String> {
        self.jiter.finish().map_err(|error| wrong(self.text, &error))
    }
}

/// What is wrong with `text`, and where.
fn wrong(text: &[u8], error: &JiterError) -> String {
    let position = error.get_position(&Jiter::new(text));
    format!("{} at line {}, column {}", error.error_type, position.line, position.column)
}
