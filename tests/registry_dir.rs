//! A folder as a registry: what is whole, what is not yet, and what must never
//! be read.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use modelgate::registry::{DirSource, Listing, Source, SourceError};
use tempfile::TempDir;
use tokio::sync::Notify;

use support::versions::{
    PATIENCE, block_on, fetch, find, list_until, listed, manifest, model, name, unfinished,
    version, write,
};

const SECOND: Duration = Duration::from_secs(1);

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Takes versions without a manifest as soon as it has seen them twice.
fn eager(root: &Path) -> DirSource {
    DirSource::new("test", root, SECOND, Duration::ZERO)
}

fn list(source: &dyn Source) -> Listing {
    block_on(source.list()).expect("a listing")
}

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

#[test]
fn a_kubernetes_mount_is_followed_through_its_swaps() {
    let root = folder();
    let source = eager(root.path());
    let swap = |generation: &str, seed: u8| {
        write(root.path(), &format!("..{generation}/model.onnx"), model(seed, 10));
        write(root.path(), &format!("..{generation}/labels.txt"), "a\nb\n");
        let (new, data) = (root.path().join("..data_tmp"), root.path().join("..data"));
        symlink(format!("..{generation}"), &new).expect("a link");
        fs::rename(new, data).expect("swapped");
    };
    swap("2026_01", 1);
    fs::create_dir_all(root.path().join("iris")).expect("a folder");
    for file in ["model.onnx", "labels.txt"] {
        symlink(format!("../..data/{file}"), root.path().join("iris").join(file)).expect("a link");
    }
    let first = find(&list(&source), "iris", 1).expect("it is followed").clone();
    let files = block_on(fetch(&source, &first)).expect("fetched");
    assert_eq!(files[1], ("model.onnx".to_owned(), model(1, 10)));
    swap("2026_02", 2);
    let second = find(&list(&source), "iris", 1).expect("it is followed").clone();
    assert_ne!(first.digest, second.digest);
    let files = block_on(fetch(&source, &second)).expect("fetched");
    assert_eq!(files[1], ("model.onnx".to_owned(), model(2, 10)));
}

#[test]
fn a_fetched_file_is_a_copy_even_of_a_hard_link() {
    let root = folder();
    write(root.path(), "a/1/original", model(1, 10));
    let path = root.path().join("a/1/model.onnx");
    fs::hard_link(root.path().join("a/1/original"), &path).expect("a link");
    let source = eager(root.path());
    let listed = find(&list(&source), "a", 1).expect("it is whole").clone();
    let into = folder();
    block_on(source.fetch(&listed, into.path(), &Default::default())).expect("fetched");
    fs::write(&path, "changed").expect("written");
    assert_eq!(fs::read(into.path().join("model.onnx")).expect("a file"), model(1, 10));
    // The listing was of other files than are there now.
    let error = block_on(fetch(&source, &listed)).expect_err("it changed");
    assert!(matches!(error, SourceError::Changed(_)), "{error}");
}

#[test]
fn content_that_is_replaced_is_another_version_of_the_same_number() {
    let root = folder();
    let source = eager(root.path());
    write(root.path(), "a/1/model.onnx", model(1, 10));
    let first = find(&list(&source), "a", 1).expect("it is whole").digest;
    assert_eq!(find(&list(&source), "a", 1).expect("it is whole").digest, first);
    // The same size, and even the same time of modification.
    let path = root.path().join("a/1/model.onnx");
    let modified = fs::metadata(&path).and_then(|file| file.modified()).expect("a time");
    fs::write(&path, model(2, 10)).expect("written");
    fs::File::options()
        .append(true)
        .open(&path)
        .and_then(|f| f.set_modified(modified))
        .expect("set");
    let second = find(&list(&source), "a", 1).expect("it is whole").digest;
    assert_ne!(second, first);
}

#[test]
fn a_folder_that_cannot_be_read_is_an_error_and_not_empty() {
    let root = folder();
    let gone = root.path().join("gone");
    let error = block_on(eager(&gone).list()).expect_err("there is none");
    assert!(matches!(error, SourceError::Unreachable(_)), "{error}");
    write(root.path(), "file", "x");
    assert!(block_on(eager(&root.path().join("file")).list()).is_err());
}

#[test]
fn changes_are_told_soon_and_reading_is_none() {
    let root = folder();
    write(root.path(), "a/1/model.onnx", model(1, 10));
    let source = Arc::new(eager(root.path()));
    block_on(async {
        let changed = Arc::new(Notify::new());
        let watching = source.watch(Arc::clone(&changed)).expect("it can be watched");
        for number in 2..5 {
            let at = Instant::now();
            write(root.path(), &format!("b/{number}/model.onnx"), model(1, 10));
            tokio::time::timeout(PATIENCE, changed.notified()).await.expect("told");
            assert!(at.elapsed() < 5 * SECOND, "{:?}", at.elapsed());
            listed(&*source, "b", number).await;
        }
        // What was written last may be told of once more; then listing must be quiet.
        let _ = tokio::time::timeout(SECOND, changed.notified()).await;
        source.list().await.expect("a listing");
        let told = tokio::time::timeout(SECOND, changed.notified()).await;
        assert!(told.is_err(), "a listing tells of itself");
        drop(watching);
    });
}

#[test]
fn a_model_that_becomes_unreadable_stays_wanted() {
    let (root, elsewhere) = (folder(), folder());
    write(root.path(), "a/1/model.onnx", model(1, 10));
    write(root.path(), "a/2/model.onnx", model(2, 10));
    let source = eager(root.path());
    assert_eq!(list(&source).models.len(), 1);
    // Root reads everything, so the folder becomes a link that leads out.
    fs::rename(root.path().join("a"), elsewhere.path().join("a")).expect("moved");
    symlink(elsewhere.path().join("a"), root.path().join("a")).expect("a link");
    for _ in 0..2 {
        let listing = list(&source);
        assert!(listing.models.is_empty());
        for number in [1, 2] {
            assert!(unfinished(&listing, "a", number).expect("told").contains("leads out"));
        }
    }
    fs::remove_file(root.path().join("a")).expect("removed");
    assert_eq!(list(&source), Listing::default(), "what is gone is gone");
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
