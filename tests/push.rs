//! `modelgate push`, as its users run it.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use modelgate::registry::{self, DirSource, Manifest, Package, Progress, Source, Target};
use modelgate::types::{RejectKind, Stage};
use serde_json::{Value, json};
use tempfile::TempDir;

use support::versions::{block_on, find, model, name, write};

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn push(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_modelgate"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MODELGATE_") {
            command.env_remove(name);
        }
    }
    command.arg("push").args(arguments).output().expect("the built program")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn pushed(arguments: &[&str]) -> Value {
    let output = push(&[arguments, &["-o", "json"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[track_caller]
fn refused(arguments: &[&str], code: i32, part: &str) {
    let output = push(arguments);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(part), "{said:?} should contain {part:?}");
}

/// A folder with a whole version, and its path.
fn package() -> (TempDir, String) {
    let files = folder();
    write(files.path(), "model.onnx", model(1, 10_000));
    write(files.path(), "weights.bin", "weights");
    write(files.path(), "README.md", "# A model");
    write(files.path(), "model.yaml", "lanes: 1");
    write(files.path(), ".git/config", "x");
    let path = files.path().display().to_string();
    (files, path)
}

/// A profile of the input of [`model`].
fn profile(model: &str) -> Value {
    json!({
        "schema": "modelgate.drift.profile/v1", "model": model,
        "inputs": [{
            "name": "x", "tensor": "x", "kind": "values", "values": [0.0, 1.0],
            "counts": [1000, 1000],
        }],
    })
}

fn source(root: &Path) -> DirSource {
    // Versions with a manifest are whole at once.
    DirSource::new("test", root, Duration::from_secs(1), Duration::from_secs(3600))
}

#[test]
fn a_folder_becomes_the_next_version_with_its_manifest() {
    let (registry, (_files, path)) = (folder(), package());
    let to = registry.path().display().to_string();
    let more = folder();
    let case = r#"[{"name": "NAME", "datatype": "FP32", "shape": [1], "data": [VALUE]}]"#;
    let case = |name: &str, value: &str| case.replace("NAME", name).replace("VALUE", value);
    let golden = format!(r#"{{"inputs": {}, "outputs": {}}}"#, case("x", "1"), case("y", "-1"));
    write(more.path(), "golden", golden);
    write(more.path(), "profile", profile("iris").to_string());
    let golden = more.path().join("golden").display().to_string();
    let profile = more.path().join("profile").display().to_string();
    write(registry.path(), "iris/7/model.onnx", model(9, 10));
    let report = pushed(&[
        &path,
        "iris",
        "--to",
        &to,
        "--golden",
        &golden,
        "--profile",
        &profile,
        "--git-revision",
        "abc",
        "--training-data",
        "s3://data/1",
        "--metric",
        "accuracy=0.5",
        "--tag",
        "team=x",
    ]);
    assert_eq!(report["version"], 8);
    assert_eq!(report["files"], 5);
    let listing = block_on(source(registry.path()).list()).expect("a listing");
    let listed = find(&listing, "iris", 8).expect("a reader finds it");
    assert_eq!(report["digest"], listed.digest.to_string());
    assert_eq!(report["bytes"], listed.bytes());
    let names: Vec<&str> = listed.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["README.md", "golden.json", "model.onnx", "profile.json", "weights.bin"]);
    let manifest = fs::read(registry.path().join("iris/8/manifest.json")).expect("a manifest");
    let provenance = Manifest::parse(&manifest).expect("valid").provenance;
    assert_eq!(provenance.git_revision.as_deref(), Some("abc"));
    assert_eq!(provenance.training_data.as_deref(), Some("s3://data/1"));
    assert_eq!(provenance.metrics["accuracy"], 0.5);
    assert_eq!(provenance.tags["team"], "x");
    assert!(provenance.created_at.is_some());
    let left = fs::read_dir(registry.path().join("iris")).expect("a folder").count();
    assert_eq!(left, 2, "nothing is left but versions");
}

#[test]
fn a_single_file_becomes_the_model_file() {
    let (registry, files) = (folder(), folder());
    write(files.path(), "anything.onnx", model(1, 100));
    write(files.path(), "other.txt", "not pushed");
    let file = files.path().join("anything.onnx").display().to_string();
    let to = registry.path().display().to_string();
    let report = pushed(&[&file, "iris", "--models", &to]);
    assert_eq!((&report["version"], &report["files"]), (&json!(1), &json!(1)));
    assert!(registry.path().join("iris/1/model.onnx").is_file());
    // The folder of one .onnx file will do too.
    let files = files.path().display().to_string();
    let report = pushed(&[&files, "iris", "--models", &to]);
    assert_eq!((&report["version"], &report["files"]), (&json!(2), &json!(2)));
}

#[test]
fn the_git_revision_is_that_of_the_checkout() {
    let (registry, files) = (folder(), folder());
    write(files.path(), "model.onnx", model(1, 100));
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"];
        let mut command = Command::new("git");
        let output = command.arg("-C").arg(files.path()).args(identity).args(arguments).output();
        let output = output.expect("git");
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).trim().to_owned()
    };
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "x"]);
    let head = git(&["rev-parse", "HEAD"]);
    let (path, to) = (files.path().display().to_string(), registry.path().display().to_string());
    let revision = |version: u64| {
        let file = registry.path().join(format!("iris/{version}/manifest.json"));
        let manifest = fs::read(file).expect("a manifest");
        Manifest::parse(&manifest).expect("valid").provenance.git_revision
    };
    pushed(&[&path, "iris", "--models", &to]);
    assert_eq!(revision(1), Some(head.clone()));
    write(files.path(), "new", "x");
    pushed(&[&path, "iris", "--models", &to]);
    assert_eq!(revision(2), Some(format!("{head}-dirty")));
}

