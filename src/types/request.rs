//! A decoded inference request and the tensors of its answer. Names borrow
//! from the body they were decoded from; tensor data shares its bytes.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::Tensor;

/// What a face decoded from one request, whatever the wire form was.
#[derive(Debug, Default)]
pub struct InferRequest<'a> {
    /// The body's `id`; empty when the client gave none.
    pub id: Cow<'a, str>,
    pub payload: Payload<'a>,
    /// The outputs asked for; empty means all.
    pub outputs: SmallVec<[RequestedOutput<'a>; 2]>,
    /// `parameters.binary_data_output`: outputs that are not listed come as binary.
    pub binary_output: bool,
    /// Request parameters in the order given, without those that have fields here.
    pub parameters: SmallVec<[(Cow<'a, str>, Parameter<'a>); 1]>,
}

#[derive(Debug)]
pub enum Payload<'a> {
    Inputs(SmallVec<[InputTensor<'a>; 2]>),
    /// A raw binary request (`Inference-Header-Content-Length: 0`): the whole
    /// body is the data of the model's only input, answered in binary.
    Raw(Bytes),
}

impl Default for Payload<'_> {
    fn default() -> Self {
        Payload::Inputs(SmallVec::new())
    }
}

#[derive(Debug)]
pub struct InputTensor<'a> {
    pub name: Cow<'a, str>,
    pub tensor: Tensor,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct RequestedOutput<'a> {
    pub name: Cow<'a, str>,
    /// Classification extension: answer the top N classes as strings; 0 means the tensor itself.
    pub classification: u32,
    /// `parameters.binary_data`; `None` when the client did not say.
    pub binary: Option<bool>,
}

/// Value of a request parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Parameter<'a> {
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Cow<'a, str>),
}

/// One named tensor of an answer.
#[derive(Clone, Debug)]
pub struct OutputTensor {
    pub name: Arc<str>,
    pub tensor: Tensor,
    /// HTTP only: send this output in the binary part of the body.
    pub binary: bool,
}

/// The tensors of an answer, in the order asked for, else the model's.
pub type Outputs = SmallVec<[OutputTensor; 2]>;
