//! New versions, new contents, broken ones, and what leaves the registry.

use std::fs;
use std::path::Path;

use crate::support::gateway::Launch;
use crate::support::metrics::Scrape;
use crate::support::registry::Registry;
use crate::support::zoo;
use crate::{answering, ask, registry, sign, stage, status, version, wait_for};
use modelgate::types::DType;

/// Brings a version in as tools do: whole, by a rename.
fn push(registry: &Registry, number: u64, bytes: &[u8]) {
    let model = registry.path().join("sign");
    let staged = model.join(".staged");
    fs::create_dir_all(&staged).expect("a folder");
    fs::write(staged.join("model.onnx"), bytes).expect("a file");
    fs::rename(&staged, model.join(number.to_string())).expect("a rename");
}

fn remove(path: &Path) {
    fs::remove_dir_all(path).expect("removed");
}

#[test]
fn a_push_takes_over_and_what_served_before_is_kept() {
    let registry = registry();
    let gateway = Launch::new().models(registry.path()).start();
    assert_eq!(ask(&gateway), Some(("1".to_owned(), 3.0)));
    push(&registry, 2, &sign("Abs").model());
    wait_for("version 2", &gateway, || answering(&gateway).as_deref() == Some("2"));
    wait_for("version 1 is kept", &gateway, || version(&gateway, 1)["kept"] == true);
    push(&registry, 3, &sign("Floor").model());
    wait_for("version 3", &gateway, || answering(&gateway).as_deref() == Some("3"));
    wait_for("version 1 goes", &gateway, || version(&gateway, 1).is_null());
    wait_for("its status", &gateway, || stage(&gateway, 2) == "ready");
    assert_eq!(status(&gateway, "sign")["unloaded"], serde_json::json!([1]));
    let scrape = Scrape::of(gateway.ops);
    let swaps = |outcome| scrape.sum("modelgate_swaps_total", &[("outcome", outcome)]);
    assert_eq!((swaps("first"), swaps("swapped"), swaps("rejected")), (1.0, 2.0, 0.0));
    assert_eq!(scrape.sum("modelgate_swap_duration_seconds_count", &[]), 3.0);
    assert_eq!(scrape.sum("modelgate_probe_total", &[("outcome", "ok")]), 3.0);
}

#[test]
fn a_version_may_be_written_anew_in_place() {
    let registry = registry();
    let gateway = Launch::new().models(registry.path()).start();
    let before = version(&gateway, 1)["digest"].clone();
    remove(&registry.path().join("sign/1"));
    push(&registry, 1, &sign("Floor").model());
    wait_for("the new content", &gateway, || ask(&gateway) == Some(("1".to_owned(), -3.0)));
    assert_ne!(version(&gateway, 1)["digest"], before);
    // Something broken under the same number changes nothing.
    remove(&registry.path().join("sign/1"));
    push(&registry, 1, &sign("NoSuchOperator").model());
    wait_for("a verdict", &gateway, || {
        let status = status(&gateway, "sign");
        status["versions"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["stage"] == "rejected"))
    });
    assert_eq!(ask(&gateway), Some(("1".to_owned(), -3.0)));
}

#[test]
fn versions_that_break_their_callers_are_refused_unless_allowed() {
    let registry = registry();
    let gateway = Launch::new().models(registry.path()).start();
    push(&registry, 2, &zoo::unary("Abs", DType::Fp64, &["n"]).model());
    wait_for("a verdict", &gateway, || stage(&gateway, 2) == "rejected");
    assert_eq!(version(&gateway, 2)["rejected"], "incompatible");
    assert_eq!(answering(&gateway).as_deref(), Some("1"));
    // Nor does a hold let one in by the back door.
    assert_eq!(crate::command(&gateway, "models/sign/rollback").status, 409, "nothing before it");
    push(&registry, 3, &sign("Abs").model());
    wait_for("version 3", &gateway, || answering(&gateway).as_deref() == Some("3"));
    assert_eq!(crate::command(&gateway, "models/sign/rollback").status, 200);
    push(&registry, 4, &zoo::unary("Abs", DType::Fp64, &["n"]).model());
    wait_for("a verdict", &gateway, || stage(&gateway, 4) == "rejected");
    assert_eq!(crate::command(&gateway, "models/sign/release").status, 200);
    wait_for("version 3 again", &gateway, || answering(&gateway).as_deref() == Some("3"));
    let registry = registry.options("sign", "signature: any");
    let status = || crate::command(&gateway, "registry/events").status;
    assert_eq!(status(), 202);
    wait_for("version 4", &gateway, || status_default(&gateway) == 4);
    drop(registry);
}

fn status_default(gateway: &crate::support::gateway::Gateway) -> u64 {
    status(gateway, "sign")["default"].as_u64().unwrap_or_default()
}

#[test]
fn what_leaves_the_registry_is_retired_but_an_empty_registry_retires_nothing() {
    let registry = registry().version("sign", 2, &sign("Abs").model()).model("other", sign("Abs"));
    let gateway = Launch::new().models(registry.path()).start();
    assert_eq!(answering(&gateway).as_deref(), Some("2"));
    remove(&registry.path().join("sign/2"));
    wait_for("version 1 steps in", &gateway, || answering(&gateway).as_deref() == Some("1"));
    wait_for("version 2 goes", &gateway, || version(&gateway, 2).is_null());
    remove(&registry.path().join("sign"));
    wait_for("the model goes", &gateway, || status(&gateway, "sign").is_null());
    assert_eq!(answering(&gateway), None);
    remove(&registry.path().join("other"));
    let other = || status(&gateway, "other")["default"] == 1;
    let registries = || {
        let request = crate::http::Request::get("/admin/v1/models").header("host", "localhost");
        request.send(gateway.admin).json()["registries"][0].clone()
    };
    wait_for("the registry is seen to be empty", &gateway, || registries()["stale"] == true);
    assert!(other(), "it goes on: {}", registries());
}

#[test]
fn golden_answers_have_to_come() {
    let registry = registry();
    let gateway = Launch::new().models(registry.path()).start();
    let folder = registry.path().join("sign/.staged");
    let golden = |expected: f32| {
        fs::create_dir_all(&folder).expect("a folder");
        let tensor = |name: &str, value: f32| serde_json::json!([{"name": name, "datatype": "FP32", "shape": [1], "data": [value]}]);
        let golden =
            serde_json::json!({"inputs": tensor("x", -2.0), "outputs": tensor("y", expected)});
        fs::write(folder.join("golden.json"), golden.to_string()).expect("a file");
    };
    golden(-2.0);
    push(&registry, 2, &sign("Abs").model());
    wait_for("a verdict", &gateway, || stage(&gateway, 2) == "rejected");
    assert_eq!(version(&gateway, 2)["rejected"], "golden_mismatch");
    golden(2.0);
    push(&registry, 3, &sign("Abs").model());
    wait_for("version 3", &gateway, || answering(&gateway).as_deref() == Some("3"));
    assert_eq!(version(&gateway, 3)["probe"]["golden_cases"], 1);
}