#[test]
fn versions_are_never_overwritten() {
    let (registry, (_files, path)) = (folder(), package());
    let to = registry.path().display().to_string();
    pushed(&[&path, "iris", "--to", &to, "--version", "5"]);
    refused(&[&path, "iris", "--to", &to, "--version", "5"], 1, "version 5 is there already");
    write(registry.path(), "flat/model.onnx", model(9, 10));
    assert_eq!(pushed(&[&path, "flat", "--to", &to])["version"], 2);
    let left = fs::read_dir(registry.path().join("iris")).expect("a folder").count();
    assert_eq!(left, 1, "nothing is left of the refused push");
}

#[test]
fn what_is_no_version_is_refused_before_anything_is_written() {
    let (registry, files) = (folder(), folder());
    let to = registry.path().display().to_string();
    let path = files.path().display().to_string();
    let to_it = |path: &str, code, part: &str| refused(&[path, "iris", "--to", &to], code, part);
    to_it(&path, 1, "has no model.onnx");
    write(files.path(), "model.onnx", &model(1, 100)[..50]);
    to_it(&path, 1, "the model file is");
    write(files.path(), "model.onnx", model(1, 100));
    write(files.path(), "load.py", "import os");
    to_it(&path, 1, "'load.py' may be executed");
    fs::remove_file(files.path().join("load.py")).expect("removed");
    write(files.path(), "weights.bin", b"\x7fELF\x02");
    to_it(&path, 1, "'weights.bin' is a program");
    to_it("/no/such/file", 1, "/no/such/file");
    for name in ["../x", ".x", "a/b", "", "ü"] {
        refused(&[&path, name, "--to", &to], 2, "is not a model name");
    }
    for version in ["0", "-1", "v1", "01x"] {
        let version = format!("--version={version}");
        refused(&[&path, "iris", "--to", &to, &version], 2, "is not a version");
    }
    assert_eq!(fs::read_dir(registry.path()).expect("a folder").count(), 0);
}

