//! What a model takes, and inputs for it: made up from its metadata, or read from a file.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::Error;
use crate::args::DimArg;
use crate::plan::splitmix64;
use crate::tensor::{Datatype, Tensor, push_bytes_element};

/// What the server says about a model.
#[derive(Clone, Debug, Deserialize)]
pub struct ModelSpec {
    pub inputs: Vec<InputSpec>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct InputSpec {
    pub name: String,
    pub datatype: String,
    /// A free dimension is -1.
    pub shape: Vec<i64>,
}

/// Sizes for what a model leaves free.
#[derive(Clone, Copy, Debug)]
pub struct Sizes<'a> {
    /// The first dimension.
    pub rows: u32,
    /// Other dimensions, or the first where one input's differs.
    pub dims: &'a [DimArg],
}

/// Most elements in one made-up input, so that a slip in `--dim` fails with a message.
const MAX_ELEMENTS: u64 = 1 << 28;

impl ModelSpec {
    /// Makes inputs up: the same for the same seed.
    pub fn make_inputs(&self, sizes: Sizes<'_>, seed: u64) -> Result<Vec<Tensor>, Error> {
        let free_rows = |input: &InputSpec| input.shape.first() == Some(&-1);
        if sizes.rows > 1 && !self.inputs.iter().any(free_rows) {
            return Err(Error::Usage("the model's first dimension is fixed: no --rows".into()));
        }
        let make = |(index, input): (usize, &InputSpec)| {
            let shape = input.sized(sizes)?;
            input.made_up(shape, splitmix64(seed ^ index as u64))
        };
        self.inputs.iter().enumerate().map(make).collect::<Result<_, _>>().map_err(Error::Usage)
    }
}

impl InputSpec {
    fn sized(&self, sizes: Sizes<'_>) -> Result<Vec<u64>, String> {
        let size = |(axis, dim): (usize, &i64)| {
            if let Ok(fixed) = u64::try_from(*dim) {
                return fixed;
            }
            let of_this = || sizes.dims.iter().filter(|arg| arg.input == self.name);
            let by_axis = of_this().find(|arg| arg.axis == Some(axis));
            let by_input = of_this().find(|arg| arg.axis.is_none() && axis > 0);
            match by_axis.or(by_input) {
                Some(arg) => arg.size,
                None if axis == 0 => sizes.rows.into(),
                None => 1,
            }
        };
        let shape: Vec<u64> = self.shape.iter().enumerate().map(size).collect();
        let count = shape.iter().try_fold(1u64, |product, dim| product.checked_mul(*dim));
        match count {
            Some(0..=MAX_ELEMENTS) => Ok(shape),
            _ => Err(format!("input `{}`: shape {shape:?} is too large", self.name)),
        }
    }

    fn made_up(&self, shape: Vec<u64>, seed: u64) -> Result<Tensor, String> {
        let datatype = Datatype::parse(&self.datatype)?;
        let count = shape.iter().product();
        let mut data = Vec::new();
        for index in 0..count {
            make_up(datatype, splitmix64(seed.wrapping_add(index)), &mut data);
        }
        Ok(Tensor { name: self.name.clone(), datatype, shape, data })
    }
}

const WORDS: [&str; 8] = ["a", "good", "film", "with", "rather", "little", "plot", "indeed"];

/// Appends one element: floats in [0, 1), integers that index even a small
/// table, short words.
fn make_up(datatype: Datatype, bits: u64, data: &mut Vec<u8>) {
    let small = (bits % 4) as u8;
    let unit = (bits >> 40) as f32 / (1u64 << 24) as f32;
    match datatype {
        Datatype::Bool => data.push(small & 1),
        Datatype::Int8 | Datatype::Uint8 => data.push(small),
        Datatype::Int16 | Datatype::Uint16 => data.extend(u16::from(small).to_le_bytes()),
        Datatype::Int32 | Datatype::Uint32 => data.extend(u32::from(small).to_le_bytes()),
        Datatype::Int64 | Datatype::Uint64 => data.extend(u64::from(small).to_le_bytes()),
        // 0.5, 0.625, 0.75 and 0.875: half and bfloat16 have no arithmetic here.
        Datatype::Fp16 => data.extend((0x3800 + (u16::from(small) << 8)).to_le_bytes()),
        Datatype::Bf16 => data.extend((0x3F00 + (u16::from(small) << 5)).to_le_bytes()),
        Datatype::Fp32 => data.extend(unit.to_le_bytes()),
        Datatype::Fp64 => data.extend(f64::from(unit).to_le_bytes()),
        Datatype::Bytes => {
            let word = WORDS[(bits % WORDS.len() as u64) as usize];
            push_bytes_element(word.as_bytes(), data).expect("a word is short");
        }
    }
}

