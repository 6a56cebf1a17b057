//! What outlives the process, and registries that do not answer.

use std::fs;

use crate::support::gateway::{Gateway, Launch};
use crate::support::http;
use crate::{answering, command, registry, sign, status, version, wait_for};
use rustix::process::Signal;

fn kill(gateway: Gateway) {
    gateway.signal(Signal::KILL);
    gateway.wait(crate::SOON);
}

#[test]
fn a_hold_outlives_a_kill_and_a_push() {
    let data = tempfile::tempdir().expect("a folder");
    let registry = registry().version("sign", 2, &sign("Abs").model());
    let start = || Launch::new().models(registry.path()).data(data.path()).start();
    let gateway = start();
    assert_eq!(answering(&gateway).as_deref(), Some("2"));
    assert_eq!(command(&gateway, "models/sign/rollback").status, 200);
    assert_eq!(answering(&gateway).as_deref(), Some("1"), "at once");
    kill(gateway);
    let gateway = start();
    assert_eq!(answering(&gateway).as_deref(), Some("1"), "still held");
    // What is held is served from the cache, whatever the registry does.
    fs::remove_dir_all(registry.path().join("sign/1")).expect("removed");
    assert_eq!(command(&gateway, "registry/events").status, 202);
    kill(gateway);
    let gateway = start();
    assert_eq!(answering(&gateway).as_deref(), Some("1"));
    assert_eq!(command(&gateway, "models/sign/release").status, 200);
    wait_for("version 2", &gateway, || answering(&gateway).as_deref() == Some("2"));
}

#[test]
fn without_its_registry_a_gateway_starts_from_the_cache() {
    let data = tempfile::tempdir().expect("a folder");
    let registry = registry();
    let start = || Launch::new().models(registry.path()).data(data.path()).start();
    kill(start());
    let away = registry.path().with_extension("away");
    fs::rename(registry.path(), &away).expect("away");
    let gateway = start();
    assert_eq!(answering(&gateway).as_deref(), Some("1"));
    wait_for("stale", &gateway, || {
        http::get(gateway.ops, "/readyz").text().contains("registry_stale: models")
    });
    assert_eq!(http::get(gateway.ops, "/readyz").status, 200, "ready all the same");
    assert!(
        http::get(gateway.ops, "/metrics")
            .text()
            .contains("modelgate_registry_stale{registry=\"models\"} 1")
    );
    fs::rename(&away, registry.path()).expect("back");
    wait_for("not stale", &gateway, || {
        !http::get(gateway.ops, "/readyz").text().contains("registry_stale")
    });
}

#[test]
fn what_was_proved_is_not_probed_again_and_damage_in_the_cache_is_repaired() {
    let data = tempfile::tempdir().expect("a folder");
    let registry = registry();
    let start = || Launch::new().models(registry.path()).data(data.path()).start();
    let probes = |gateway: &Gateway| {
        crate::support::metrics::Scrape::of(gateway.ops).sum("modelgate_probe_total", &[])
    };
    let gateway = start();
    assert_eq!(probes(&gateway), 1.0);
    let digest = version(&gateway, 1)["digest"].as_str().expect("a digest").to_owned();
    kill(gateway);
    let gateway = start();
    assert_eq!(answering(&gateway).as_deref(), Some("1"));
    assert_eq!(probes(&gateway), 0.0, "its proof is in the cache");
    kill(gateway);
    let entry = data.path().join("cache").join(digest.trim_start_matches("sha256:"));
    let file = entry.join("model.onnx");
    let mut bytes = fs::read(&file).expect("the cached model");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&file, bytes).expect("damage");
    let gateway = start();
    assert_eq!(answering(&gateway).as_deref(), Some("1"));
    assert_eq!(status(&gateway, "sign")["versions"][0]["digest"], digest.as_str());
}

#[test]
fn two_gateways_do_not_share_a_data_folder() {
    let data = tempfile::tempdir().expect("a folder");
    let registry = registry();
    let _first = Launch::new().models(registry.path()).data(data.path()).start();
    let second = Launch::new().models(registry.path()).data(data.path()).run();
    assert_eq!(second.code, Some(1));
    assert!(second.stderr.contains("--data DIR"), "{}", second.stderr);
}
