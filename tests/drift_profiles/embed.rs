//! `modelgate profile embed`.

use std::fs;

use modelgate::control::graph_digest;
use serde_json::json;

use crate::world::{done, model, modelgate, profile};

struct World(tempfile::TempDir);

impl World {
    fn new() -> World {
        let world = World(tempfile::tempdir().expect("a folder"));
        world.write("m.onnx", &model().model());
        world
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).expect("a file");
    }

    fn embed(&self, model: &str, out: &str) -> std::process::Output {
        let (model, profile, out) = (self.path(model), self.path("p.json"), self.path(out));
        modelgate(&["profile", "embed", &model, "--profile", &profile, "--out", &out])
    }
}

#[test]
fn a_profile_in_the_file_changes_nothing_else_about_it() {
    let world = World::new();
    let digest = |name: &str| graph_digest(world.path(name).as_ref()).expect("sound");
    let mut text = profile("m", 1);
    text["model_sha256"] = json!(digest("m.onnx").to_string());
    world.write("p.json", serde_json::to_string_pretty(&text).expect("JSON").as_bytes());
    let output = world.embed("m.onnx", "with.onnx");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("another model file"), "{said}");
    let (plain, with) = (fs::read(world.path("m.onnx")), fs::read(world.path("with.onnx")));
    let (plain, with) = (plain.expect("a file"), with.expect("a file"));
    assert!(with.starts_with(&plain) && with.len() > plain.len());
    assert_eq!(digest("with.onnx"), digest("m.onnx"));

    // Another takes its place; the model itself may be written over.
    text["inputs"][0]["counts"] = json!([7, 1000]);
    text["model_sha256"] = json!(format!("sha256:{}", "0".repeat(64)));
    world.write("p.json", text.to_string().as_bytes());
    let output = world.embed("with.onnx", "with.onnx");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("built with another model file"), "{said}");
    assert_eq!(digest("with.onnx"), digest("m.onnx"));
    let with = fs::read(world.path("with.onnx")).expect("a file");
    let key = b"modelgate.drift.profile.v1";
    assert_eq!(with.windows(key.len()).filter(|window| window == key).count(), 1);

    // What reads models goes on reading it, and so does `profile check`.
    done(&["profile", "check", &world.path("p.json"), "--model", &world.path("with.onnx")]);
}

#[test]
fn what_cannot_be_embedded_leaves_no_file() {
    let world = World::new();
    world.write("p.json", b"{}");
    assert_eq!(world.embed("m.onnx", "out.onnx").status.code(), Some(3));
    world.write("p.json", profile("m", 1).to_string().as_bytes());
    world.write("cut.onnx", &model().model()[..40]);
    let output = world.embed("cut.onnx", "out.onnx");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains("cut.onnx"), "{said}");
    assert_eq!(world.embed("none.onnx", "out.onnx").status.code(), Some(6));
    assert_eq!(world.embed("m.onnx", "no/out.onnx").status.code(), Some(1));
    let mut left: Vec<_> = fs::read_dir(world.0.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    left.sort();
    assert_eq!(left, ["cut.onnx", "m.onnx", "p.json"]);
}
