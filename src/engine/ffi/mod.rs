//! The only unsafe code of the gateway: ONNX Runtime's C interface behind types
//! that own what they point to. Everything this module exports is safe to use.
//!
//! Facts every block below leans on, from the header of the C interface:
//! - An `Environment` exists before any other type of this module and is never
//!   freed, so `ort::api()` answers without loading anything.
//! - Functions that return a status write their results only when it is null.
//! - What a `Create*` or `Get*` function hands out is freed once, by its `Release*`.
#![expect(unsafe_code, reason = "ONNX Runtime is a C library; every call to it is made here")]

mod environment;
mod options;
mod ports;
mod session;
mod telemetry;
mod value;

use std::ffi::CStr;

use ort::sys::{ONNXTensorElementDataType, OrtApi, OrtStatusPtr};

pub use environment::{Environment, library_version};
pub use options::{Optimization, RunOptions, SessionOptions};
pub use ports::{Port, PortKind};
pub use session::Session;
pub use telemetry::disable_telemetry;
pub use value::{Value, ValueKind};

use crate::types::DType;

/// Longest message of ONNX Runtime that is passed on; the rest is cut.
const MAX_MESSAGE: usize = 2000;

fn api() -> &'static OrtApi {
    ort::api()
}

/// The message of a failed call; frees the status.
fn check(status: OrtStatusPtr) -> Result<(), String> {
    if status.0.is_null() {
        return Ok(());
    }
    // SAFETY: the status is not null, so it is a live status with a NUL-terminated
    // message that lives until it is released, which happens once, here.
    let message = unsafe {
        let message = CStr::from_ptr((api().GetErrorMessage)(status.0)).to_string_lossy();
        let message = shorten(&message).to_owned();
        (api().ReleaseStatus)(status.0);
        message
    };
    Err(message)
}

fn shorten(message: &str) -> &str {
    let end = message.floor_char_boundary(MAX_MESSAGE);
    message[..end].trim_end()
}

fn element_type(dtype: DType) -> ONNXTensorElementDataType {
    use ONNXTensorElementDataType as E;
    match dtype {
        DType::Bool => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL,
        DType::Uint8 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8,
        DType::Uint16 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16,
        DType::Uint32 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32,
        DType::Uint64 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64,
        DType::Int8 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8,
        DType::Int16 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16,
        DType::Int32 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32,
        DType::Int64 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64,
        DType::Fp16 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16,
        DType::Bf16 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16,
        DType::Fp32 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
        DType::Fp64 => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE,
        DType::Bytes => E::ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING,
    }
}

/// ONNX Runtime's number of an element type as ours, else its name. It is taken
/// as a number because a newer library may know types that this build does not.
fn dtype_of(element: i32) -> Result<DType, String> {
    DType::ALL.into_iter().find(|dtype| element_type(*dtype) as i32 == element).ok_or_else(|| {
        const NAMES: [&str; 13] = [
            "complex64",
            "complex128",
            "bfloat16",
            "float8e4m3fn",
            "float8e4m3fnuz",
            "float8e5m2",
            "float8e5m2fnuz",
            "uint4",
            "int4",
            "float4e2m1",
            "uint2",
            "int2",
            "float8e8m0",
        ];
        let name = usize::try_from(element).ok().and_then(|n| NAMES.get(n.checked_sub(14)?));
        name.map_or_else(|| format!("number {element}"), |name| (*name).to_owned())
    })
}
