//! Why a model file was refused.

use std::io;

use thiserror::Error;

/// Why a model file was refused. No message names a folder.
#[derive(Debug, Error)]
pub enum ScanError {
    #[error("cannot read the model file: {0}")]
    Io(#[source] io::Error),
    #[error("{0}")]
    Unreadable(String),
    /// It ends too early.
    #[error(
        "the model file is truncated: it has {bytes} bytes, and a part of it that begins at byte \
         {at} reaches to byte {end}; copy it again"
    )]
    Truncated { bytes: u64, at: u64, end: u64 },
    #[error("the model file is no sound ONNX: {0}")]
    Malformed(String),
    /// A tensor does not hold what it declares, or asks for a file it may not have.
    #[error("tensor '{tensor}': {why}")]
    Tensor { tensor: String, why: String },
    #[error(
        "operator '{op}' is of domain '{domain}', which is not allowed: expected ai.onnx, \
         ai.onnx.ml, a function of the model, or a domain that the gateway's configuration allows"
    )]
    Domain { domain: String, op: String },
    #[error("operator '{0}' reads files by itself, which a served model may not")]
    Operator(String),
    #[error("the model has too many {what}: at most {most} are accepted")]
    Limit { what: &'static str, most: u64 },
}
