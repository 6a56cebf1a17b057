//! Champions that stay, promotions, and what outlives the process.

use rustix::process::Signal;
use serde_json::json;

use crate::support::gateway::{Gateway, Launch};
use crate::{
    answering, apply, audited, champion, ok, post, push, registry, route, stage, start, variant,
    wait_for,
};

fn promote(gateway: &Gateway, what: serde_json::Value) -> crate::support::http::Reply {
    post(gateway, "routes/sign/promote", what)
}

#[test]
fn a_push_waits_for_a_promotion() {
    let registry = registry();
    let gateway = start(&registry);
    ok(apply(&gateway, "sign", json!({"onNewVersion": "hold"})));
    assert_eq!(route(&gateway, "sign")["champion"]["actor"], "gateway");
    let refused = promote(&gateway, json!({}));
    assert_eq!(refused.status, 409, "{}", refused.text());
    let registry = push(&gateway, registry, 3, "Neg", "ready");
    let held = route(&gateway, "sign");
    assert_eq!((&held["held_back"], &held["variants"][0]["version"]), (&json!(3), &json!(2)));
    assert_eq!(answering(&gateway).as_deref(), Some("2"));
    let promoted = ok(promote(&gateway, json!({})));
    assert_eq!(promoted["variants"][0]["version"], 3);
    assert_eq!(
        (&promoted["champion"]["actor"], &promoted["held_back"]),
        (&json!("ada"), &json!(null))
    );
    assert_eq!(answering(&gateway).as_deref(), Some("3"), "at once");
    let registry = push(&gateway, registry, 4, "Abs", "ready");
    assert_eq!(champion(&gateway), 3);
    // Back to what was there before; it is ready no longer, and cannot be chosen blindly.
    let refused = promote(&gateway, json!({"version": 9}));
    assert!(refused.text().contains("version 9 is not ready"), "{}", refused.text());
    let actions: Vec<String> = audited(&gateway).into_iter().map(|(_, action)| action).collect();
    assert_eq!(actions, ["route", "route", "promote"]);
    drop(registry);
}

#[test]
fn a_push_is_mirrored_to_and_changes_nothing_else() {
    let registry = registry();
    let gateway = start(&registry);
    ok(apply(&gateway, "sign", json!({"onNewVersion": "shadow"})));
    assert!(route(&gateway, "sign")["shadow"].is_null(), "nothing is newer");
    let registry = push(&gateway, registry, 3, "Neg", "ready");
    let shown = route(&gateway, "sign");
    assert_eq!(
        (&shown["shadow"]["version"], &shown["shadow"]["state"]),
        (&json!(3), &json!("ready"))
    );
    assert_eq!(champion(&gateway), 2);
    drop(registry);
}

#[test]
fn a_promoted_variant_answers_until_something_newer_does() {
    let registry = registry();
    let gateway = start(&registry);
    let spec = json!({"variants": [{"name": "b", "version": 1, "weight": 10}]});
    ok(apply(&gateway, "sign", spec));
    wait_for("version 1", &gateway, || variant(&gateway, "b")["state"] == "ready");
    let promoted = ok(promote(&gateway, json!({"variant": "b"})));
    assert_eq!(promoted["variants"][0]["version"], 1);
    assert_eq!(promoted["variants"][1]["weight"], 0, "in the same step");
    assert_eq!(promoted["revision"], 2);
    assert_eq!(answering(&gateway).as_deref(), Some("1"));
    let registry = push(&gateway, registry, 3, "NoSuchOperator", "rejected");
    assert_eq!(champion(&gateway), 1, "a broken push changes nothing");
    let registry = push(&gateway, registry, 4, "Neg", "ready");
    wait_for("the newer version", &gateway, || champion(&gateway) == 4);
    assert!(route(&gateway, "sign")["champion"].is_null());
    drop(registry);
}

#[test]
fn routes_pins_and_weights_outlive_a_kill() {
    let data = tempfile::tempdir().expect("a folder");
    let registry = registry();
    let launch = || Launch::new().models(registry.path()).data(data.path()).start();
    let gateway = launch();
    let spec = json!({
        "onNewVersion": "hold", "variants": [{"name": "b", "version": 1, "weight": 10}],
    });
    ok(apply(&gateway, "sign", spec));
    ok(post(&gateway, "routes/sign/traffic", json!({"weights": {"b": 20}})));
    wait_for("version 1", &gateway, || variant(&gateway, "b")["state"] == "ready");
    let before = route(&gateway, "sign");
    gateway.signal(Signal::KILL);
    gateway.wait(crate::SOON);
    let gateway = launch();
    wait_for("all of it", &gateway, || variant(&gateway, "b")["state"] == "ready");
    assert_eq!(route(&gateway, "sign"), before);
    assert_eq!(crate::champion(&gateway), 2);
    wait_for("its status", &gateway, || stage(&gateway, 1) == "ready");
    ok(post(&gateway, "routes/sign/delete", json!({})));
    gateway.signal(Signal::KILL);
    gateway.wait(crate::SOON);
    assert!(route(&launch(), "sign").is_null(), "a deletion as well");
}
