//! Answers as JSON, followed by the outputs that were asked for as binary data.

use bytes::Bytes;
use half::{bf16, f16};
use smallvec::SmallVec;

use super::AnswerView;
use super::rules::quoted;
use crate::types::{DType, InferError, OutputTensor, Parameter, Tensor};

/// The parts of an answer's body, in order.
#[derive(Debug)]
pub struct Encoded {
    pub json: Vec<u8>,
    /// Data of the binary outputs that have any.
    pub binary: SmallVec<[Bytes; 4]>,
    /// Bytes of all binary parts. Only where this is not 0 is the body binary
    /// and needs [`HEADER_LENGTH`](super::json::HEADER_LENGTH).
    pub binary_len: usize,
}

/// Encodes an answer. Fails where strings that are not UTF-8 were asked for as JSON.
pub fn encode_infer(answer: &AnswerView<'_>) -> Result<Encoded, InferError> {
    let mut json = Vec::with_capacity(estimate(answer));
    let mut binary = SmallVec::new();
    let mut binary_len = 0;
    json.push(b'{');
    if !answer.id.is_empty() {
        json.extend_from_slice(b"\"id\":");
        string(&mut json, answer.id);
        json.push(b',');
    }
    json.extend_from_slice(b"\"model_name\":");
    string(&mut json, answer.model_name);
    json.extend_from_slice(b",\"model_version\":");
    string(&mut json, answer.model_version);
    if !answer.parameters.is_empty() {
        json.extend_from_slice(b",\"parameters\":{");
        separated(&mut json, answer.parameters, |json, (name, value)| {
            string(json, name);
            json.push(b':');
            parameter(json, value);
        });
        json.push(b'}');
    }
    json.extend_from_slice(b",\"outputs\":[");
    for (i, output) in answer.outputs.iter().enumerate() {
        if i > 0 {
            json.push(b',');
        }
        head(&mut json, output);
        let data = output.tensor.data();
        if output.binary {
            json.extend_from_slice(b",\"parameters\":{\"binary_data_size\":");
            integer(&mut json, data.len());
            json.extend_from_slice(b"}}");
            if !data.is_empty() {
                binary_len += data.len();
                binary.push(data.clone());
            }
        } else {
            json.extend_from_slice(b",\"data\":[");
            elements(&mut json, output)?;
            json.extend_from_slice(b"]}");
        }
    }
    json.extend_from_slice(b"]}");
    Ok(Encoded { json, binary, binary_len })
}

/// Opens an output's object with its name, datatype and shape.
fn head(json: &mut Vec<u8>, output: &OutputTensor) {
    json.extend_from_slice(b"{\"name\":");
    string(json, &output.name);
    json.extend_from_slice(b",\"datatype\":\"");
    json.extend_from_slice(output.tensor.dtype().name().as_bytes());
    json.extend_from_slice(b"\",\"shape\":[");
    separated(json, output.tensor.shape().dims(), |json, dim| integer(json, *dim));
    json.push(b']');
}

fn elements(json: &mut Vec<u8>, output: &OutputTensor) -> Result<(), InferError> {
    let data: &[u8] = output.tensor.data();
    match output.tensor.dtype() {
        DType::Bool => separated(json, data, |json, byte| boolean(json, *byte != 0)),
        DType::Uint8 => separated(json, data, |json, byte| integer(json, *byte)),
        DType::Int8 => separated(json, data, |json, byte| integer(json, *byte as i8)),
        DType::Uint16 => packed(json, data, |json, e| integer(json, u16::from_le_bytes(e))),
        DType::Int16 => packed(json, data, |json, e| integer(json, i16::from_le_bytes(e))),
        DType::Uint32 => packed(json, data, |json, e| integer(json, u32::from_le_bytes(e))),
        DType::Int32 => packed(json, data, |json, e| integer(json, i32::from_le_bytes(e))),
        DType::Uint64 => packed(json, data, |json, e| integer(json, u64::from_le_bytes(e))),
        DType::Int64 => packed(json, data, |json, e| integer(json, i64::from_le_bytes(e))),
        DType::Fp16 => packed(json, data, |json, e| float(json, f16::from_le_bytes(e).to_f32())),
        DType::Bf16 => packed(json, data, |json, e| float(json, bf16::from_le_bytes(e).to_f32())),
        DType::Fp32 => packed(json, data, |json, e| float(json, f32::from_le_bytes(e))),
        DType::Fp64 => packed(json, data, |json, e| double(json, f64::from_le_bytes(e))),
        DType::Bytes => return strings(json, output),
    }
    Ok(())
}

