//! What pushes, deletions, rollbacks, restarts and reloads do to what is
//! served: real gateways, real folders, a real S3 server.

#[path = "../support/mod.rs"]
mod support;

mod configuration;
mod memory;
mod object_store;
mod pushes;
mod restarts;

use std::time::{Duration, Instant};

use modelgate::types::DType;
use serde_json::Value;
use support::gateway::Gateway;
use support::http::{self, Request};
use support::onnx_builder::Graph;
use support::predict::{Face, Predict, tensor};
use support::registry::Registry;
use support::zoo::{self, floats};

/// Far beyond what a swap takes on a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// A model of one free row whose answer tells which it is: `Neg`, `Abs`, ...
fn sign(op: &str) -> Graph {
    zoo::unary(op, DType::Fp32, &["n"])
}

fn registry() -> Registry {
    Registry::new().version("sign", 1, &sign("Neg").model())
}

#[track_caller]
fn wait_for(what: &str, gateway: &Gateway, mut reached: impl FnMut() -> bool) {
    let until = Instant::now() + SOON;
    while !reached() {
        assert!(Instant::now() < until, "never came: {what}\n{:#}", status(gateway, "sign"));
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What the admin API says of a model.
fn status(gateway: &Gateway, model: &str) -> Value {
    let request = Request::get(&format!("/admin/v1/models/{model}")).header("host", "localhost");
    let reply = request.send(gateway.admin);
    if reply.status == 200 { reply.json() } else { Value::Null }
}

/// What the admin API says of one version, the newest attempt first.
fn version(gateway: &Gateway, number: u64) -> Value {
    let status = status(gateway, "sign");
    let versions = status["versions"].as_array().cloned().unwrap_or_default();
    versions.into_iter().find(|one| one["version"] == number).unwrap_or_default()
}

fn stage(gateway: &Gateway, number: u64) -> String {
    version(gateway, number)["stage"].as_str().unwrap_or_default().to_owned()
}

/// The version that answers without one being named, and its answer for -3.
fn ask(gateway: &Gateway) -> Option<(String, f32)> {
    let input = tensor("x", DType::Fp32, &[1], floats(&[-3.0]));
    let answer = Predict::of("sign", [input]).ask(gateway, Face::Json).ok()?;
    let data: [u8; 4] = answer.outputs[0].data.as_slice().try_into().expect("one float");
    Some((answer.version, f32::from_le_bytes(data)))
}

fn answering(gateway: &Gateway) -> Option<String> {
    ask(gateway).map(|(version, _)| version)
}

fn command(gateway: &Gateway, path: &str) -> http::Reply {
    let request = Request::post(&format!("/admin/v1/{path}"), "{}").header("host", "localhost");
    request.header("content-type", "application/json").send(gateway.admin)
}
