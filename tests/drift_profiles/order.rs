//! The first place that has a profile wins.

use std::fs;

use serde_json::json;

use crate::support::gateway::Launch;
use crate::support::registry::Registry;
use crate::world::{answers, beside, done, model, profile, told, until_watched};

/// Each model has a profile in one place more than the one before.
#[test]
fn the_nearest_to_the_operator_wins() {
    let mut registry = Registry::new();
    for name in ["config", "sidecar", "mlflow", "onnx", "none"] {
        registry = registry.model(name, model());
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let embed = |model: &str| {
        let text = profile(model, 1).to_string();
        fs::write(folder.path().join("embedded"), &text).expect("a file");
        let file = registry.path().join(model).join("1/model.onnx").display().to_string();
        done(&["profile", "embed", &file, "--profile", &path("embedded"), "--out", &file]);
        text
    };
    let onnx = embed("onnx");
    let mlflow = ["mlflow", "sidecar", "config"].map(|model| {
        embed(model);
        fs::write(registry.path().join(model).join("1/MLmodel"), "flavors: {}").expect("a file");
        let place = format!("{model}/1");
        beside(registry.path(), &place, "drift_profile.json", &profile(model, 2))
    });
    let sidecar = ["sidecar", "config"].map(|model| {
        beside(registry.path(), &format!("{model}/1"), "profile.json", &profile(model, 3))
    });
    // No folder of MLflow's: the file is one like any other.
    beside(registry.path(), "none/1", "drift_profile.json", &profile("none", 2));
    let config = profile("config", 4).to_string();
    fs::write(folder.path().join("config.json"), &config).expect("a file");
    let yaml = format!("drift: {{models: {{config: {{profile: {}}}}}}}", path("config.json"));

    let gateway = Launch::new().models(registry.path()).config(&yaml).start();
    until_watched(&gateway, "config", "1", "config", &config);
    until_watched(&gateway, "sidecar", "1", "sidecar", &sidecar[0]);
    until_watched(&gateway, "mlflow", "1", "mlflow", &mlflow[0]);
    until_watched(&gateway, "onnx", "1", "onnx", &onnx);
    for name in ["config", "sidecar", "mlflow", "onnx", "none"] {
        assert_eq!(answers(&gateway, name), "1");
    }
    assert!(told(&gateway, "none").is_empty(), "{:?}", told(&gateway, "none"));
}

/// A version brings its own profile along, and a profile alone is a new content
/// of its version.
#[test]
fn profiles_come_and_go_with_their_versions() {
    let registry = Registry::new().model("m", model());
    let first = beside(registry.path(), "m/1", "profile.json", &profile("m", 1));
    let gateway = Launch::new().models(registry.path()).start();
    until_watched(&gateway, "m", "1", "sidecar", &first);

    let second = profile("m", 2);
    let aside = tempfile::tempdir().expect("a folder");
    let path = |name: &str| aside.path().join(name).display().to_string();
    fs::write(aside.path().join("model.onnx"), model().model()).expect("a model");
    fs::write(aside.path().join("p.json"), second.to_string()).expect("a profile");
    let to = registry.path().display().to_string();
    done(&["push", &path("model.onnx"), "m", "--to", &to, "--profile", &path("p.json")]);
    until_watched(&gateway, "m", "2", "sidecar", &second.to_string());

    // A model that was made for another file is of use all the same; the log says so.
    let mut third = profile("m", 3);
    third["model_sha256"] = json!(format!("sha256:{}", "0".repeat(64)));
    fs::remove_file(registry.path().join("m/2/manifest.json")).expect("removed");
    let text = beside(registry.path(), "m/2", "profile.json", &third);
    until_watched(&gateway, "m", "2", "sidecar", &text);
    gateway.wait_for_log(|line| {
        let message = line["message"].as_str().unwrap_or_default();
        line["version"] == "2" && message.contains("built with another model file")
    });
    assert_eq!(answers(&gateway, "m"), "2");
}