fn strings(json: &mut Vec<u8>, output: &OutputTensor) -> Result<(), InferError> {
    for (i, element) in output.tensor.strings().enumerate() {
        let Ok(text) = std::str::from_utf8(element) else {
            return Err(InferError::invalid(format!(
                "element {i} of output {} is not UTF-8 and cannot be sent as JSON; \
                 ask for it with parameters.binary_data",
                quoted(&output.name)
            )));
        };
        if i > 0 {
            json.push(b',');
        }
        string(json, text);
    }
    Ok(())
}

/// Writes packed elements of `N` bytes.
fn packed<const N: usize>(
    json: &mut Vec<u8>,
    data: &[u8],
    mut write: impl FnMut(&mut Vec<u8>, [u8; N]),
) {
    separated(json, data.as_chunks::<N>().0, |json, element| write(json, *element));
}

fn separated<T>(json: &mut Vec<u8>, items: &[T], mut write: impl FnMut(&mut Vec<u8>, &T)) {
    let Some((first, rest)) = items.split_first() else {
        return;
    };
    write(json, first);
    for item in rest {
        json.push(b',');
        write(json, item);
    }
}

fn parameter(json: &mut Vec<u8>, value: &Parameter<'_>) {
    match value {
        Parameter::Bool(value) => boolean(json, *value),
        Parameter::Int(value) => integer(json, *value),
        Parameter::Uint(value) => integer(json, *value),
        Parameter::Double(value) => double(json, *value),
        Parameter::Text(value) => string(json, value),
    }
}

fn boolean(json: &mut Vec<u8>, value: bool) {
    json.extend_from_slice(if value { b"true" } else { b"false" });
}

fn integer(json: &mut Vec<u8>, value: impl itoa::Integer) {
    json.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn float(json: &mut Vec<u8>, value: f32) {
    if value.is_finite() {
        json.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    } else {
        not_finite(json, f64::from(value));
    }
}

fn double(json: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        json.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    } else {
        not_finite(json, value);
    }
}

/// The bare words that the protocol's clients read and write.
fn not_finite(json: &mut Vec<u8>, value: f64) {
    json.extend_from_slice(match value {
        value if value.is_nan() => b"NaN",
        value if value > 0.0 => b"Infinity",
        _ => b"-Infinity",
    });
}

fn string(json: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(&mut *json, text).expect("a vector takes every write");
}

/// Bytes that the JSON will about need, so that it grows once at most.
fn estimate(answer: &AnswerView<'_>) -> usize {
    const KEYS: usize = 64;
    let parameters: usize = answer.parameters.iter().map(|(name, _)| name.len() + KEYS).sum();
    let outputs: usize = answer
        .outputs
        .iter()
        .map(|output| {
            let rank = output.tensor.shape().rank();
            let data = if output.binary { 0 } else { data_estimate(&output.tensor) };
            KEYS + output.name.len() + rank * 8 + data
        })
        .sum();
    KEYS + answer.id.len() + answer.model_name.len() + 20 + parameters + outputs
}

fn data_estimate(tensor: &Tensor) -> usize {
    // Widths with the comma, of values as models give them.
    let width = match tensor.dtype() {
        DType::Bool => 6,
        DType::Uint8 | DType::Int8 => 5,
        DType::Uint16 | DType::Int16 => 7,
        DType::Uint32 | DType::Int32 => 9,
        DType::Fp16 | DType::Bf16 => 12,
        DType::Uint64 | DType::Int64 => 12,
        DType::Fp32 => 14,
        DType::Fp64 => 22,
        DType::Bytes => return tensor.data().len() + tensor.shape().elements(),
    };
    tensor.shape().elements().saturating_mul(width)
}
