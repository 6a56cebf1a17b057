//! What the test programs share.
#![allow(dead_code, reason = "each test program uses its part")]

pub mod onnx_builder;

use modelgate::types::DType;
use onnx_builder::{Graph, constant, element, graph, node, tensor};

/// A model that halves `x` as often as `trips` says, for as long as anyone lets it.
pub fn endless() -> Graph {
    let (long, float, flag) = (element(DType::Int64), element(DType::Fp32), element(DType::Bool));
    let body = graph()
        .input("i", tensor(long, &[]))
        .input("go", tensor(flag, &[]))
        .input("before", tensor(float, &["1"]))
        .output("still", tensor(flag, &[]))
        .output("after", tensor(float, &["1"]))
        .constant(constant("half", DType::Fp32, &[1], 0.5f32.to_le_bytes().to_vec()))
        .node(node("Identity", &["go"], &["still"]))
        .node(node("Mul", &["before", "half"], &["after"]));
    graph()
        .input("trips", tensor(long, &[]))
        .input("x", tensor(float, &["1"]))
        .output("y", tensor(float, &["1"]))
        .constant(constant("true", DType::Bool, &[], vec![1]))
        .node(node("Loop", &["trips", "true", "x"], &["y"]).graph("body", body))
}
