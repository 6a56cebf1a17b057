//! Traffic of a real gateway beside the profiles of its models, as its metrics
//! tell it.

#[path = "../support/mod.rs"]
mod support;

mod counts;
mod standing;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use modelgate::types::DType;
use serde_json::{Value, json};
use support::gateway::{Gateway, Launch};
use support::http::Request;
use support::metrics::Scrape;
use support::onnx_builder::{Graph, element, graph, node, tensor as kind};
use support::predict::{Face, Predict, tensor};
use support::registry::Registry;
use support::zoo::{floats, packed};

/// Far beyond what anything takes on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// `older = -age`, and `plan` as it came.
fn person() -> Graph {
    let (real, text) = (element(DType::Fp32), element(DType::Bytes));
    graph()
        .input("x", kind(real, &["n", "2"]))
        .input("plan", kind(text, &["n", "1"]))
        .output("y", kind(real, &["n", "2"]))
        .output("same", kind(text, &["n", "1"]))
        .node(node("Neg", &["x"], &["y"]))
        .node(node("Identity", &["plan"], &["same"]))
}

/// What it was trained on: ages, numbers of doors and plans; and what it answered.
fn profile() -> Value {
    let numeric = |name: &str, tensor: &str, edges: [i32; 2], ends: [i32; 2]| {
        json!({
            "name": name, "tensor": tensor, "index": [0], "kind": "numeric", "edges": edges,
            "counts": [500, 700, 300], "min": ends[0], "max": ends[1], "p001": ends[0],
            "p999": ends[1], "mean": (edges[0] + edges[1]) / 2, "std": 10,
        })
    };
    json!({
        "schema": "modelgate.drift.profile/v1", "model": "person",
        "inputs": [
            numeric("age", "x", [20, 40], [0, 80]),
            {
                "name": "doors", "tensor": "x", "index": [1], "kind": "values", "values": [2, 4],
                "counts": [800, 690], "other": 10, "dictionary": [3], "min": 2, "max": 4,
                "p001": 2, "p999": 4, "mean": 3, "std": 1,
            },
            {
                "name": "plan", "tensor": "plan", "kind": "categorical", "categories": ["a", "b"],
                "counts": [800, 690], "other": 10, "dictionary": ["c"],
            },
        ],
        "outputs": [numeric("older", "y", [-40, -20], [-80, 0])],
    })
}

/// Puts a version there whole: its profile first, as its model makes it one.
fn put(models: &Path, name: &str, version: u64, profile: Option<&[u8]>) {
    let folder = models.join(name).join(version.to_string());
    fs::create_dir_all(&folder).expect("a folder");
    if let Some(profile) = profile {
        fs::write(folder.join("profile.json"), profile).expect("a profile");
    }
    fs::write(folder.join("model.onnx"), person().model()).expect("a model");
}

fn profiled(models: &Path, version: u64) {
    put(models, "person", version, Some(profile().to_string().as_bytes()));
}

/// One row: age, doors and plan.
type Row<'a> = (f32, f32, &'a str);

fn predict(rows: &[Row<'_>]) -> Predict {
    let count = rows.len() as i64;
    let numbers: Vec<f32> = rows.iter().flat_map(|(age, doors, _)| [*age, *doors]).collect();
    let plans: Vec<&str> = rows.iter().map(|(.., plan)| *plan).collect();
    let x = tensor("x", DType::Fp32, &[count, 2], floats(&numbers));
    let plan = tensor("plan", DType::Bytes, &[count, 1], packed(&plans));
    Predict::of("person", [x, plan])
}

#[track_caller]
fn ask(gateway: &Gateway, face: Face, rows: &[Row<'_>]) {
    predict(rows).ask(gateway, face).expect("an answer");
}

/// Counts of one feature's bins.
fn bins(scrape: &Scrape, labels: &[(&str, &str)], bins: usize) -> Vec<f64> {
    let of = |bin: usize| {
        let bin = format!("{bin:02}");
        let labels = [labels, &[("bin", bin.as_str())]].concat();
        scrape.sum("modelgate_drift_observations_total", &labels)
    };
    (0..bins).map(of).collect()
}

/// The first page that is as wanted.
#[track_caller]
fn page_where(gateway: &Gateway, what: &str, mut is: impl FnMut(&Scrape) -> bool) -> Scrape {
    let until = Instant::now() + SOON;
    loop {
        let scrape = Scrape::of(gateway.ops);
        if is(&scrape) {
            return scrape;
        }
        assert!(Instant::now() < until, "never came: {what}\n{:#?}", drift_of(gateway));
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn drift_of(gateway: &Gateway) -> Vec<String> {
    let page = support::http::get(gateway.ops, "/metrics").text();
    page.lines().filter(|line| line.starts_with("modelgate_drift_")).map(str::to_owned).collect()
}

fn post(gateway: &Gateway, path: &str, mut body: Value) {
    body["actor"] = json!("ada");
    body["reason"] = json!("a test");
    let request = Request::post(&format!("/admin/v1/{path}"), body.to_string())
        .header("host", "localhost")
        .header("content-type", "application/json");
    let reply = request.send(gateway.admin);
    assert!(reply.status < 300, "{}", reply.text());
}
