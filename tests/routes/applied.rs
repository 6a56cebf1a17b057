//! What is taken, and what is refused.

use serde_json::json;

use crate::support::gateway::Launch;
use crate::{
    apply, audited, document, get, ok, post, registry, route, sign, start, variant, wait_for,
};

#[test]
fn what_cannot_work_is_refused_with_the_key_and_changes_nothing() {
    let registry = registry()
        .model("other", sign("Neg"))
        .version("sign", 3, &sign("NoSuchOperator").model())
        .options("sign", "version_labels: {stable: 1, gone: 9}");
    let gateway = start(&registry);
    for (name, spec, path, message) in [
        ("r", json!({"model": "nothing"}), "spec.model", "no model 'nothing'"),
        ("r", json!({}), "metadata.name", "no model 'r'"),
        ("other", json!({"model": "sign"}), "metadata.name", "a model is called 'other' too"),
        (
            "sign",
            json!({"variants": [{"name": "b", "version": 7}]}),
            "spec.variants.0.version",
            "no version 7; the registries have 3, 2, 1",
        ),
        (
            "sign",
            json!({"variants": [{"name": "b", "version": "sable"}]}),
            "spec.variants.0.version",
            "no label 'sable'; it has gone, stable",
        ),
        (
            "sign",
            json!({"variants": [{"name": "b", "version": "gone"}]}),
            "spec.variants.0.version",
            "stands for version 9",
        ),
        ("sign", json!({"shadow": {"version": 7}}), "spec.shadow.version", "no version 7"),
        (
            "sign",
            json!({"variants": [{"name": "b", "weight": 60, "maxWeight": 50}]}),
            "spec.variants.0.weight",
            "maxWeight",
        ),
    ] {
        let good = document("good", json!({"model": "sign"}));
        let routes = json!({"routes": [good, document(name, spec)]});
        let reply = post(&gateway, "routes", routes);
        assert_eq!(reply.status, 400, "{}", reply.text());
        assert_eq!(reply.json()["path"], path, "{}", reply.text());
        assert!(reply.text().contains(message), "{}", reply.text());
        assert_eq!(get(&gateway, "routes"), json!([]), "all or none");
    }
}

#[test]
fn a_dry_run_tells_what_applying_then_does() {
    let registry = registry();
    let gateway = start(&registry);
    let spec = json!({
        "variants": [{"name": "b", "version": 1, "weight": 10, "maxWeight": 50}],
        "stickiness": {"key": [{"header": "x-user"}]},
    });
    let documents = json!([document("sign", spec.clone())]);
    let dry = json!({"routes": documents, "dry_run": true});
    let told = ok(post(&gateway, "routes", dry));
    assert_eq!(get(&gateway, "routes"), json!([]));
    assert_eq!((&told[0]["outcome"], &told[0]["moved_units"]), (&json!("created"), &json!(10.0)));
    let warnings = told[0]["warnings"].to_string();
    assert!(warnings.contains("version 1 is not loaded"), "{warnings}");
    assert_eq!(ok(apply(&gateway, "sign", spec.clone())), told);
    let again = ok(apply(&gateway, "sign", spec));
    assert_eq!((&again[0]["outcome"], &again[0]["revision"]), (&json!("unchanged"), &json!(1)));
    wait_for("version 1", &gateway, || variant(&gateway, "b")["state"] == "ready");
    let shown = variant(&gateway, "b");
    assert_eq!((&shown["slots"], &shown["weight"]), (&json!([0, 10_000]), &json!(10)));

    let deleted = ok(post(&gateway, "routes/sign/delete", json!({})));
    assert_eq!((&deleted["outcome"], &deleted["moved_units"]), (&json!("deleted"), &json!(10.0)));
    assert_eq!(post(&gateway, "routes/sign/delete", json!({})).status, 404);
    let by_ada = |action: &str| ("ada".to_owned(), action.to_owned());
    assert_eq!(audited(&gateway), [by_ada("route"), by_ada("route_delete")]);
}

#[test]
fn weights_by_hand_hold_until_the_document_says_otherwise() {
    let registry = registry();
    let gateway = start(&registry);
    let spec = |weight: u32| {
        json!({"variants": [
            {"name": "b", "version": 1, "weight": weight, "maxWeight": 50},
            {"name": "c", "version": 2, "weight": 1, "maxWeight": 10},
        ]})
    };
    ok(apply(&gateway, "sign", spec(10)));
    let set = |weights| post(&gateway, "routes/sign/traffic", json!({"weights": weights}));
    let changed = ok(set(json!({"b": 25})));
    assert_eq!(changed["variants"][0]["weight"], 74);
    assert_eq!(changed["variants"][1]["weight"], 25);
    assert_eq!(changed["variants"][1]["declared_weight"], 10);
    assert_eq!(changed["traffic"]["actor"], "ada");
    let changed = ok(set(json!({"c": 5, "champion": 70})));
    assert_eq!(changed["variants"][1]["weight"], 25, "it stays as it was set");
    for (weights, path) in [
        (json!({"b": 51}), "weights.b"),
        (json!({"nobody": 1}), "weights.nobody"),
        (json!({"b": 20, "champion": 70}), "weights.champion"),
    ] {
        let reply = set(weights);
        assert_eq!(reply.status, 400, "{}", reply.text());
        assert_eq!(reply.json()["path"], path, "{}", reply.text());
    }
    assert_eq!(route(&gateway, "sign")["revision"], 3, "what is refused changes nothing");
    let changed = ok(set(json!({})));
    assert_eq!(changed["variants"][1]["weight"], 10);
    assert!(changed["traffic"].is_null());
    ok(set(json!({"b": 0})));
    let applied = ok(apply(&gateway, "sign", spec(20)));
    assert!(applied[0]["warnings"].to_string().contains("ada set by hand"), "{applied}");
    assert_eq!(variant(&gateway, "b")["weight"], 20);
    assert_eq!(post(&gateway, "routes/none/traffic", json!({"weights": {"b": 1}})).status, 404);
}

#[test]
fn a_route_that_a_file_states_is_changed_there() {
    let registry = registry();
    let stated = "routes:\n- apiVersion: modelgate.dev/v1\n  kind: Route\n  metadata: {name: sign}\n  \
                  spec: {variants: [{name: b, version: 1, weight: 10}]}";
    let data = tempfile::tempdir().expect("a folder");
    let launch = || Launch::new().models(registry.path()).config(stated).data(data.path());
    let gateway = launch().start();
    assert_eq!(route(&gateway, "sign")["origin"], "config");
    for reply in
        [apply(&gateway, "sign", json!({})), post(&gateway, "routes/sign/delete", json!({}))]
    {
        assert_eq!(reply.status, 409, "{}", reply.text());
        assert!(reply.text().contains("is stated by config"), "{}", reply.text());
    }
    ok(post(&gateway, "routes/sign/traffic", json!({"weights": {"b": 30}})));
    gateway.terminate();
    gateway.wait(crate::SOON);
    let gateway = launch().start();
    assert_eq!(variant(&gateway, "b")["weight"], 30, "by hand, and after a restart");
}
