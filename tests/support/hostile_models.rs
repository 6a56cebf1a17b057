//! Models that mean harm, or could.

use modelgate::types::DType;

use super::onnx_builder::{
    Constant, Graph, Sparse, constant, element, function, graph, node, sparse, tensor,
};
use super::zoo::{floats, longs};

const F32: i32 = 1;
const I64: i32 = 7;

/// Divides the smallest number by -1, which no 64 bits can hold: the processor traps,
/// and ONNX Runtime computes it when it folds constants.
pub fn division_trap() -> Graph {
    graph()
        .input("x", tensor(I64, &["1"]))
        .output("y", tensor(I64, &["1"]))
        .constant(constant("least", DType::Int64, &[1], longs(&[i64::MIN])))
        .constant(constant("minus one", DType::Int64, &[1], longs(&[-1])))
        .node(node("Div", &["least", "minus one"], &["q"]))
        .node(node("Add", &["x", "q"], &["y"]))
}

/// A few bytes that ask for `elements` floats at every run.
pub fn memory_bomb(elements: i64) -> Graph {
    graph()
        .input("x", tensor(F32, &["1"]))
        .output("y", tensor(F32, &["?"]))
        .constant(constant("shape", DType::Int64, &[1], longs(&[elements])))
        .node(node("ConstantOfShape", &["shape"], &["filled"]))
        .node(node("Add", &["x", "filled"], &["y"]))
}

/// Loops for ever over constants alone.
pub fn endless() -> Graph {
    let body = graph()
        .input("i", tensor(I64, &[]))
        .input("go", tensor(element(DType::Bool), &[]))
        .input("before", tensor(F32, &["1"]))
        .output("still", tensor(element(DType::Bool), &[]))
        .output("after", tensor(F32, &["1"]))
        .constant(constant("half", DType::Fp32, &[1], floats(&[0.5])))
        .node(node("Identity", &["go"], &["still"]))
        .node(node("Mul", &["before", "half"], &["after"]));
    graph()
        .input("x", tensor(F32, &["1"]))
        .output("y", tensor(F32, &["1"]))
        .constant(constant("trips", DType::Int64, &[], longs(&[1 << 62])))
        .constant(constant("true", DType::Bool, &[], vec![1]))
        .constant(constant("one", DType::Fp32, &[1], floats(&[1.0])))
        .node(node("Loop", &["trips", "true", "one"], &["z"]).graph("body", body))
        .node(node("Add", &["x", "z"], &["y"]))
}

/// Branches within branches, `depth` deep.
pub fn nested(depth: usize) -> Graph {
    let leaf = |value: f32| {
        graph()
            .output("z", tensor(F32, &["1"]))
            .constant(constant("c", DType::Fp32, &[1], floats(&[value])))
            .node(node("Identity", &["c"], &["z"]))
    };
    let branch = |inner: Graph| {
        let choose = node("If", &["yes"], &["z"]);
        choose.graph("then_branch", inner).graph("else_branch", leaf(0.0))
    };
    let deep = (0..depth)
        .fold(leaf(1.0), |inner, _| graph().output("z", tensor(F32, &["1"])).node(branch(inner)));
    graph()
        .input("x", tensor(F32, &["1"]))
        .output("y", tensor(F32, &["1"]))
        .constant(constant("yes", DType::Bool, &[], vec![1]))
        .node(branch(deep))
        .node(node("Add", &["x", "z"], &["y"]))
}

/// A sound sparse part for one that is not.
fn floats_at(values: Constant) -> Sparse {
    sparse(values, constant("indices", DType::Int64, &[2], longs(&[0, 1])), &[4])
}

/// `y = x + w`, with `w`, two floats, in every place where a model can keep it.
pub fn hiding_places(w: &Constant) -> Vec<(&'static str, Vec<u8>)> {
    let add = || {
        graph().input("x", tensor(F32, &["2"])).output("y", tensor(F32, &["2"])).node(node(
            "Add",
            &["x", "w"],
            &["y"],
        ))
    };
    let spread = || add().input("x", tensor(F32, &["4"]));
    let keep = |name: &str| node(name, &[], &["w"]);
    let inner = graph().output("w", tensor(F32, &["2"])).constant(w.clone());
    let branch = |graph: &Graph| {
        node("If", &["yes"], &["w"])
            .graph("then_branch", graph.clone())
            .graph("else_branch", graph.clone())
    };
    let yes = constant("yes", DType::Bool, &[], vec![1]);
    let deeper = graph().output("w", tensor(F32, &["2"])).node(branch(&inner));
    let indices = sparse(constant("w", DType::Fp32, &[2], floats(&[1.0, 2.0])), w.clone(), &[4]);
    let call = || {
        graph()
            .input("x", tensor(F32, &["2"]))
            .output("y", tensor(F32, &["2"]))
            .node(node("AddW", &["x"], &["y"]).domain("local"))
    };
    let function = |inner| function("local", "AddW", inner);
    vec![
        ("initializer", add().constant(w.clone()).model()),
        ("sparse values", spread().sparse_constant(floats_at(w.clone())).model()),
        ("sparse indices", spread().sparse_constant(indices.clone()).model()),
        ("Constant", add().node(keep("Constant").tensor("value", w.clone())).model()),
        ("tensors", add().node(keep("Odd").tensors("values", vec![w.clone()])).model()),
        (
            "sparse Constant",
            add().node(keep("Constant").sparse("sparse_value", floats_at(w.clone()))).model(),
        ),
        ("sparses", add().node(keep("Odd").sparses("values", vec![indices])).model()),
        ("subgraph", add().constant(yes.clone()).node(branch(&inner)).model()),
        ("deep subgraph", add().constant(yes).node(branch(&deeper)).model()),
        ("graphs", add().node(keep("Odd").graphs("bodies", vec![inner.clone()])).model()),
        (
            "function",
            call().model_with(vec![function(
                node("Constant", &[], &["y"]).tensor("value", w.clone()),
            )]),
        ),
        (
            "function default",
            call().model_with(vec![
                function(node("Identity", &["x"], &["y"])).default("scale", w.clone()),
            ]),
        ),
        ("training", add().constant(local(w)).model_trained_by(inner.clone(), graph())),
        ("training step", add().constant(local(w)).model_trained_by(graph(), inner)),
    ]
}

/// A sound stand-in for `w`.
fn local(_: &Constant) -> Constant {
    constant("w", DType::Fp32, &[2], floats(&[1.0, 2.0]))
}
