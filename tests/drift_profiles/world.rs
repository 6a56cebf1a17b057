//! A model, its profiles, and what a gateway says about them.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use modelgate::types::DType;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::gateway::Gateway;
use crate::support::onnx_builder::Graph;
use crate::support::predict::{Face, Predict, tensor};
use crate::support::zoo::{self, floats};

/// Far beyond what anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// `x` of two columns, which come out again as `y`.
pub fn model() -> Graph {
    zoo::unary("Identity", DType::Fp32, &["rows", "2"])
}

/// A profile of both columns; `first` makes one differ from another.
pub fn profile(model: &str, first: u64) -> Value {
    let column = |name: &str, index: u64, counts: [u64; 2]| {
        json!({
            "name": name, "tensor": "x", "index": [index], "kind": "values",
            "values": [0.0, 1.0], "counts": counts,
        })
    };
    json!({
        "schema": "modelgate.drift.profile/v1", "model": model,
        "inputs": [column("a", 0, [first, 1000]), column("b", 1, [1000, 1000])],
    })
}

/// As metrics name a profile that is found as this text.
pub fn id(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a file beside the model of a version, and gives its text.
pub fn beside(registry: &Path, version: &str, name: &str, content: &Value) -> String {
    let text = content.to_string();
    std::fs::write(registry.join(version).join(name), &text).expect("a file");
    text
}

/// Lines about the profiles of a model so far.
pub fn told(gateway: &Gateway, model: &str) -> Vec<Value> {
    let lines = gateway.logged().into_iter();
    lines.filter(|line| is_told(line) && line["model"] == model).collect()
}

fn is_told(line: &Value) -> bool {
    line["message"].as_str().is_some_and(|message| message.starts_with("drift is"))
}

/// Waits until a version is compared with a profile.
#[track_caller]
pub fn until_watched(gateway: &Gateway, model: &str, version: &str, source: &str, text: &str) {
    let expected = [model, version, source, &id(text)];
    gateway.wait_for_log(|line| {
        line["message"] == "drift is watched"
            && [&line["model"], &line["version"], &line["source"], &line["profile"]]
                .into_iter()
                .zip(expected)
                .all(|(found, expected)| found.as_str() == Some(expected))
    });
}

/// Waits until it was said why a model has no profile, and gives that.
#[track_caller]
pub fn until_refused(gateway: &Gateway, model: &str, part: &str) -> String {
    let line = gateway.wait_for_log(|line| {
        let reason = line["reason"].as_str().unwrap_or_default();
        line["message"] == "drift is not watched" && line["model"] == model && reason.contains(part)
    });
    assert_eq!(line["level"], "WARN", "{line}");
    line["reason"].as_str().expect("a reason").to_owned()
}

/// The version that answers.
#[track_caller]
pub fn answers(gateway: &Gateway, model: &str) -> String {
    let input = tensor("x", DType::Fp32, &[1, 2], floats(&[0.0, 1.0]));
    let answer = Predict::of(model, [input]).ask(gateway, Face::Json).expect("an answer");
    assert_eq!(answer.outputs[0].data, floats(&[0.0, 1.0]));
    answer.version
}

#[track_caller]
pub fn wait_for(what: &str, mut reached: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !reached() {
        assert!(Instant::now() < until, "never came: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs the program to its end.
pub fn modelgate(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_modelgate"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("MODELGATE_") && text != "MODELGATE_ONNXRUNTIME" {
            command.env_remove(name);
        }
    }
    command.args(arguments).output().expect("the built program runs")
}

#[track_caller]
pub fn done(arguments: &[&str]) {
    let output = modelgate(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
