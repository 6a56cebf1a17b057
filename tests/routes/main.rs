//! Routes of a real gateway: what is applied, changed by hand, held back and
//! kept, through pushes and restarts.

#[path = "../support/mod.rs"]
mod support;

mod applied;
mod kept;
mod versions;

use std::time::{Duration, Instant};

use modelgate::types::DType;
use serde_json::{Value, json};
use support::gateway::{Gateway, Launch};
use support::http::{Reply, Request};
use support::onnx_builder::Graph;
use support::predict::{Face, Predict, tensor};
use support::registry::Registry;
use support::zoo::{self, floats};

/// Far beyond what a version takes to come up on a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// A model of one free row whose answer tells which it is: `Neg`, `Abs`, ...
fn sign(op: &str) -> Graph {
    zoo::unary(op, DType::Fp32, &["n"])
}

/// Versions 1 and 2 of `sign`.
fn registry() -> Registry {
    Registry::new().version("sign", 1, &sign("Neg").model()).version(
        "sign",
        2,
        &sign("Abs").model(),
    )
}

fn start(registry: &Registry) -> Gateway {
    Launch::new().models(registry.path()).start()
}

#[track_caller]
fn wait_for(what: &str, gateway: &Gateway, mut reached: impl FnMut() -> bool) {
    let until = Instant::now() + SOON;
    while !reached() {
        let routes = get(gateway, "routes");
        assert!(Instant::now() < until, "never came: {what}\n{routes:#}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn get(gateway: &Gateway, path: &str) -> Value {
    let request = Request::get(&format!("/admin/v1/{path}")).header("host", "localhost");
    let reply = request.send(gateway.admin);
    if reply.status == 200 { reply.json() } else { Value::Null }
}

fn post(gateway: &Gateway, path: &str, mut body: Value) -> Reply {
    body["actor"] = json!("ada");
    body["reason"] = json!("a test");
    let request = Request::post(&format!("/admin/v1/{path}"), body.to_string());
    let request = request.header("host", "localhost").header("content-type", "application/json");
    request.send(gateway.admin)
}

#[track_caller]
fn ok(reply: Reply) -> Value {
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

fn document(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "modelgate.dev/v1", "kind": "Route", "metadata": {"name": name}, "spec": spec
    })
}

fn apply(gateway: &Gateway, name: &str, spec: Value) -> Reply {
    post(gateway, "routes", json!({"routes": [document(name, spec)]}))
}

fn route(gateway: &Gateway, name: &str) -> Value {
    get(gateway, &format!("routes/{name}"))
}

/// A variant of the route `sign` as it is told.
fn variant(gateway: &Gateway, name: &str) -> Value {
    let route = route(gateway, "sign");
    let variants = route["variants"].as_array().cloned().unwrap_or_default();
    variants.into_iter().find(|variant| variant["name"] == name).unwrap_or_default()
}

fn champion(gateway: &Gateway) -> Value {
    variant(gateway, "champion")["version"].clone()
}

/// The stage of a version of the model `sign`; null for one that is not loaded.
fn stage(gateway: &Gateway, number: u64) -> Value {
    let status = get(gateway, "models/sign");
    let versions = status["versions"].as_array().cloned().unwrap_or_default();
    let own = versions.into_iter().find(|version| version["version"] == number);
    own.map_or(Value::Null, |version| version["stage"].clone())
}

/// Pushes a version and waits for its end.
fn push(gateway: &Gateway, registry: Registry, number: u64, op: &str, end: &str) -> Registry {
    let registry = registry.version("sign", number, &sign(op).model());
    ok_or_accepted(post(gateway, "registry/events", json!({})));
    wait_for("the pushed version", gateway, || stage(gateway, number) == end);
    registry
}

#[track_caller]
fn ok_or_accepted(reply: Reply) {
    assert!(reply.status < 300, "{}", reply.text());
}

/// What answers requests for `sign` that name no version.
fn answering(gateway: &Gateway) -> Option<String> {
    let input = tensor("x", DType::Fp32, &[1], floats(&[-3.0]));
    Predict::of("sign", [input]).ask(gateway, Face::Json).ok().map(|answer| answer.version)
}

/// What people and the gateway did to routes, oldest first.
fn audited(gateway: &Gateway) -> Vec<(String, String)> {
    let entries = get(gateway, "audit");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of_routes = entries.as_array().cloned().unwrap_or_default().into_iter();
    of_routes
        .filter(|entry| entry["route"] == "sign")
        .map(|entry| (text(&entry["actor"]), text(&entry["action"])))
        .collect()
}
