//! `modelgate models` and the admin API against a gateway that serves.

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use modelgate::types::DType;
use serde_json::{Value, json};
use support::gateway::{Gateway, Launch};
use support::http::Request;
use support::onnx_builder::Graph;
use support::predict::{Face, Predict, tensor};
use support::registry::Registry;
use support::zoo::{self, floats};

const SOON: Duration = Duration::from_secs(30);

fn sign(op: &str) -> Graph {
    zoo::unary(op, DType::Fp32, &["n"])
}

/// Version 1 of `sign` negates, version 2 takes the absolute value.
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

/// What the program says, and its exit code.
fn models(gateway: &Gateway, args: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_modelgate"))
        .arg("models")
        .args(args)
        .env("MODELGATE_URL", format!("http://{}", gateway.admin))
        .env("MODELGATE_ACTOR", "ada")
        .stdin(Stdio::null())
        .output()
        .expect("the built program runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().expect("a code"), String::from_utf8(text).expect("UTF-8"))
}

#[track_caller]
fn ok(gateway: &Gateway, args: &[&str]) -> String {
    let (code, text) = models(gateway, args);
    assert_eq!(code, 0, "{args:?}: {text}");
    text
}

#[track_caller]
fn wait_for(what: &str, mut reached: impl FnMut() -> bool) {
    let until = Instant::now() + SOON;
    while !reached() {
        assert!(Instant::now() < until, "never came: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The version that answers requests that name none.
#[track_caller]
fn answering(gateway: &Gateway) -> String {
    let input = tensor("x", DType::Fp32, &[1], floats(&[3.0]));
    Predict::of("sign", [input]).ask(gateway, Face::Json).expect("an answer").version
}

fn admin(gateway: &Gateway, request: Request) -> Value {
    let reply = request.header("host", "localhost").send(gateway.admin);
    assert!(reply.status < 300, "{}", reply.text());
    reply.json()
}

fn poke(gateway: &Gateway) {
    let event = Request::post("/admin/v1/registry/events", "{}");
    let poked = admin(gateway, event.header("content-type", "application/json"));
    assert_eq!(poked, json!({"registries": ["models"]}));
}

fn path(folder: &Path) -> String {
    folder.to_string_lossy().into_owned()
}

#[test]
fn a_rollback_holds_until_it_is_released() {
    let registry = registry();
    let gateway = start(&registry);
    assert_eq!(answering(&gateway), "2");
    let folder = path(registry.path());
    let verified = ok(&gateway, &["verify", "sign", "--models", &folder]);
    assert!(verified.contains("version 2: the same as here"), "{verified}");

    let held = ok(&gateway, &["rollback", "sign", "--to", "1", "--reason", "2 is late"]);
    assert!(held.contains("sign serves version 1"), "{held}");
    assert_eq!(answering(&gateway), "1", "at once");
    let registry = registry.version("sign", 3, &sign("Neg").model());
    poke(&gateway);
    let stage_of_third = || {
        let shown = admin(&gateway, Request::get("/admin/v1/models/sign"));
        let versions = shown["versions"].as_array().expect("versions").clone();
        versions.iter().find(|version| version["version"] == 3).map(|third| third["stage"].clone())
    };
    wait_for("version 3", || stage_of_third() == Some(json!("ready")));
    assert_eq!(answering(&gateway), "1", "whatever is pushed");
    assert!(ok(&gateway, &["verify", "sign"]).contains("by ada: 2 is late"));

    ok(&gateway, &["release", "sign"]);
    wait_for("version 3 answers", || answering(&gateway) == "3");
    assert!(ok(&gateway, &["list"]).contains("default"));
    let audit: Value =
        serde_json::from_str(&ok(&gateway, &["audit", "sign", "-o", "json"])).expect("JSON");
    let by_ada: Vec<&str> = audit
        .as_array()
        .expect("entries")
        .iter()
        .filter(|entry| entry["actor"] == "ada")
        .filter_map(|entry| entry["action"].as_str())
        .collect();
    assert_eq!(by_ada, ["rollback", "release"], "{audit:#}");
    drop(registry);
}

#[test]
fn what_was_rejected_is_told_and_may_be_tried_again() {
    let registry = registry().version("sign", 3, &sign("NoSuchOperator").model());
    let gateway = start(&registry);
    wait_for("a verdict", || models(&gateway, &["verify", "sign"]).0 == 6);
    assert_eq!(answering(&gateway), "2", "the one before answers");
    let shown = ok(&gateway, &["show", "sign"]);
    assert!(shown.contains("rejected since"), "{shown}");
    assert!(!shown.contains("bad_model: bad_model"), "the kind is told once: {shown}");
    let (code, text) = models(&gateway, &["retry", "sign", "2"]);
    assert_eq!(code, 1, "version 2 is not rejected: {text}");
    ok(&gateway, &["retry", "sign", "3"]);
    wait_for("the verdict again", || models(&gateway, &["verify", "sign"]).0 == 6);
}

#[test]
fn a_model_in_explicit_mode_is_loaded_by_request() {
    let registry = registry().options("sign", "mode: explicit").model("other", sign("Abs"));
    let gateway = start(&registry);
    let state = || gateway.get("/v2/models/sign/ready").status;
    assert_ne!(state(), 200);
    for _ in 0..2 {
        ok(&gateway, &["load", "sign"]);
        assert_eq!(state(), 200, "ready when it is answered");
        ok(&gateway, &["unload", "sign"]);
        assert_ne!(state(), 200);
    }
    for verb in ["load", "unload"] {
        let (code, text) = models(&gateway, &[verb, "other"]);
        assert_eq!(code, 1, "{text}");
        assert!(text.contains("mode: explicit"), "{text}");
        assert_eq!(models(&gateway, &[verb, "nothing"]).0, 1);
    }
    let registry =
        registry.model("broken", sign("NoSuchOperator")).options("broken", "mode: explicit");
    poke(&gateway);
    wait_for("the new model", || models(&gateway, &["show", "broken"]).0 == 0);
    let (code, text) = models(&gateway, &["load", "broken"]);
    assert_eq!(code, 6, "{text}");
    drop(registry);
}

#[test]
fn a_registry_that_is_not_there_is_not_poked() {
    let registry = registry();
    let gateway = start(&registry);
    let event = Request::post("/admin/v1/registry/events", r#"{"registry": "modles"}"#);
    let event = event.header("content-type", "application/json").header("host", "localhost");
    let reply = event.send(gateway.admin);
    assert_eq!(reply.status, 404, "{}", reply.text());
    assert!(reply.text().contains("there is models"), "{}", reply.text());
}

#[test]
fn the_running_configuration_is_shown_as_it_is() {
    let registry = registry();
    let gateway = Launch::new().models(registry.path()).config("limits: {max_inputs: 7}").start();
    let config = admin(&gateway, Request::get("/admin/v1/config"));
    assert_eq!(config["limits"]["max_inputs"], 7);
    assert_eq!(config["models"]["dir"], json!(path(registry.path())));
}
