//! What the test programs share.
#![allow(dead_code, reason = "each test program uses its part")]

pub mod fault_proxy;
pub mod gateway;
pub mod grpc;
pub mod hostile_models;
pub mod http;
pub mod log;
pub mod metrics;
pub mod moto;
pub mod onnx_builder;
pub mod openapi;
pub mod predict;
pub mod registry;
pub mod segments;
pub mod versions;
pub mod zoo;
