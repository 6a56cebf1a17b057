//! What the prediction log holds of requests to a real gateway.

#[path = "../support/fake_gateway.rs"]
#[allow(dead_code, reason = "a part of it is needed")]
mod fake_gateway;
#[path = "../support/mod.rs"]
mod support;

mod answers;
mod leaving;
mod policies;
mod routes;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use modelgate::predictions::{Form, Prediction, TensorRecord};
use modelgate::types::DType;
use serde_json::{Value, json};
use support::gateway::{Gateway, Launch};
use support::http::{Reply, Request};
use support::log;
use support::onnx_builder::{Graph, element, graph, node, tensor as kind};
use support::predict::{Predict, tensor};
use support::registry::Registry;
use support::zoo::{self, floats, packed};
use tempfile::TempDir;

/// Far beyond what anything takes on a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// A gateway and its data folder.
struct Recorded {
    gateway: Gateway,
    registry: Registry,
    data: TempDir,
}

impl Recorded {
    /// Models `sign` (versions 1 `Neg` and 2 `Abs`; version 2 answers) and
    /// `person`, which takes ages and names.
    fn start(config: &str) -> Recorded {
        let registry = Registry::new()
            .version("sign", 1, &sign("Neg").model())
            .version("sign", 2, &sign("Abs").model())
            .model("person", person());
        let data = tempfile::tempdir().expect("a folder");
        let launch = Launch::new().models(registry.path()).data(data.path());
        // Nothing is sealed while a test looks, and a machine that stands still for a moment
        // is not taken for a slow disk.
        let config =
            format!("predictions:\n  segment_age_ms: 3600000\n  slow_append_ms: 60000\n{config}");
        let gateway = launch.config(&config).start();
        Recorded { gateway, registry, data }
    }

    fn root(&self) -> PathBuf {
        self.data.path().join("predictions")
    }

    /// What the log holds at this moment, in the order of time.
    fn records(&self) -> Vec<Prediction> {
        let mut records: Vec<Prediction> = log::raw(&self.root()).into_values().collect();
        records.sort_by_key(|record| record.event_time);
        records
    }

    /// The records of a request, at this moment.
    fn of(&self, id: &str) -> Vec<Prediction> {
        self.records().into_iter().filter(|record| record.request_id == id).collect()
    }

    /// The record of a request, which must be there and alone.
    #[track_caller]
    fn one(&self, id: &str) -> Prediction {
        let mut found = self.of(id);
        assert_eq!(found.len(), 1, "{found:#?}");
        found.remove(0)
    }

    /// All bytes of the log's folder.
    fn bytes(&self) -> Vec<u8> {
        // A segment may get another name meanwhile; the next look finds it.
        let read = |file: &PathBuf| fs::read(file).ok();
        loop {
            let files = log::files(&self.root());
            if let Some(all) = files.iter().map(read).collect::<Option<Vec<_>>>() {
                return all.concat();
            }
        }
    }

    #[track_caller]
    fn wait_for(&self, what: &str, mut reached: impl FnMut() -> bool) {
        let until = Instant::now() + SOON;
        while !reached() {
            assert!(Instant::now() < until, "never came: {what}\n{:#?}", self.records());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn apply(&self, name: &str, spec: Value) {
        let document = json!({
            "apiVersion": "modelgate.dev/v1", "kind": "Route", "metadata": {"name": name},
            "spec": spec,
        });
        let body = json!({"routes": [document], "actor": "ada", "reason": "a test"});
        let request = Request::post("/admin/v1/routes", body.to_string())
            .header("host", "localhost")
            .header("content-type", "application/json");
        let reply = request.send(self.gateway.admin);
        assert_eq!(reply.status, 200, "{}", reply.text());
    }

    fn variant_is_ready(&self, route: &str, name: &str) -> bool {
        let path = format!("/admin/v1/routes/{route}");
        let reply = Request::get(&path).header("host", "localhost").send(self.gateway.admin);
        let route: Value = if reply.status == 200 { reply.json() } else { Value::Null };
        let variants = route["variants"].as_array().cloned().unwrap_or_default();
        variants.iter().any(|variant| variant["name"] == name && variant["state"] == "ready")
    }

    fn ask(&self, request: Request) -> Reply {
        request.send(self.gateway.http)
    }
}

fn sign(op: &str) -> Graph {
    zoo::unary(op, DType::Fp32, &["n"])
}

/// `older = -age`, and `name` as it came: two columns and a text a row.
fn person() -> Graph {
    let (real, text) = (element(DType::Fp32), element(DType::Bytes));
    graph()
        .input("x", kind(real, &["n", "2"]))
        .input("name", kind(text, &["n", "1"]))
        .output("y", kind(real, &["n", "2"]))
        .output("same", kind(text, &["n", "1"]))
        .node(node("Neg", &["x"], &["y"]))
        .node(node("Identity", &["name"], &["same"]))
}

fn sign_of(id: &str, value: f32) -> Predict {
    Predict::of("sign", [tensor("x", DType::Fp32, &[1], floats(&[value]))]).id(id)
}

fn somebody(id: &str, name: &str) -> Predict {
    let x = tensor("x", DType::Fp32, &[1, 2], floats(&[41.0, 1_234.5]));
    Predict::of("person", [x, tensor("name", DType::Bytes, &[1, 1], packed(&[name]))]).id(id)
}

/// The numbers of a tensor that is kept as it came.
fn numbers(tensor: &TensorRecord) -> Vec<f32> {
    let Form::Raw(data) = &tensor.form else { panic!("not raw: {tensor:?}") };
    data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}
