//! A push to an S3 server, served.

use std::process::Command;
use std::time::Instant;

use serde_json::json;

use crate::support::gateway::Launch;
use crate::support::moto;
use crate::{answering, command, sign, stage, wait_for};

#[test]
fn a_push_to_a_bucket_is_served_after_a_poke() {
    let bucket = moto::server().bucket();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("gateway.yaml");
    let config = format!(
        "registries:\n  store:\n    s3:\n      bucket: {}\n      prefix: {}\n      region: us-east-1\n      \
         endpoint: {}\n      allow_http: true\n      access_key_id: test\n      \
         secret_access_key: hush-hush\n      poll_ms: 3600000\n",
        bucket.bucket,
        bucket.prefix,
        bucket.endpoint.as_deref().expect("an address"),
    );
    std::fs::write(&file, config).expect("a configuration");
    let profile = folder.path().join("p.json");
    let column = json!({
        "name": "x", "tensor": "x", "kind": "values", "values": [1.0], "counts": [1000],
    });
    let schema = "modelgate.drift.profile/v1";
    let text = json!({"schema": schema, "model": "sign", "inputs": [column]}).to_string();
    std::fs::write(&profile, text).expect("a profile");
    let push = |op: &str| {
        let model = folder.path().join("model.onnx");
        std::fs::write(&model, sign(op).model()).expect("a model");
        let output = Command::new(env!("CARGO_BIN_EXE_modelgate"))
            .args(["push", model.to_str().expect("UTF-8"), "sign", "--config"])
            .arg(&file)
            .arg("--profile")
            .arg(&profile)
            .output()
            .expect("the built program runs");
        assert!(output.status.success(), "{output:?}");
    };
    push("Neg");
    let gateway = Launch::new().args(&["--config", file.to_str().expect("UTF-8")]).start();
    assert_eq!(answering(&gateway).as_deref(), Some("1"));
    push("Abs");
    let poked = Instant::now();
    assert_eq!(command(&gateway, "registry/events").status, 202);
    wait_for("version 2", &gateway, || answering(&gateway).as_deref() == Some("2"));
    eprintln!("served {:?} after the poke", poked.elapsed());
    wait_for("its status", &gateway, || stage(&gateway, 2) == "ready");
    // Its profile came along.
    gateway.wait_for_log(|line| {
        line["message"] == "drift is watched"
            && line["version"] == "2"
            && line["source"] == "sidecar"
    });
    let shown = crate::http::Request::get("/admin/v1/config").header("host", "localhost");
    assert!(!shown.send(gateway.admin).text().contains("hush-hush"));
    assert!(gateway.logged().iter().all(|line| !line.to_string().contains("hush-hush")));
}
