//! A profile that cannot be used keeps nothing from being served.

use std::fs;

use serde_json::{Value, json};

use crate::support::gateway::Launch;
use crate::support::registry::Registry;
use crate::world::{answers, beside, model, profile, told, until_refused};

#[test]
fn what_is_wrong_is_said_once_while_the_version_serves() {
    let mut other_tensor = profile("tensor", 1);
    other_tensor["inputs"][0]["tensor"] = json!("z");
    let mut other_place = profile("place", 1);
    other_place["inputs"][1]["index"] = json!([2]);
    let mut few = profile("rows", 1);
    few["inputs"][0]["counts"] = json!([1, 998]);
    let cases: [(&str, Value, &[&str]); 5] = [
        ("form", json!({"schema": "modelgate.drift.profile/v2"}), &["(sidecar) is refused"]),
        ("rows", few, &["(sidecar) is refused", "999"]),
        ("name", profile("another", 1), &["of the model 'another'", "--name name"]),
        ("tensor", other_tensor, &["no input 'z'; it has 'x' FP32 [-1, 2]"]),
        ("place", other_place, &["index [2] is no place within a row of 'x'"]),
    ];
    let mut registry = Registry::new().model("gone", model()).model("off", model());
    for (name, content, _) in &cases {
        registry = registry.model(name, model());
        beside(registry.path(), &format!("{name}/1"), "profile.json", content);
    }
    // The next place is not asked: what was meant is the first.
    registry = registry.model("text", model());
    fs::write(registry.path().join("text/1/profile.json"), "{").expect("a file");
    fs::write(registry.path().join("text/1/MLmodel"), "").expect("a file");
    beside(registry.path(), "text/1", "drift_profile.json", &profile("text", 1));
    beside(registry.path(), "off/1", "profile.json", &json!({}));
    let missing = registry.path().join("nowhere.json");
    let yaml = format!(
        "drift: {{models: {{gone: {{profile: {}}}, off: {{enabled: false}}}}}}",
        missing.display()
    );
    let gateway = Launch::new().models(registry.path()).config(&yaml).start();
    for (name, _, parts) in &cases {
        let reason = until_refused(&gateway, name, parts[0]);
        assert!(parts.iter().all(|part| reason.contains(part)), "{reason:?} has not all {parts:?}");
        assert_eq!(answers(&gateway, name), "1");
        assert_eq!(told(&gateway, name).len(), 1, "{:?}", told(&gateway, name));
    }
    until_refused(&gateway, "text", "(sidecar) is refused");
    let reason = until_refused(&gateway, "gone", "is not there");
    assert!(reason.contains("nowhere.json") && reason.contains("SIGHUP"), "{reason}");
    for name in ["text", "gone", "off"] {
        assert_eq!(answers(&gateway, name), "1");
    }
    assert_eq!(told(&gateway, "off"), [] as [Value; 0]);
}
