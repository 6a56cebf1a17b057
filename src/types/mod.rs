//! Plain data every layer speaks. Imports nothing of ours and does no I/O.

mod compatibility;
mod digest;
mod dtype;
mod error;
mod file_name;
mod lifecycle;
mod name;
mod priority;
mod random;
mod request;
mod shape;
mod signature;
mod tensor;
mod time;
mod weight;

pub use compatibility::Incompatible;
pub use digest::{Digest, DigestError};
pub use dtype::DType;
pub use error::{Blame, Code, InferError, Reason};
pub use file_name::{
    FileName, FileNameError, GOLDEN_FILE, MANIFEST_FILE, MODEL_FILE, OPTIONS_FILE, PROFILE_FILE,
};
pub use lifecycle::{RejectKind, Rejection, Stage};
pub use name::{ModelName, NameError, VariantName, Version};
pub use priority::Priority;
pub use random::{jittered, next_random};
pub use request::{
    InferRequest, InputTensor, OutputTensor, Outputs, Parameter, Payload, RequestedOutput,
};
pub use shape::{MAX_RANK, Shape, ShapeError};
pub use signature::{Dim, Signature, TensorSpec};
pub use tensor::{Tensor, TensorError, number};
pub use time::{civil, rfc3339};
pub use weight::Weight;

#[cfg(target_endian = "big")]
compile_error!(
    "tensors are kept as the protocol's little-endian bytes; big-endian targets are not supported"
);
