//! Reloading the configuration.

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use crate::support::gateway::{Gateway, Launch};
use crate::support::http::Request;
use crate::{answering, registry, sign, stage, version, wait_for};

fn start(file: &Path, config: &str) -> Gateway {
    fs::write(file, config).expect("a configuration");
    Launch::new().args(&["--config", file.to_str().expect("UTF-8")]).start()
}

fn shown(gateway: &Gateway) -> serde_json::Value {
    Request::get("/admin/v1/config").header("host", "localhost").send(gateway.admin).json()
}

#[test]
fn a_changed_file_is_put_into_force_or_refused_whole() {
    let registry = registry().version("sign", 2, &sign("Abs").model());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("gateway.yaml");
    let config = |versions: &str, rows: &str| {
        let dir = registry.path().display();
        format!(
            "models:\n  dir: {dir}\n  defaults: {{versions: {versions}, max_batch_rows: {rows}}}\n"
        )
    };
    let gateway = start(&file, &config("{latest: 1}", "64"));
    assert_eq!(answering(&gateway).as_deref(), Some("2"));
    assert!(version(&gateway, 1).is_null());

    fs::write(&file, config("all", "64")).expect("a change");
    wait_for("version 1 beside it", &gateway, || stage(&gateway, 1) == "ready");

    fs::write(&file, config("{specific: [1]}", "none")).expect("a mistake");
    gateway.wait_for_log(|line| {
        line["message"].as_str().is_some_and(|message| message.contains("is refused"))
    });
    assert_eq!(answering(&gateway).as_deref(), Some("2"));
    assert_eq!(shown(&gateway)["models"]["defaults"]["versions"], "all");

    fs::write(&file, config("{specific: [1]}", "64")).expect("a change");
    gateway.signal(Signal::HUP);
    wait_for("version 1 alone", &gateway, || answering(&gateway).as_deref() == Some("1"));

    // Options that loading depends on: the same version anew, without a gap.
    fs::write(&file, config("{specific: [1]}", "16")).expect("a change");
    let loads = |gateway: &Gateway| {
        let ready = |line: &serde_json::Value| line["message"] == "model ready";
        gateway.logged().into_iter().filter(ready).count()
    };
    let before = loads(&gateway);
    wait_for("a new load", &gateway, || {
        assert_eq!(answering(&gateway).as_deref(), Some("1"));
        loads(&gateway) > before
    });
}
