//! What must never be read: links that lead out, pipes, names that deceive.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use modelgate::registry::SourceError;

use crate::support::versions::{block_on, fetch, find, model, unfinished, write};
use crate::{eager, folder, list};

#[test]
fn links_that_lead_out_are_never_followed() {
    let outside = folder();
    write(outside.path(), "1/model.onnx", model(9, 10));
    write(outside.path(), "model.onnx", model(9, 10));
    write(outside.path(), "secret", "secret");
    let root = folder();
    let out = outside.path().to_str().expect("a path");
    let up = format!("../../..{out}");
    type Place = fn(&Path, &str);
    let at: [(&str, Place); 5] = [
        ("model", |version, target| link(target, &version.join("model.onnx"))),
        ("extra", |version, target| {
            fs::write(version.join("model.onnx"), model(1, 10)).expect("a file");
            link(target, &version.join("extra.bin"));
        }),
        ("manifest", |version, target| {
            fs::write(version.join("model.onnx"), model(1, 10)).expect("a file");
            link(target, &version.join("manifest.json"));
        }),
        ("options", |version, target| {
            fs::write(version.join("model.onnx"), model(1, 10)).expect("a file");
            link(target, &version.join("../model.yaml"));
        }),
        ("chain", |version, target| {
            link(target, &version.join(".hop"));
            link(".hop", &version.join("model.onnx"));
        }),
    ];
    let targets = [
        format!("{out}/model.onnx"),
        format!("{out}/secret"),
        format!("{up}/model.onnx"),
        "/etc/passwd".to_owned(),
        "../../../../../../../../../etc/passwd".to_owned(),
        "/proc/self/environ".to_owned(),
        "/dev/zero".to_owned(),
        out.to_owned(),
        "/".to_owned(),
        "..".to_owned() + "/../..",
        "model.onnx".to_owned(),
    ];
    let mut made = Vec::new();
    for (kind, place) in at {
        for (number, target) in targets.iter().enumerate() {
            let model = format!("{kind}{number}");
            let version = root.path().join(&model).join("1");
            fs::create_dir_all(&version).expect("folders");
            if kind == "chain" || target != "model.onnx" || kind == "model" {
                place(&version, target);
                made.push(model);
            }
        }
    }
    assert!(made.len() >= 20, "a corpus of {}", made.len());
    // Whole folders: of a model, of a version, and of both by one hop inside.
    for (entry, target) in [
        ("folder1", out.to_owned()),
        ("folder2", "/".to_owned()),
        ("folder3", "..".to_owned()),
        ("folder4/1", format!("{out}/1")),
        ("folder5/1", "/etc".to_owned()),
        ("folder6/1", "../../..".to_owned()),
    ] {
        let path = root.path().join(entry);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        link(&target, &path);
    }
    write(root.path(), "good/1/model.onnx", model(1, 10));
    let source = eager(root.path());
    let listing = list(&source);
    let found: Vec<&str> = listing.models.keys().map(|name| name.as_str()).collect();
    assert_eq!(found, ["good"], "{listing:#?}");
    for model in &made {
        let reason = unfinished(&listing, model, 1).unwrap_or_else(|| panic!("{model} is told"));
        assert!(!reason.contains(out), "{reason} names a folder of this machine");
    }
    for model in ["folder4", "folder5", "folder6"] {
        assert!(unfinished(&listing, model, 1).is_some(), "{model} is told");
    }
    let mut listed = find(&listing, "good", 1).expect("it is whole").clone();
    // A listing that was tampered with, and links put there after it.
    for place in ["../..", "/etc", "good/../..", "folder1", "folder4/1", "none", "good/1/x"] {
        listed.place = place.to_owned();
        let error = block_on(fetch(&source, &listed)).expect_err(place);
        assert!(matches!(error, SourceError::Changed(_)), "{place}: {error}");
    }
    listed.place = "good/1".to_owned();
    fs::remove_file(root.path().join("good/1/model.onnx")).expect("removed");
    link(&format!("{out}/model.onnx"), &root.path().join("good/1/model.onnx"));
    assert!(block_on(fetch(&source, &listed)).is_err());
}

fn link(target: &str, at: &Path) {
    symlink(target, at).expect("a link");
}

#[test]
fn what_is_no_plain_file_is_not_opened() {
    let root = folder();
    write(root.path(), "pipe/1/x", "");
    write(root.path(), "socket/1/model.onnx", model(1, 10));
    let pipe = root.path().join("pipe/1/model.onnx");
    let pipe = std::process::Command::new("mkfifo").arg(pipe).status().expect("mkfifo");
    assert!(pipe.success());
    let _socket = std::os::unix::net::UnixListener::bind(root.path().join("socket/1/data.bin"));
    let listing = list(&eager(root.path()));
    assert!(listing.models.is_empty());
    for model in ["pipe", "socket"] {
        let reason = unfinished(&listing, model, 1).expect("unfinished");
        assert!(reason.contains("not a plain file"), "{reason}");
    }
}

#[test]
fn hostile_file_names_are_refused() {
    for hostile in ["a\nb", "\u{1b}[2Ja", "*", "a\\b", "model.onnx\u{7f}"] {
        let root = folder();
        write(root.path(), "a/1/model.onnx", model(1, 10));
        fs::write(root.path().join("a/1").join(hostile), "x").expect("a file");
        let listing = list(&eager(root.path()));
        let reason = unfinished(&listing, "a", 1).unwrap_or_else(|| panic!("{hostile:?}"));
        assert!(!reason.chars().any(char::is_control), "{reason:?}");
    }
    let root = folder();
    write(root.path(), "a/1/model.onnx", model(1, 10));
    let broken: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff\xfe");
    fs::write(root.path().join("a/1").join(broken), "x").expect("a file");
    let listing = list(&eager(root.path()));
    assert!(unfinished(&listing, "a", 1).expect("a").contains("not UTF-8"));
}