/// Wherever the gateway would find it, it has to be one that it takes.
#[test]
fn a_profile_is_checked_before_the_push() {
    let (registry, (files, path)) = (folder(), package());
    let (to, own) = (registry.path().display().to_string(), files.path().join("p"));
    let own = own.display().to_string();
    let mut other = profile("iris");
    other["inputs"][0]["tensor"] = json!("z");
    let flags = ["--to", &to, "--profile", &own];
    let refused_as = |more: &[&str], content: &Value, part: &str| {
        write(files.path(), "p", content.to_string());
        refused(&[&[&path, "iris"], &flags[..], more].concat(), 6, part);
    };
    refused_as(&[], &json!({}), "the profile (sidecar) is refused: not a profile");
    refused_as(&[], &profile("tulip"), "is of the model 'tulip', and this is 'iris'");
    refused_as(&[], &other, "the model has no input 'z'; it has 'x' FP32 [-1]");
    refused_as(&["--no-probe"], &profile("tulip"), "--name iris");
    // What the model takes is not known then.
    write(files.path(), "p", other.to_string());
    pushed(&[&[&path, "iris"], &flags[..], &["--no-probe"]].concat());

    write(files.path(), "profile.json", "{}");
    refused(&[&path, "iris", "--to", &to], 6, "the profile (sidecar) is refused");
    fs::remove_file(files.path().join("profile.json")).expect("removed");
    write(files.path(), "MLmodel", "flavors: {}");
    write(files.path(), "drift_profile.json", "{}");
    refused(&[&path, "iris", "--to", &to], 6, "the profile (mlflow) is refused");
    let left = fs::read_dir(registry.path().join("iris")).expect("a folder").count();
    assert_eq!(left, 1, "nothing is left of the refused pushes");
}

#[test]
fn a_registry_is_named_by_the_configuration() {
    let (first, second, (files, path)) = (folder(), folder(), package());
    let config = files.path().join(".modelgate.yaml");
    let dir = |folder: &TempDir| format!("{{dir: {{path: {}}}}}", folder.path().display());
    fs::write(&config, format!("registries: {{one: {}}}", dir(&first))).expect("written");
    let config_path = config.display().to_string();
    pushed(&[&path, "iris", "--config", &config_path]);
    assert!(first.path().join("iris/1/manifest.json").is_file(), "there is only one");
    let both = format!("registries: {{one: {}, two: {}}}", dir(&first), dir(&second));
    fs::write(&config, both).expect("written");
    pushed(&[&path, "iris", "--config", &config_path, "--to", "two"]);
    assert!(second.path().join("iris/1/manifest.json").is_file());
    refused(&[&path, "iris", "--config", &config_path], 1, "which registry? there is one, two");
    let unknown = [&path, "iris", "--config", &config_path, "--to", "three"];
    refused(&unknown, 1, "no registry 'three'; there is one, two");
    refused(&[&path, "iris"], 1, "none is configured");
    fs::write(&config, "registries: {one: {}}").expect("written");
    refused(&[&path, "iris", "--config", &config_path], 3, "one");
    refused(&[&path, "iris", "--to", "/no/such/registry"], 1, "/no/such/registry");
}

#[test]
fn pushes_at_once_become_versions_of_their_own() {
    const PUSHES: usize = 8;
    let (registry, (_files, path)) = (folder(), package());
    let to = registry.path().display().to_string();
    let mut versions: Vec<u64> = std::thread::scope(|scope| {
        let push = || pushed(&[&path, "iris", "--to", &to])["version"].as_u64().expect("a number");
        let pushes: Vec<_> = (0..PUSHES).map(|_| scope.spawn(push)).collect();
        pushes.into_iter().map(|push| push.join().expect("pushed")).collect()
    });
    versions.sort_unstable();
    assert_eq!(versions, (1..=PUSHES as u64).collect::<Vec<_>>());
    let listing = block_on(source(registry.path()).list()).expect("a listing");
    assert_eq!(listing.models["iris"].versions.len(), PUSHES);
    assert_eq!(listing.unfinished, []);
}

