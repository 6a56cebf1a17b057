//! What is found in a folder, and what is told of it.

use std::fs;

use crate::support::versions::{block_on, fetch, find, model, unfinished, write};
use crate::{eager, folder, list};

#[test]
fn models_and_versions_are_found_and_the_rest_is_passed_over() {
    let root = folder();
    for path in [
        "a/1/model.onnx",
        "a/10/model.onnx",
        "a/2/model.onnx",
        "a/x/model.onnx",
        "a/.3/model.onnx",
        "a/0/model.onnx",
        "a/04/model.onnx",
        "a/-5/model.onnx",
        "a/+6/model.onnx",
        "a/18446744073709551616/model.onnx",
        "flat/model.onnx",
        ".hidden/1/model.onnx",
        "_half/1/model.onnx",
        "bad name/1/model.onnx",
        "ünïcode/1/model.onnx",
        "train.py",
        "empty/x/y",
    ] {
        write(root.path(), path, model(1, 10));
    }
    write(root.path(), "a/model.yaml", "lanes: 2\n");
    fs::write(root.path().join("a/7"), "a file whose name is a number").expect("a file");
    let listing = list(&eager(root.path()));
    let seen: Vec<(&str, Vec<u64>, Option<&str>)> = listing
        .models
        .iter()
        .map(|(name, model)| {
            let versions = model.versions.keys().map(|version| version.get()).collect();
            (name.as_str(), versions, model.options.as_deref())
        })
        .collect();
    assert_eq!(seen, [("a", vec![1, 2, 10], Some("lanes: 2\n")), ("flat", vec![1], None)]);
    assert_eq!(listing.unfinished, []);
}

#[test]
fn a_flat_mount_is_one_model_with_the_folders_name() {
    let parent = folder();
    write(parent.path(), "iris/model.onnx", model(1, 10));
    write(parent.path(), "iris/weights.bin", "w");
    write(parent.path(), "iris/model.yaml", "lanes: 1\n");
    let source = eager(&parent.path().join("iris"));
    let listed = find(&list(&source), "iris", 1).expect("a version").clone();
    let names: Vec<&str> = listed.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["model.onnx", "weights.bin"]);
    let files = block_on(fetch(&source, &listed)).expect("fetched");
    assert_eq!(files[1], ("weights.bin".to_owned(), b"w".to_vec()));
}

#[test]
fn the_digest_is_that_of_the_content_and_sha256sum_agrees() {
    let root = folder();
    write(root.path(), "a/1/model.onnx", model(1, 10));
    write(root.path(), "a/1/gewichte ä.bin", "w");
    write(root.path(), "b/7/model.onnx", model(1, 10));
    write(root.path(), "b/7/gewichte ä.bin", "w");
    write(root.path(), "b/7/.hidden", "not part of it");
    let listing = list(&eager(root.path()));
    let (a, b) = (find(&listing, "a", 1).expect("a"), find(&listing, "b", 7).expect("b"));
    assert_eq!(a.digest, b.digest);
    let sums = std::process::Command::new("sh")
        .args(["-c", "LC_ALL=C; export LC_ALL; sha256sum -- * | sha256sum"])
        .current_dir(root.path().join("a/1"))
        .output()
        .expect("a shell");
    let sums = String::from_utf8(sums.stdout).expect("text");
    assert_eq!(sums.split(' ').next(), Some(a.digest.hex().as_str()));
}

#[test]
fn options_that_cannot_be_read_hold_back_their_model_alone() {
    let root = folder();
    for path in ["a/1/model.onnx", "b/1/model.onnx", "c/1/model.onnx"] {
        write(root.path(), path, model(1, 10));
    }
    write(root.path(), "a/model.yaml", "#".repeat(64 * 1024 + 1));
    write(root.path(), "b/model.yaml", [0xff, 0xfe]);
    let listing = list(&eager(root.path()));
    assert!(unfinished(&listing, "a", 1).expect("a").contains("more than 64 KiB"));
    assert!(unfinished(&listing, "b", 1).expect("b").contains("not UTF-8"));
    assert!(find(&listing, "c", 1).is_some());
}

#[test]
fn too_many_files_are_refused() {
    let root = folder();
    write(root.path(), "a/1/model.onnx", model(1, 10));
    for at in 0..256 {
        write(root.path(), &format!("a/1/{at}"), "x");
    }
    let listing = list(&eager(root.path()));
    assert!(unfinished(&listing, "a", 1).expect("a").contains("more than 256 files"));
    fs::remove_file(root.path().join("a/1/0")).expect("removed");
    assert!(find(&list(&eager(root.path())), "a", 1).is_some());
}
