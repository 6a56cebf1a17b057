//! Profiles that are learnt from live traffic.

use std::fs;
use std::path::Path;

use modelgate::types::DType;
use serde_json::Value;

use crate::support::gateway::{Gateway, Launch};
use crate::support::http::Request;
use crate::support::metrics::Scrape;
use crate::support::onnx_builder::{Graph, element, node, tensor as kind};
use crate::support::predict::{Face, Predict, tensor};
use crate::support::registry::Registry;
use crate::support::zoo::{floats, packed};
use crate::world::wait_for;

const QUICK: &str = "drift: {bootstrap: {survey_rows: 400, survey_ms: 0, count_rows: 600, \
                     count_ms: 0}, models: {off: {bootstrap: false}}}";

/// Two numbers and a text come out again.
fn model() -> Graph {
    let texts = || kind(element(DType::Bytes), &["rows", "1"]);
    crate::world::model().input("name", texts()).output("same", texts()).node(node(
        "Identity",
        &["name"],
        &["same"],
    ))
}

/// Asks with a hundred rows that differ from those before.
fn ask(gateway: &Gateway, model: &str, at: usize) {
    let numbers: Vec<f32> = (0..200).map(|place| ((at * 37 + place * 11) % 100) as f32).collect();
    let names: Vec<String> = (0..100).map(|row| format!("Jane Roe {}", row % 7)).collect();
    let inputs = [
        tensor("x", DType::Fp32, &[100, 2], floats(&numbers)),
        tensor("name", DType::Bytes, &[100, 1], packed(&names)),
    ];
    Predict::of(model, inputs).ask(gateway, Face::Grpc).expect("an answer");
}

fn state(gateway: &Gateway, model: &str, state: &str) -> f64 {
    let labels = [("model", model), ("state", state)];
    Scrape::of(gateway.ops).sum("modelgate_drift_profile_state", &labels)
}

fn watched(gateway: &Gateway) -> Option<Value> {
    let is_watched = |line: &Value| line["message"] == "drift is watched" && line["model"] == "m";
    gateway.logged().into_iter().find(is_watched)
}

fn kept(data: &Path) -> Vec<String> {
    let folder = fs::read_dir(data.join("drift/m")).expect("a folder");
    folder.map(|file| fs::read_to_string(file.expect("an entry").path()).expect("text")).collect()
}

#[test]
fn a_version_without_a_profile_learns_one_and_keeps_it() {
    let registry = Registry::new().model("m", model()).model("off", model());
    let data = tempfile::tempdir().expect("a folder");
    let launch = || Launch::new().models(registry.path()).data(data.path()).config(QUICK);
    let gateway = launch().start();
    assert_eq!((state(&gateway, "m", "warming"), state(&gateway, "m", "active")), (1.0, 0.0));
    assert_eq!(state(&gateway, "off", "none"), 1.0);
    let mut at = 0;
    wait_for("a profile", || {
        at += 1;
        ask(&gateway, "m", at);
        ask(&gateway, "off", at);
        watched(&gateway).is_some()
    });
    let learnt = watched(&gateway).expect("a line");
    assert_eq!(learnt["source"], "bootstrap");
    assert_eq!((state(&gateway, "m", "warming"), state(&gateway, "m", "active")), (0.0, 1.0));
    // From then on rows are counted against it.
    let counted = |gateway: &Gateway| {
        Scrape::of(gateway.ops).sum("modelgate_drift_observations_total", &[("model", "m")])
    };
    ask(&gateway, "m", 0);
    wait_for("counts", || counted(&gateway) > 0.0);

    let files = kept(data.path());
    assert_eq!(files.len(), 1, "{files:?}");
    let profile: Value = serde_json::from_str(&files[0]).expect("JSON");
    let name = |column: &Value| column["name"].as_str().expect("a name").to_owned();
    let names: Vec<String> =
        profile["inputs"].as_array().expect("columns").iter().map(name).collect();
    assert_eq!(names, ["x_0", "x_1", "name_chars", "name_words", "name_non_ascii_ratio"]);
    drop(gateway);

    // Found again without a request, and so is nothing of what was learnt anew.
    let gateway = launch().start();
    let again = gateway.wait_for_log(|line| line["message"] == "drift is watched");
    assert_eq!((&again["profile"], &again["source"]), (&learnt["profile"], &learnt["source"]));
    assert_eq!(state(&gateway, "m", "active"), 1.0);
    drop(gateway);

    // What cannot be used any more is learnt anew.
    for entry in fs::read_dir(data.path().join("drift/m")).expect("a folder") {
        fs::write(entry.expect("an entry").path(), "{").expect("written");
    }
    let gateway = launch().start();
    assert_eq!(state(&gateway, "m", "warming"), 1.0);
}

/// A learnt profile would keep numbers that were sent.
#[test]
fn nothing_is_learnt_from_what_a_private_route_is_asked() {
    let registry = Registry::new().model("m", model()).model("hidden", model());
    let data = tempfile::tempdir().expect("a folder");
    let launch = Launch::new().models(registry.path()).data(data.path()).config(QUICK);
    let gateway = launch.start();
    let route = serde_json::json!({
        "apiVersion": "modelgate.dev/v1", "kind": "Route", "metadata": {"name": "hidden"},
        "spec": {"private": true},
    });
    let body = serde_json::json!({ "routes": [route] }).to_string();
    let request = Request::post("/admin/v1/routes", body)
        .header("host", "localhost")
        .header("content-type", "application/json");
    let reply = request.send(gateway.admin);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let mut at = 0;
    wait_for("a profile of the other model", || {
        at += 1;
        ask(&gateway, "hidden", at);
        ask(&gateway, "m", at);
        watched(&gateway).is_some()
    });
    assert_eq!(state(&gateway, "hidden", "warming"), 1.0);
    assert!(!data.path().join("drift/hidden").exists());
}
