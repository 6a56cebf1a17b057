use modelgate::types::DType;
use serde_json::{Value, json};

use crate::support::onnx_builder::{Graph, element, graph, node, tensor};
use crate::support::registry::samples;
use crate::world::{World, rows};

/// `x` of two columns and a text `plan`, which come out again.
fn model() -> Graph {
    let (floats, texts) = (element(DType::Fp32), element(DType::Bytes));
    graph()
        .input("x", tensor(floats, &["rows", "2"]))
        .input("plan", tensor(texts, &["rows", "1"]))
        .output("probabilities", tensor(floats, &["rows", "2"]))
        .output("label", tensor(texts, &["rows", "1"]))
        .node(node("Identity", &["x"], &["probabilities"]))
        .node(node("Identity", &["plan"], &["label"]))
}

fn world() -> World {
    let world = World::new();
    world.write("fraud/3/model.onnx", model().model());
    world.write("fraud/model.yaml", "features: {x: [age, doors]}\n");
    world.csv("train.csv", &rows(3000, 1, 0.1));
    world
}

#[test]
fn inputs_are_those_of_the_model() {
    let world = world();
    let profile = world.built(&[
        "--data",
        "train.csv",
        "--model",
        "fraud/3",
        "--score",
        "score",
        "--time",
        "at",
    ]);
    let inputs = profile["inputs"].as_array().expect("columns");
    let places: Vec<Value> =
        inputs.iter().map(|own| json!([own["name"], own["tensor"], own["index"]])).collect();
    assert_eq!(
        json!(places),
        json!([["age", "x", [0]], ["doors", "x", [1]], ["plan", "plan", null]])
    );
    let score = &profile["outputs"][0];
    assert_eq!((&score["tensor"], &score["index"]), (&json!("probabilities"), &json!([1])));
    assert_eq!((&profile["model"], &score["kind"]), (&json!("fraud"), &json!("score")));
    for edge in inputs[0]["edges"].as_array().expect("edges").iter().filter_map(Value::as_f64) {
        assert_eq!(f64::from(edge as f32), edge, "as the tensor holds it");
    }
    // So live values are rounded, too, or some would be in another bin.
    let own = world.done(&["score", "built.json", "--data", "train.csv", "--json"]).stdout;
    let own: Value = serde_json::from_str(&own).expect("JSON");
    assert_eq!(own["columns"][0]["chi2"], json!(0.0), "{own}");

    let checked = world.done(&["check", "built.json", "--model", "fraud/3/model.onnx"]).stdout;
    assert!(checked.contains("valid, and fits the model"), "{checked}");
    let digits = samples().join("digits/1").display().to_string();
    let other = world.run(&["check", "built.json", "--model", &digits, "-o", "json"]);
    assert_eq!(other.code, 6, "{}", other.stderr);
    let answer: Value = serde_json::from_str(&other.stdout).expect("JSON");
    assert_eq!(
        (&answer["fits"], answer["misfits"].as_array().map(Vec::len)),
        (&json!(false), Some(3))
    );
    assert!(other.stderr.contains("of another model"), "{}", other.stderr);
}

/// Where no output is a class, it is the place of the greatest probability.
#[test]
fn outputs_are_those_that_fit_or_are_named() {
    let world = world();
    let outputs = |flags: &[&str]| {
        let inputs = ["--data", "train.csv", "--model", "fraud/3"];
        let profile = world.built(&[&inputs, flags].concat());
        world.done(&["check", "built.json", "--model", "fraud/3"]);
        profile["outputs"][0].clone()
    };
    let class = outputs(&["--prediction", "prediction"]);
    assert_eq!(
        json!([class["kind"], class["tensor"], class["derived"]]),
        json!(["class", "probabilities", "argmax"])
    );
    let class = outputs(&["--prediction", "plan", "--leave-out", "plan"]);
    assert_eq!(json!([class["kind"], class["tensor"]]), json!(["class", "label"]));
    let score = outputs(&["--score", "score=probabilities[0]"]);
    assert_eq!(json!([score["kind"], score["index"]]), json!(["score", [0]]));
    let build = ["build", "--data", "train.csv", "--model", "fraud/3", "--score"];
    world.refused(&[&build[..], &["score=proba"]].concat(), 1, &["no output for 'proba'"]);
    world.refused(&[&build[..], &["score=label"]].concat(), 1, &["floats", "'label' BYTES"]);
    world.refused(&[&build[..], &["score=probabilities[7]"]].concat(), 1, &["index [7]"]);
}

#[test]
fn columns_that_do_not_fit_are_refused() {
    let world = world();
    let text = std::fs::read_to_string(world.path("train.csv")).expect("a file");
    world.write("renamed.csv", text.replace("age,doors", "agee,doors"));
    let build = ["build", "--model", "fraud/3", "--data"];
    world.refused(&[&build[..], &["renamed.csv"]].concat(), 1, &["column 'age'", "mean 'agee'"]);
    world.refused(
        &[&build[..], &["train.csv", "--kind", "agee=values"]].concat(),
        1,
        &["no input column 'agee'; did you mean 'age'?"],
    );
    // Texts where the model takes numbers.
    world.write("fraud/model.yaml", "features: {x: [age, note]}\n");
    let parts = ["column 'note': expected numbers, for input 'x' FP32 [-1, 2], found texts"];
    world.refused(&[&build[..], &["train.csv"]].concat(), 1, &parts);
    world.done(&[&build[..], &["train.csv", "--leave-out", "note"]].concat());
    world.write("fraud/model.yaml", "");
    let parts = ["column 'x_0'", "column 'x_1'"];
    world.refused(&[&build[..], &["train.csv"]].concat(), 1, &parts);
    world.write("bad.onnx", "no model");
    world.refused(&["build", "--data", "train.csv", "--model", "bad.onnx"], 6, &["bad.onnx"]);
}
