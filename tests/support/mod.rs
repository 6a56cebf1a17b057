//! What the test programs share.

pub mod onnx_builder;
