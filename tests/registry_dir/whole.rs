//! When a version is whole, while it is still being written.

use std::fs;
use std::time::{Duration, Instant};

use modelgate::registry::{DirSource, Source};

use crate::support::versions::{
    block_on, fetch, find, list_until, listed, manifest, model, name, unfinished, version, write,
};
use crate::{SECOND, eager, folder, list};

#[test]
fn a_version_without_a_manifest_is_taken_once_nobody_writes() {
    let root = folder();
    let source = DirSource::new("test", root.path(), 60 * SECOND, Duration::from_millis(300));
    write(root.path(), "a/1/model.onnx", model(1, 10));
    let started = Instant::now();
    let first = list(&source);
    assert_eq!(unfinished(&first, "a", 1), Some("it is being written"));
    assert!(first.models.is_empty());
    assert!(source.look_again() < SECOND, "it will be whole soon");
    // Whoever goes on writing keeps it unfinished.
    while started.elapsed() < Duration::from_millis(600) {
        write(root.path(), "a/1/weights.bin", started.elapsed().as_nanos().to_string());
        assert!(find(&list(&source), "a", 1).is_none());
    }
    let written = Instant::now();
    block_on(listed(&source, "a", 1));
    assert!(written.elapsed() >= Duration::from_millis(250), "{:?}", written.elapsed());
    assert_eq!(source.look_again(), 60 * SECOND, "all is whole");
}

#[test]
fn a_version_that_has_been_there_for_long_is_taken_at_once() {
    let root = folder();
    write(root.path(), "a/1/model.onnx", model(1, 10));
    std::thread::sleep(Duration::from_millis(60));
    let source = DirSource::new("test", root.path(), SECOND, Duration::from_millis(50));
    assert!(find(&list(&source), "a", 1).is_some());
}

#[test]
fn a_truncated_model_is_not_taken_until_the_rest_has_come() {
    let root = folder();
    let source = DirSource::new("test", root.path(), SECOND, SECOND / 5);
    let whole = model(1, 1000);
    let until_said = |said: &str| loop {
        let listing = list(&source);
        let reason = unfinished(&listing, "a", 1).expect("it is not whole");
        assert!(listing.models.is_empty());
        if reason.contains(said) {
            return;
        }
    };
    for bytes in [0, 1, 500, whole.len() - 1] {
        write(root.path(), "a/1/model.onnx", &whole[..bytes]);
        until_said("'model.onnx': the model file is");
    }
    write(root.path(), "a/1/model.onnx", &whole);
    block_on(listed(&source, "a", 1));
}

#[test]
fn a_truncated_model_that_nobody_completes_is_taken_as_it_is() {
    let root = folder();
    let source = DirSource::new("test", root.path(), SECOND, SECOND / 20);
    write(root.path(), "a/1/model.onnx", &model(1, 1000)[..500]);
    block_on(listed(&source, "a", 1));
}

#[test]
fn a_manifest_makes_a_version_whole_when_all_it_names_is_there() {
    let root = folder();
    let version = root.path().join("a/1");
    write(root.path(), "a/1/model.onnx", model(1, 10));
    write(root.path(), "a/1/weights.bin", "0123456789");
    let manifest = manifest(&version);
    let text = manifest.to_json().expect("JSON");
    // Nothing is waited for: the manifest says it all.
    let source = DirSource::new("test", root.path(), SECOND, 3600 * SECOND);
    fs::remove_file(version.join("weights.bin")).expect("removed");
    for (step, reason) in [
        ("half the manifest", "manifest.json cannot be read"),
        ("manifest", "'weights.bin' has 0 of the 10 bytes"),
        ("half a file", "'weights.bin' has 5 of the 10 bytes"),
    ] {
        match step {
            "half the manifest" => write(&version, "manifest.json", &text[..text.len() / 2]),
            "manifest" => write(&version, "manifest.json", &text),
            _ => write(&version, "weights.bin", "01234"),
        }
        let listing = list(&source);
        let found = unfinished(&listing, "a", 1).unwrap_or_default();
        assert!(found.contains(reason), "{step}: {found}");
        assert!(listing.models.is_empty(), "{step}");
    }
    write(&version, "weights.bin", "0123456789");
    write(&version, "not in the manifest.txt", "x");
    let listing = list(&source);
    let listed = find(&listing, "a", 1).expect("it is whole");
    assert_eq!(listed.digest, manifest.digest());
    assert_eq!(listed.files, manifest.files);
}

#[test]
fn a_manifest_that_is_wrong_is_told_and_others_are_served() {
    let root = folder();
    write(root.path(), "good/1/model.onnx", model(1, 10));
    for (number, text) in [
        (1, "not JSON"),
        (2, "{\"schema\": 2}"),
        (3, "{\"schema\": 1, \"files\": []}"),
        (4, "{\"schema\": 1, \"files\": [{\"name\": \"../../x\"}]}"),
    ] {
        write(root.path(), &format!("bad/{number}/model.onnx"), model(1, 10));
        write(root.path(), &format!("bad/{number}/manifest.json"), text);
    }
    write(root.path(), "bad/5/model.onnx", model(1, 10));
    write(root.path(), "bad/5/manifest.json", " ".repeat((1 << 20) + 1));
    let listing = list(&eager(root.path()));
    assert_eq!(listing.models.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["good"]);
    for number in 1..=5 {
        let reason = unfinished(&listing, "bad", number).expect("unfinished");
        assert!(reason.contains("manifest.json"), "{reason}");
    }
}

#[test]
fn many_writers_and_readers_never_yield_half_a_version() {
    let root = folder();
    let path = root.path().to_owned();
    let source = DirSource::new("test", root.path(), SECOND, Duration::from_millis(50));
    let writer = std::thread::spawn(move || {
        for number in 1..=5 {
            let staged = path.join(format!("a/.push-{number}"));
            fs::create_dir_all(&staged).expect("a folder");
            fs::write(staged.join("model.onnx"), model(number as u8, 100_000)).expect("a file");
            fs::write(staged.join("weights.bin"), vec![number as u8; 100_000]).expect("a file");
            fs::rename(staged, path.join(format!("a/{number}"))).expect("published");
        }
    });
    block_on(async {
        for number in 1..=5 {
            let listed = listed(&source, "a", number).await;
            assert_eq!(listed.files.len(), 2, "both files or none");
            fetch(&source, &listed).await.expect("fetched");
        }
        let all = list_until(&source, |listing| listing.models.get(&name("a")).cloned()).await;
        assert_eq!(
            all.versions.keys().copied().collect::<Vec<_>>(),
            (1..=5).map(version).collect::<Vec<_>>()
        );
    });
    writer.join().expect("the writer");
}