/// A JSON infer request from a file.
#[derive(Debug)]
pub struct InputFile {
    text: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    inputs: Vec<BodyInput>,
    #[serde(rename = "id")]
    _id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BodyInput {
    name: String,
    datatype: String,
    shape: Vec<u64>,
    data: Value,
}

impl InputFile {
    /// The requests of a file: one a line where its name ends in `.jsonl` or
    /// `.ndjson`, else one.
    pub fn read(path: &Path) -> Result<Vec<Self>, Error> {
        let unusable = |error: String| Error::Usage(format!("{}: {error}", path.display()));
        let text = fs::read(path).map_err(|error| unusable(error.to_string()))?;
        let ending = path.extension().and_then(|ending| ending.to_str());
        if !matches!(ending, Some("jsonl" | "ndjson")) {
            return Ok(vec![Self { text }]);
        }
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
        let files: Vec<_> = lines.map(|line| Self { text: line.to_vec() }).collect();
        if files.is_empty() { Err(unusable("it has no line".to_owned())) } else { Ok(files) }
    }

    /// The body to send as JSON, byte for byte.
    pub fn into_json(self) -> Vec<u8> {
        self.text
    }

    /// The inputs, to send in another form; refuses a body that says more than
    /// that, because the rest would be lost.
    pub fn tensors(&self) -> Result<Vec<Tensor>, Error> {
        let body: Body = serde_json::from_slice(&self.text)
            .map_err(|error| Error::Usage(format!("--input: {error}")))?;
        let tensor = |input: BodyInput| {
            let datatype = Datatype::parse(&input.datatype)?;
            Tensor::from_json(&input.name, datatype, input.shape, &input.data)
        };
        body.inputs.into_iter().map(tensor).collect::<Result<_, _>>().map_err(Error::Usage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(shape: &[i64]) -> ModelSpec {
        let input = InputSpec { name: "x".into(), datatype: "FP32".into(), shape: shape.to_vec() };
        ModelSpec { inputs: vec![input] }
    }

    fn shape_of(spec: &ModelSpec, rows: u32, dims: &[DimArg]) -> Result<Vec<u64>, Error> {
        Ok(spec.make_inputs(Sizes { rows, dims }, 1)?.remove(0).shape)
    }

    fn dim(axis: Option<usize>, size: u64) -> DimArg {
        DimArg { input: "x".into(), axis, size }
    }

    #[test]
    fn files_of_lines_have_a_request_each() {
        let folder = std::env::temp_dir().join(format!("loadtest-lines-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let read = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).unwrap();
            InputFile::read(&path)
                .map(|files| files.into_iter().map(InputFile::into_json).collect())
        };
        let lines: Vec<Vec<u8>> = read("a.jsonl", "{\"id\":\"1\"}\n\n{\"id\":\"2\"}").unwrap();
        assert_eq!(lines, [b"{\"id\":\"1\"}", b"{\"id\":\"2\"}"]);
        assert_eq!(read("a.json", "{\n}\n").unwrap(), [b"{\n}\n"]);
        assert!(read("b.ndjson", "\n \n").is_err());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn free_dimensions_take_rows_then_dims_then_one() {
        let spec = spec(&[-1, 3, -1, -1]);
        assert_eq!(shape_of(&spec, 4, &[]).unwrap(), [4, 3, 1, 1]);
        assert_eq!(shape_of(&spec, 4, &[dim(None, 9)]).unwrap(), [4, 3, 9, 9]);
        let dims = [dim(None, 9), dim(Some(3), 5), dim(Some(0), 2)];
        assert_eq!(shape_of(&spec, 4, &dims).unwrap(), [2, 3, 9, 5]);
    }

    #[test]
    fn rows_need_a_free_first_dimension() {
        assert!(shape_of(&spec(&[8, 3]), 2, &[]).is_err());
        assert_eq!(shape_of(&spec(&[8, 3]), 1, &[]).unwrap(), [8, 3]);
        assert_eq!(shape_of(&spec(&[]), 1, &[]).unwrap(), [0u64; 0]);
    }

    #[test]
    fn oversized_shape_is_refused() {
        assert!(shape_of(&spec(&[-1, -1]), 1, &[dim(None, u64::MAX)]).is_err());
    }

    #[test]
    fn inputs_repeat_with_their_seed_only() {
        let make = |seed| spec(&[-1, 8]).make_inputs(Sizes { rows: 2, dims: &[] }, seed).unwrap();
        assert_eq!(make(1), make(1));
        assert_ne!(make(1), make(2));
        assert_eq!(make(1)[0].data.len(), 2 * 8 * 4);
    }

    #[test]
    fn file_with_more_than_inputs_keeps_to_json() {
        let tensors = |text: &str| InputFile { text: text.into() }.tensors();
        let inputs = r#""inputs":[{"name":"x","datatype":"FP32","shape":[2],"data":[1,2]}]"#;
        assert_eq!(tensors(&format!("{{{inputs}}}")).unwrap().len(), 1);
        assert!(tensors(&format!(r#"{{{inputs},"outputs":[]}}"#)).is_err());
    }
}
