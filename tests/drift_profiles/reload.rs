//! What a reload of the configuration does to profiles.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::gateway::{Gateway, Launch};
use crate::support::registry::Registry;
use crate::world::{answers, beside, model, profile, told, until_refused, until_watched, wait_for};

fn loads(gateway: &Gateway) -> usize {
    let is_load = |line: &Value| line["message"] == "model ready";
    gateway.logged().iter().filter(|line| is_load(line)).count()
}

fn write(path: &Path, content: &Value) -> String {
    let text = content.to_string();
    fs::write(path, &text).expect("a file");
    text
}

#[test]
fn ready_versions_get_other_profiles_without_a_load() {
    let registry = Registry::new().model("m", model()).model("still", model());
    let own = beside(registry.path(), "m/1", "profile.json", &profile("m", 1));
    beside(registry.path(), "still/1", "profile.json", &profile("still", 1));
    let (folder, profiles) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (file, one) = (folder.path().join("gateway.yaml"), profiles.path().join("one.json"));
    let config = |models: &str| {
        let dir = registry.path().display();
        fs::write(&file, format!("models: {{dir: {dir}}}\ndrift: {{models: {{{models}}}}}\n"))
            .expect("a configuration");
    };
    config("");
    let gateway = Launch::new().args(&["--config", file.to_str().expect("UTF-8")]).start();
    until_watched(&gateway, "m", "1", "sidecar", &own);

    let text = write(&one, &profile("m", 2));
    config(&format!("m: {{profile: {}}}", one.display()));
    until_watched(&gateway, "m", "1", "config", &text);

    // The file alone: SIGHUP reads it.
    let text = write(&one, &profile("m", 3));
    gateway.signal(Signal::HUP);
    until_watched(&gateway, "m", "1", "config", &text);

    write(&one, &profile("another", 3));
    gateway.signal(Signal::HUP);
    until_refused(&gateway, "m", "of the model 'another'");
    let before = told(&gateway, "m").len();

    // Not watched at all, and then by its own profile again.
    config("m: {enabled: false}");
    wait_for("the configuration in force", || {
        let in_force = |line: &&Value| line["message"] == "the new configuration is in force";
        gateway.logged().iter().filter(in_force).count() == 2
    });
    config("");
    wait_for("its own again", || told(&gateway, "m").len() == before + 1);
    assert_eq!(told(&gateway, "m").last().expect("a line")["source"], "sidecar");
    assert_eq!(told(&gateway, "still").len(), 1, "what is the same stays");
    assert_eq!(loads(&gateway), 2, "nothing was loaded anew");
    assert_eq!((answers(&gateway, "m"), answers(&gateway, "still")), ("1".into(), "1".into()));
}
