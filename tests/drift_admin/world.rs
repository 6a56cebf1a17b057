//! A gateway whose traffic is known, row by row.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use modelgate::types::DType;
use serde_json::{Value, json};

use crate::support::gateway::{Gateway, Launch};
use crate::support::http::{Reply, Request};
use crate::support::onnx_builder::{Graph, element, graph, node, tensor as typed};
use crate::support::predict::{Face, Predict, tensor};
use crate::support::registry::Registry;
use crate::support::zoo::{self, floats, packed};

/// Far longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Rows of a request.
pub const ROWS: usize = 2000;

/// A category that is hostile wherever it is shown.
pub const HOSTILE: &str = "<b>&\"'\u{1b}[31m";

/// Looks often, and has no patience with drift.
pub const CONFIG: &str = "drift: {every_ms: 100, hold_ms: 0, keep_ms: 0}
models: {defaults: {versions: all}}";

/// `y = x` of two numbers a row, beside a text that nothing is made of.
pub fn loans() -> Graph {
    graph()
        .input("x", typed(element(DType::Fp32), &["rows", "2"]))
        .input("plan", typed(element(DType::Bytes), &["rows", "1"]))
        .output("y", typed(element(DType::Fp32), &["rows", "2"]))
        .output("named", typed(element(DType::Bytes), &["rows", "1"]))
        .node(node("Identity", &["x"], &["y"]))
        .node(node("Identity", &["plan"], &["named"]))
}

fn numeric(name: &str, tensor: &str, index: usize) -> Value {
    json!({
        "name": name, "tensor": tensor, "index": [index], "kind": "numeric",
        "edges": [1.0, 2.0, 3.0], "counts": [500, 500, 500, 500], "min": 0.0, "max": 4.0,
        "p001": 0.0, "p999": 4.0, "mean": 2.0, "std": 1.2,
    })
}

/// Where income, age and plan are spread evenly, and the answer is the income.
pub fn profile() -> Value {
    json!({
        "schema": "modelgate.drift.profile/v1", "model": "loans",
        "created": "2026-11-01T00:00:00Z", "source": {"rows": 2000},
        "inputs": [
            numeric("income", "x", 0),
            numeric("age", "x", 1),
            {
                "name": "plan", "tensor": "plan", "kind": "categorical",
                "categories": ["basic", HOSTILE], "counts": [1000, 900], "other": 100,
            },
        ],
        "outputs": [numeric("score", "y", 0)],
    })
}

/// Rows like those of the profile, but that all ages are `age` where that is given.
pub fn rows(age: Option<f32>) -> [crate::support::predict::Tensor; 2] {
    let quarter = |row: usize| (row % 4) as f32 + 0.5;
    let x: Vec<f32> =
        (0..ROWS).flat_map(|row| [quarter(row), age.unwrap_or(quarter(row / 4))]).collect();
    let plan = |row: usize| match row % 20 {
        0 => "another",
        row if row % 2 == 1 => "basic",
        _ => HOSTILE,
    };
    let plans: Vec<&str> = (0..ROWS).map(plan).collect();
    let count = ROWS as i64;
    [
        tensor("x", DType::Fp32, &[count, 2], floats(&x)),
        tensor("plan", DType::Bytes, &[count, 1], packed(&plans)),
    ]
}

pub fn send(gateway: &Gateway, model: &str, age: Option<f32>) {
    Predict::of(model, rows(age)).ask(gateway, Face::Binary).expect("an answer");
}

/// Writes `profile.json` beside a version.
pub fn with_profile(registry: Registry, model: &str, version: u64, profile: &Value) -> Registry {
    let file = registry.path().join(model).join(version.to_string()).join("profile.json");
    fs::write(file, profile.to_string()).expect("a profile");
    registry
}

/// A model whose ages drift, one whose profile is about another, and one without.
static DRIFTED: LazyLock<(Gateway, Registry)> = LazyLock::new(|| {
    let mut other = profile();
    other["inputs"][0]["tensor"] = json!("salaries");
    let registry = Registry::new()
        .version("loans", 1, &loans().model())
        .version("loans", 2, &loans().model())
        .model("plain", zoo::identity(DType::Fp32, &["rows", "2"]))
        .model("silent", loans());
    let registry = with_profile(registry, "loans", 1, &other);
    let registry = with_profile(registry, "loans", 2, &profile());
    let mut own = profile();
    own["model"] = json!("silent");
    let registry = with_profile(registry, "silent", 1, &own);
    let gateway = Launch::new().models(registry.path()).config(CONFIG).start();
    send(&gateway, "loans", Some(3.5));
    until(&gateway, "drift/loans", |drift| drift["report"]["state"] == "drifted");
    (gateway, registry)
});

pub fn drifted() -> &'static Gateway {
    &DRIFTED.0
}

pub fn get(gateway: &Gateway, path: &str) -> Reply {
    Request::get(&format!("/admin/v1/{path}")).header("host", "localhost").send(gateway.admin)
}

/// Asks until the answer is as wanted.
#[track_caller]
pub fn until(gateway: &Gateway, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let reply = get(gateway, path);
        if reply.status == 200 && wanted(&reply.json()) {
            return reply.json();
        }
        assert!(Instant::now() < deadline, "{path}: {}", reply.text());
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// `modelgate drift`.
pub fn drift(gateway: &Gateway, args: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_modelgate"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MODELGATE_") {
            command.env_remove(&name);
        }
    }
    command.arg("drift").args(args).args(["--url", &format!("http://{}", gateway.admin)]);
    let output = command.stdin(Stdio::null()).output().expect("the built program runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let code = output.status.code().expect("a code");
    Ended { code, stdout: text(output.stdout), stderr: text(output.stderr) }
}