#[test]
fn pushes_of_one_program_at_once_never_take_one_number_twice() {
    const PUSHES: u64 = 32;
    let (registry, (files, _)) = (folder(), package());
    let package = Package::collect(files.path(), None, None, &Default::default()).expect("whole");
    let (target, iris) = (Target::Dir(registry.path().to_owned()), name("iris"));
    let (progress, target, iris) = (Progress::default(), &target, &iris);
    let versions: BTreeSet<u64> = block_on(async {
        let pushes = (0..PUSHES).map(|_| registry::push(target, iris, None, &package, &progress));
        let pushed = futures_util::future::join_all(pushes).await.into_iter();
        pushed.map(|pushed| pushed.expect("pushed").version.get()).collect()
    });
    assert_eq!(versions, (1..=PUSHES).collect());
    let listing = block_on(source(registry.path()).list()).expect("a listing");
    assert_eq!(listing.models["iris"].versions.len() as u64, PUSHES);
    assert_eq!(listing.unfinished, []);
}

/// An admin API that answers each look at the models with the next of `states`,
/// and the last one again. Gives its address.
fn admin(name: &'static str, digest: String, states: Vec<Value>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let mut states = states.into_iter().peekable();
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
            let (mut first, mut length) = (String::new(), 0);
            reader.read_line(&mut first).expect("a request");
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).expect("a header");
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a number");
                }
                if line == "\r\n" {
                    break;
                }
            }
            reader.take(length).read_to_end(&mut Vec::new()).expect("a body");
            let (status, body) = if first.starts_with("POST /admin/v1/registry/events ") {
                (202, json!({"registries": ["models"]}))
            } else if first.starts_with("GET /admin/v1/models ") {
                let state = states.peek().cloned().unwrap_or_default();
                if states.len() > 1 {
                    states.next();
                }
                let mut version = json!({
                    "version": 1, "digest": digest, "since": 0, "reason": null, "rejected": null,
                    "bytes": 1, "fetched_bytes": 1, "memory_bytes": null, "kept": false,
                    "signature": null, "probe": null,
                });
                for (key, value) in state.as_object().into_iter().flatten() {
                    version[key] = value.clone();
                }
                let model = json!({
                    "name": name, "registry": "models", "default": null, "hold": null,
                    "labels": {}, "explicit": false, "unloaded": [], "versions": [version],
                });
                (200, json!({"registries": [], "models": [model]}))
            } else {
                (404, json!({"error": first}))
            };
            let body = body.to_string();
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
            let answer =
                format!("{head}content-type: application/json\r\nconnection: close\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).expect("answered");
        }
    });
    format!("http://{address}")
}

#[test]
fn waiting_ends_with_the_gateways_verdict() {
    let (_files, path) = package();
    // What the digest will be: content alone makes it.
    let digest = {
        let registry = folder();
        let report = pushed(&[&path, "iris", "--to", &registry.path().display().to_string()]);
        report["digest"].as_str().expect("a digest").to_owned()
    };
    let stage = |stage: Stage| json!({"stage": stage.label()});
    let rejected = json!({
        "stage": "rejected", "reason": "it was killed", "rejected": RejectKind::Crashed.label(),
    });
    let replaced = json!({"stage": "ready", "digest": format!("sha256:{}", "0".repeat(64))});
    for (states, wait, code, part) in [
        (vec![stage(Stage::Fetching), stage(Stage::Ready)], "--wait", 0, "ready"),
        (vec![stage(Stage::Probing), rejected], "--wait=60", 6, "crashed: it was killed"),
        (vec![stage(Stage::Warming)], "--wait=1", 5, "it is warming"),
        (vec![replaced], "--wait=1", 5, "does not know this version"),
    ] {
        let registry = folder();
        let (to, url) =
            (registry.path().display().to_string(), admin("iris", digest.clone(), states));
        let output = push(&[&path, "iris", "--to", &to, "--url", &url, wait]);
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{said}{}", text(&output.stderr));
        assert!(said.contains(part), "{said:?} should contain {part:?}");
        assert!(
            registry.path().join("iris/1/manifest.json").is_file(),
            "it is pushed all the same"
        );
    }
    let registry = folder();
    let to = registry.path().display().to_string();
    let nobody =
        TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a port");
    let url = format!("http://{nobody}");
    let output = push(&[&path, "iris", "--to", &to, "--url", &url, "--wait"]);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stdout));
}
