//! Which versions routes load, and how those go.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use std::fs;

use serde_json::json;

use crate::support::gateway::Launch;
use crate::{answering, apply, ok, post, push, registry, route, stage, start, variant, wait_for};

#[test]
fn a_named_version_is_loaded_beyond_the_policy_and_drains_with_its_route() {
    let registry = registry();
    let gateway = start(&registry);
    assert!(stage(&gateway, 1).is_null(), "the policy is the latest one");
    ok(apply(&gateway, "sign", json!({"variants": [{"name": "b", "version": 1, "weight": 10}]})));
    wait_for("version 1", &gateway, || variant(&gateway, "b")["state"] == "ready");
    wait_for("its status", &gateway, || stage(&gateway, 1) == "ready");
    assert_eq!(gateway.get("/v2/models/sign/versions/1/ready").status, 200, "it may be named");
    ok(post(&gateway, "routes/sign/delete", json!({})));
    wait_for("its end", &gateway, || stage(&gateway, 1).is_null());
    assert_eq!(gateway.get("/v2/models/sign/ready").status, 200);
}

#[test]
fn a_rejected_candidate_says_why_and_the_others_answer() {
    let registry = registry().version("sign", 3, &crate::sign("NoSuchOperator").model());
    let gateway = start(&registry);
    wait_for("the verdict", &gateway, || stage(&gateway, 3) == "rejected");
    let applied = ok(apply(
        &gateway,
        "sign",
        json!({"variants": [{"name": "b", "version": 3, "weight": 10}]}),
    ));
    assert!(applied[0]["warnings"].to_string().contains("NoSuchOperator"), "{applied}");
    let shown = variant(&gateway, "b");
    assert_eq!((&shown["state"], &shown["version"]), (&json!("rejected"), &json!(3)));
    assert!(shown["reason"].to_string().contains("NoSuchOperator"), "{shown}");
    assert!(route(&gateway, "sign")["problems"].to_string().contains("b: "));
    assert_eq!(answering(&gateway).as_deref(), Some("2"));
}

#[test]
fn what_a_route_names_outlasts_the_registry_and_a_restart() {
    let data = tempfile::tempdir().expect("a folder");
    let registry = registry();
    let launch = || Launch::new().models(registry.path()).data(data.path()).start();
    let gateway = launch();
    ok(apply(&gateway, "sign", json!({"variants": [{"name": "b", "version": 1, "weight": 10}]})));
    wait_for("version 1", &gateway, || variant(&gateway, "b")["state"] == "ready");
    fs::remove_dir_all(registry.path().join("sign/1")).expect("removed");
    gateway.terminate();
    gateway.wait(crate::SOON);
    let gateway = launch();
    wait_for("version 1 again", &gateway, || variant(&gateway, "b")["state"] == "ready");
}

#[test]
fn a_label_moves_its_variant() {
    let registry = registry().options("sign", "version_labels: {trial: 1}");
    let gateway = start(&registry);
    ok(apply(
        &gateway,
        "sign",
        json!({"variants": [{"name": "b", "version": "trial", "weight": 1}]}),
    ));
    let version = || variant(&gateway, "b")["version"].clone();
    wait_for("version 1", &gateway, || version() == 1);
    let registry = registry.options("sign", "version_labels: {trial: 3}");
    let registry = push(&gateway, registry, 3, "Neg", "ready");
    wait_for("version 3", &gateway, || version() == 3);
    wait_for("the end of version 1", &gateway, || stage(&gateway, 1).is_null());
    drop(registry);
}

#[test]
fn a_champion_that_has_to_be_loaded_first_is_waited_for() {
    let registry = registry();
    let gateway = start(&registry);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut answers = BTreeSet::new();
            while !over.load(Ordering::Relaxed) {
                answers.insert(answering(&gateway).expect("an answer, whatever changes"));
            }
            answers
        });
        // The model answered under this name, with version 2; 1 is not loaded.
        for number in [1, 2, 1] {
            let spec = json!({"variants": [{"name": "champion", "version": number}]});
            ok(apply(&gateway, "sign", spec));
            let version = number.to_string();
            wait_for("the champion", &gateway, || answering(&gateway).as_ref() == Some(&version));
        }
        over.store(true, Ordering::Relaxed);
        let answers = asking.join().expect("every request was answered");
        assert_eq!(answers, ["1".to_owned(), "2".to_owned()].into());
    });
    assert_eq!(route(&gateway, "sign")["problems"], json!([]));
}
