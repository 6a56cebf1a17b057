//! Behaviour of the codecs, by tables and properties.

mod json;
mod protobuf;
mod round_trip;

use bytes::Bytes;

use super::{AnswerView, DecodeLimits};
use crate::types::{
    DType, InferRequest, InputTensor, OutputTensor, Outputs, Parameter, Payload, Shape, Tensor,
};

fn limits() -> DecodeLimits {
    DecodeLimits::default()
}

fn tensor(dtype: DType, dims: &[i64], data: impl Into<Bytes>) -> Tensor {
    let shape = Shape::new(dims.iter().copied()).expect("a legal shape");
    Tensor::new(dtype, shape, data.into()).expect("data that fits")
}

fn output(name: &str, tensor: Tensor, binary: bool) -> OutputTensor {
    OutputTensor { name: name.into(), tensor, binary }
}

fn inputs<'r, 'a>(request: &'r InferRequest<'a>) -> &'r [InputTensor<'a>] {
    match &request.payload {
        Payload::Inputs(inputs) => inputs,
        Payload::Raw(_) => panic!("expected inputs, got a raw request"),
    }
}

fn answer<'a>(
    outputs: &'a Outputs,
    id: &'a str,
    parameters: &'a [(&'a str, Parameter<'a>)],
) -> AnswerView<'a> {
    AnswerView { id, model_name: "m", model_version: "3", parameters, outputs }
}

/// Elements of a fixed-size type as packed bytes.
fn le<const N: usize>(elements: impl IntoIterator<Item = [u8; N]>) -> Vec<u8> {
    elements.into_iter().flatten().collect()
}

/// Strings as packed bytes.
fn packed_strings<'a>(strings: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let prefixed = |string: &'a [u8]| {
        let length = u32::try_from(string.len()).expect("a short string");
        [&length.to_le_bytes()[..], string].concat()
    };
    strings.into_iter().flat_map(prefixed).collect()
}
