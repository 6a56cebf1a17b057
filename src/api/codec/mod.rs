//! The protocol's wire forms: pure functions between bytes and requests.

pub mod classification;
pub mod compression;
pub mod feedback_pb;
pub mod json;
mod json_data;
mod json_reader;
mod json_write;
pub mod pb;
pub mod protobuf;
mod rules;
mod small_float;

use crate::types::{Outputs, Parameter};

/// Longest body `id`, in bytes.
pub const MAX_ID_BYTES: usize = 1024;

/// What a request may declare. A request beyond one of them is refused with
/// [`InvalidArgument`](crate::types::Code::InvalidArgument) before memory is taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    pub max_inputs: usize,
    pub max_outputs: usize,
    /// Elements of one input.
    pub max_elements: usize,
    /// Parameters of the request, and of each of its inputs and outputs.
    pub max_parameters: usize,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        DecodeLimits { max_inputs: 64, max_outputs: 64, max_elements: 1 << 26, max_parameters: 64 }
    }
}

/// One answer, as an encoder reads it.
#[derive(Clone, Copy, Debug)]
pub struct AnswerView<'a> {
    /// Empty where the request had none.
    pub id: &'a str,
    pub model_name: &'a str,
    pub model_version: &'a str,
    pub parameters: &'a [(&'a str, Parameter<'a>)],
    pub outputs: &'a Outputs,
}

#[cfg(test)]
mod tests;
