//! Small models, each with one property that tests need.

use modelgate::types::DType;

use super::onnx_builder::{Graph, Node, constant, element, graph, node, tensor};

const F32: i32 = 1;
const I64: i32 = 7;

pub fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

pub fn longs(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Elements of a `BYTES` tensor as raw data.
pub fn packed<S: AsRef<[u8]>>(strings: &[S]) -> Vec<u8> {
    let prefixed = |string: &S| {
        let string = string.as_ref();
        [&(string.len() as u32).to_le_bytes()[..], string].concat()
    };
    strings.iter().flat_map(prefixed).collect()
}

/// `y = x`, over `dims`.
pub fn identity(dtype: DType, dims: &[&str]) -> Graph {
    unary("Identity", dtype, dims)
}

pub fn unary(op: &str, dtype: DType, dims: &[&str]) -> Graph {
    let kind = tensor(element(dtype), dims);
    graph().input("x", kind.clone()).output("y", kind).node(node(op, &["x"], &["y"]))
}

/// Name of the identity model of a type in [`every_type`](super::zoo)'s registries.
pub fn identity_name(dtype: DType) -> String {
    format!("id-{}", dtype.name().to_lowercase())
}

/// `sum = a + b` and `difference = a - b`, over `[rows, 2]`.
pub fn add_sub() -> Graph {
    let kind = || tensor(F32, &["rows", "2"]);
    graph()
        .input("a", kind())
        .input("b", kind())
        .output("sum", kind())
        .output("difference", kind())
        .node(node("Add", &["a", "b"], &["sum"]))
        .node(node("Sub", &["a", "b"], &["difference"]))
}

/// `y = x * x + 1` element by element, over `[rows, columns]`.
pub fn square_plus_one() -> Graph {
    let kind = || tensor(F32, &["rows", "columns"]);
    graph()
        .input("x", kind())
        .output("y", kind())
        .constant(constant("one", DType::Fp32, &[1], floats(&[1.0])))
        .node(node("Mul", &["x", "x"], &["squared"]))
        .node(node("Add", &["squared", "one"], &["y"]))
}

/// `y = [10, 11, 12, 13][x]`, over `[rows, 1]`; other indices fail the run.
pub fn lookup() -> Graph {
    graph()
        .input("x", tensor(I64, &["rows", "1"]))
        .output("y", tensor(F32, &["rows", "1"]))
        .constant(constant("table", DType::Fp32, &[4], floats(&[10.0, 11.0, 12.0, 13.0])))
        .node(node("Gather", &["table", "x"], &["y"]))
}

/// Halves `x` as often as `trips` says, for as long as anyone lets it.
pub fn halving() -> Graph {
    let body = graph()
        .input("i", tensor(I64, &[]))
        .input("go", tensor(element(DType::Bool), &[]))
        .input("before", tensor(F32, &["1"]))
        .output("still", tensor(element(DType::Bool), &[]))
        .output("after", tensor(F32, &["1"]))
        .constant(constant("half", DType::Fp32, &[1], floats(&[0.5])))
        .node(node("Identity", &["go"], &["still"]))
        .node(node("Mul", &["before", "half"], &["after"]));
    let looped: Node = node("Loop", &["trips", "true", "x"], &["y"]).graph("body", body);
    graph()
        .input("trips", tensor(I64, &[]))
        .input("x", tensor(F32, &["1"]))
        .output("y", tensor(F32, &["1"]))
        .constant(constant("true", DType::Bool, &[], vec![1]))
        .node(looped)
}
