//! The cache of versions: what it takes, what it keeps, and what crashes leave.

mod support;

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use modelgate::registry::{
    Cache, DirSource, FetchError, FileName, Listed, ListedFile, Listing, Progress, Source,
    SourceError, version_digest,
};
use modelgate::types::{Digest, RejectKind};
use tempfile::TempDir;
use tokio::sync::Notify;

use support::versions::{block_on, files, listed, model, write};

const PLENTY: u64 = 1 << 30;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// A registry with versions of one model, listed.
struct Versions {
    _root: TempDir,
    source: DirSource,
    listed: Vec<Listed>,
}

impl Versions {
    /// Version `n` is a model of about `sizes[n - 1]` bytes.
    fn new(sizes: &[usize]) -> Versions {
        let root = folder();
        for (at, bytes) in sizes.iter().enumerate() {
            let number = at + 1;
            write(root.path(), &format!("a/{number}/model.onnx"), model(number as u8, *bytes));
            write(root.path(), &format!("a/{number}/labels.txt"), "a\nb\n");
        }
        let second = Duration::from_secs(1);
        let source = DirSource::new("test", root.path(), second, Duration::ZERO);
        let listed =
            (1..=sizes.len()).map(|number| block_on(listed(&source, "a", number as u64))).collect();
        Versions { _root: root, source, listed }
    }

    fn fetch(
        &self,
        cache: &Cache,
        number: usize,
        keep: &[usize],
    ) -> Result<std::path::PathBuf, FetchError> {
        let keep = keep.iter().map(|number| self.digest(*number)).collect();
        let listed = &self.listed[number - 1];
        block_on(cache.fetch(&self.source, listed, &Progress::default(), &keep))
    }

    fn digest(&self, number: usize) -> Digest {
        self.listed[number - 1].digest
    }
}

/// Everything below the cache's folder that is no whole entry.
fn leftovers(cache: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(cache).expect("the cache").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == ".staging" {
            for process in fs::read_dir(entry.path()).expect("a folder").flatten() {
                let left = fs::read_dir(process.path()).expect("a folder").flatten();
                found.extend(left.map(|entry| entry.path().display().to_string()));
            }
        } else if !entry.path().join(".entry.json").is_file() {
            found.push(name);
        }
    }
    found
}

fn rejected<T: std::fmt::Debug>(outcome: Result<T, FetchError>) -> RejectKind {
    match outcome.expect_err("it must be refused") {
        FetchError::Rejected(rejection) => rejection.kind,
        FetchError::Source(error) => panic!("{error}"),
    }
}

#[test]
fn a_version_is_copied_checked_and_found_again() {
    let (versions, folder) = (Versions::new(&[5000]), folder());
    let cache = Cache::open(folder.path(), PLENTY).expect("a cache");
    assert_eq!(cache.get(&versions.digest(1)), None);
    let progress = Progress::default();
    let path =
        block_on(cache.fetch(&versions.source, &versions.listed[0], &progress, &HashSet::new()))
            .expect("fetched");
    assert_eq!(progress.bytes(), versions.listed[0].bytes());
    assert_eq!(path, folder.path().join(versions.digest(1).hex()));
    let found: Vec<_> =
        files(&path).into_iter().filter(|(name, _)| !name.starts_with('.')).collect();
    assert_eq!(found[0], ("labels.txt".to_owned(), b"a\nb\n".to_vec()));
    assert_eq!(found[1], ("model.onnx".to_owned(), model(1, 5000)));
    assert_eq!(cache.bytes(), versions.listed[0].bytes());
    assert_eq!(leftovers(folder.path()), [""; 0]);
    drop(cache);
    let again = Cache::open(folder.path(), PLENTY).expect("a cache");
    assert_eq!(again.get(&versions.digest(1)), Some(path.clone()));
    assert_eq!(again.verify(&versions.digest(1)), Ok(path));
    assert_eq!(again.bytes(), versions.listed[0].bytes());
}

#[test]
fn an_entry_that_was_changed_is_removed_when_it_is_verified() {
    let (versions, folder) = (Versions::new(&[5000, 6000]), folder());
    let cache = Cache::open(folder.path(), PLENTY).expect("a cache");
    for number in [1, 2] {
        versions.fetch(&cache, number, &[]).expect("fetched");
    }
    let path = cache.get(&versions.digest(1)).expect("an entry").join("model.onnx");
    let mut bytes = fs::read(&path).expect("a file");
    bytes[2000] ^= 1;
    fs::remove_file(&path).expect("removed");
    fs::write(&path, bytes).expect("written");
    let rejection = cache.verify(&versions.digest(1)).expect_err("one bit differs");
    assert_eq!(rejection.kind, RejectKind::DigestMismatch, "{rejection}");
    assert_eq!(cache.get(&versions.digest(1)), None);
    assert!(cache.verify(&versions.digest(2)).is_ok());
    assert_eq!(cache.bytes(), versions.listed[1].bytes());
    versions.fetch(&cache, 1, &[]).expect("fetched again");
    assert!(cache.verify(&versions.digest(1)).is_ok());
}

#[test]
fn what_is_not_whole_is_removed_when_the_cache_is_opened() {
    let (versions, folder) = (Versions::new(&[500; 6]), folder());
    let cache = Cache::open(folder.path(), PLENTY).expect("a cache");
    let paths: Vec<_> =
        (1..=6).map(|number| versions.fetch(&cache, number, &[]).expect("fetched")).collect();
    drop(cache);
    fs::remove_file(paths[0].join("model.onnx")).expect("removed");
    fs::remove_file(paths[1].join(".entry.json")).expect("removed");
    fs::write(paths[2].join(".entry.json"), "{").expect("written");
    fs::write(paths[3].join("more.bin"), "x").expect("written");
    fs::rename(&paths[4], folder.path().join("0".repeat(64))).expect("renamed");
    // A killed process leaves its staging folder; one that lives keeps it.
    write(folder.path(), ".staging/killed/0/model.onnx", "half");
    write(folder.path(), "notes of the operator.txt", "x");
    let cache = Cache::open(folder.path(), PLENTY).expect("a cache");
    let left: Vec<usize> =
        (1..=6).filter(|number| cache.get(&versions.digest(*number)).is_some()).collect();
    assert_eq!(left, [6]);
    assert_eq!(cache.bytes(), versions.listed[5].bytes());
    assert_eq!(leftovers(folder.path()), ["notes of the operator.txt"]);
    assert!(!folder.path().join(".staging/killed").exists());
}

#[test]
fn the_least_recently_used_go_first_and_never_what_is_kept() {
    let (versions, folder) = (Versions::new(&[1000, 1000, 1000, 1000]), folder());
    let most = versions.listed[0].bytes() * 3;
    let cache = Cache::open(folder.path(), most).expect("a cache");
    for number in [1, 2, 3] {
        versions.fetch(&cache, number, &[]).expect("fetched");
    }
    cache.get(&versions.digest(1)).expect("used");
    drop(cache);
    // The order of use outlives a restart.
    let cache = Cache::open(folder.path(), most).expect("a cache");
    versions.fetch(&cache, 4, &[]).expect("fetched");
    let held = |cache: &Cache| -> Vec<usize> {
        (1..=4)
            .filter(|number| {
                folder.path().join(versions.digest(*number).hex()).exists() && cache.bytes() > 0
            })
            .collect()
    };
    assert_eq!(held(&cache), [1, 3, 4]);
    let error = versions.fetch(&cache, 2, &[1, 3, 4]).expect_err("nothing may go");
    assert!(matches!(error, FetchError::Source(SourceError::NoSpace(_))), "{error}");
    assert_eq!(held(&cache), [1, 3, 4]);
    versions.fetch(&cache, 2, &[3, 4]).expect("one may go");
    assert_eq!(held(&cache), [2, 3, 4]);
    assert!(cache.bytes() <= most);
    assert_eq!(leftovers(folder.path()), [""; 0]);
}

#[test]
fn what_is_larger_than_the_cache_is_no_reason_to_empty_it() {
    let (versions, folder) = (Versions::new(&[1000, 5000]), folder());
    let cache = Cache::open(folder.path(), 2000).expect("a cache");
    versions.fetch(&cache, 1, &[]).expect("fetched");
    let error = versions.fetch(&cache, 2, &[]).expect_err("it does not fit");
    assert!(matches!(error, FetchError::Source(SourceError::NoSpace(_))), "{error}");
    assert!(cache.get(&versions.digest(1)).is_some());
}

#[test]
fn notes_are_kept_beside_an_entry_and_go_with_it() {
    let (versions, folder) = (Versions::new(&[1000]), folder());
    let cache = Cache::open(folder.path(), PLENTY).expect("a cache");
    let digest = versions.digest(1);
    assert!(cache.write_note(&digest, "probe", "x").is_err(), "there is no entry");
    versions.fetch(&cache, 1, &[]).expect("fetched");
    assert_eq!(cache.read_note(&digest, "probe"), None);
    cache.write_note(&digest, "probe", "one").expect("written");
    cache.write_note(&digest, "probe", "two").expect("written");
    for bad in ["", "../x", "a/b", ".", "a.b", &"x".repeat(65)] {
        assert!(cache.write_note(&digest, bad, "x").is_err(), "{bad:?}");
    }
    assert!(cache.write_note(&digest, "long", &"x".repeat(64 * 1024 + 1)).is_err());
    drop(cache);
    let cache = Cache::open(folder.path(), PLENTY).expect("a cache");
    assert_eq!(cache.read_note(&digest, "probe").as_deref(), Some("two"));
    assert!(cache.verify(&digest).is_ok(), "a note is no file of the version");
    cache.remove(&digest);
    assert_eq!(cache.read_note(&digest, "probe"), None);
    assert_eq!(cache.get(&digest), None);
    assert_eq!(cache.bytes(), 0);
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "only .staging is left");
}

/// A registry that hands out what it is told to.
struct Scripted {
    files: Vec<(&'static str, Vec<u8>)>,
    fetches: AtomicUsize,
    /// Waited for in the middle of a fetch.
    gate: Option<Arc<Notify>>,
    fails: Option<fn() -> SourceError>,
}

impl Scripted {
    fn new(files: &[(&'static str, &[u8])]) -> Scripted {
        let files = files.iter().map(|(name, bytes)| (*name, bytes.to_vec())).collect();
        Scripted { files, fetches: AtomicUsize::new(0), gate: None, fails: None }
    }

    fn listed(&self) -> Listed {
        let source = folder();
        let mut files: Vec<ListedFile> = self
            .files
            .iter()
            .map(|(name, bytes)| {
                write(source.path(), name, bytes);
                ListedFile {
                    name: FileName::parse(name).expect("a name"),
                    bytes: bytes.len() as u64,
                    sha256: modelgate::registry::file_digest(&source.path().join(name))
                        .expect("a digest"),
                }
            })
            .collect();
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Listed { digest: version_digest(&files), place: String::new(), files }
    }
}

impl Source for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }

    fn location(&self) -> String {
        String::new()
    }

    fn poll_every(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn list(&self) -> BoxFuture<'_, Result<Listing, SourceError>> {
        async { Ok(Listing::default()) }.boxed()
    }

    fn fetch<'a>(
        &'a self,
        _: &'a Listed,
        into: &'a Path,
        progress: &'a Progress,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        async move {
            self.fetches.fetch_add(1, Ordering::SeqCst);
            for (name, bytes) in &self.files {
                write(into, name, bytes);
                progress.add(bytes.len() as u64);
                if let Some(gate) = &self.gate {
                    gate.notified().await;
                }
            }
            self.fails.map_or(Ok(()), |error| Err(error()))
        }
        .boxed()
    }
}

fn fetch(
    cache: &Cache,
    source: &Scripted,
    listed: &Listed,
) -> Result<std::path::PathBuf, FetchError> {
    block_on(cache.fetch(source, listed, &Progress::default(), &HashSet::new()))
}

#[test]
fn what_is_not_as_stated_is_refused_and_leaves_nothing() {
    let folder = folder();
    let cache = Cache::open(folder.path(), PLENTY).expect("a cache");
    let honest = Scripted::new(&[("model.onnx", b"model"), ("w.bin", b"weights")]);
    let stated = honest.listed();
    for (files, kind) in [
        (
            &[("model.onnx", b"model" as &[u8]), ("w.bin", b"WEIGHTS")][..],
            RejectKind::DigestMismatch,
        ),
        (&[("model.onnx", b"model"), ("w.bin", b"weight")], RejectKind::BadFiles),
        (&[("model.onnx", b"model")], RejectKind::BadFiles),
        (&[("model.onnx", b"model"), ("w.bin", b"weights"), ("x", b"")], RejectKind::BadFiles),
    ] {
        assert_eq!(rejected(fetch(&cache, &Scripted::new(files), &stated)), kind, "{files:?}");
        assert_eq!(leftovers(folder.path()), [""; 0]);
    }
    let mut lie = stated.clone();
    lie.digest = Digest::new([1; 32]);
    assert_eq!(rejected(fetch(&cache, &honest, &lie)), RejectKind::DigestMismatch);
    lie = stated.clone();
    lie.files.push(lie.files[0].clone());
    assert_eq!(rejected(fetch(&cache, &honest, &lie)), RejectKind::BadFiles);
    assert_eq!(cache.bytes(), 0);
    fetch(&cache, &honest, &stated).expect("the honest one is taken");
}

#[test]
fn what_could_be_executed_is_refused_by_name_and_by_content() {
    let folder = folder();
    let cache = Cache::open(folder.path(), PLENTY).expect("a cache");
    for (name, bytes) in [
        ("ops.so", b"x".as_slice()),
        ("load.py", b"x"),
        ("model.pkl", b"x"),
        ("weights.pt", b"PK\x03\x04"),
        ("weights.bin", b"\x7fELF\x02"),
        ("weights.bin", b"\x80\x04\x95\x00\x00."),
        ("README.md", b"#!/bin/sh\n"),
    ] {
        let source = Scripted::new(&[("model.onnx", b"model"), (name, bytes)]);
        let refused = fetch(&cache, &source, &source.listed()).expect_err(name);
        assert!(refused.to_string().contains(&format!("'{name}'")), "{refused}");
        assert_eq!(rejected::<()>(Err(refused)), RejectKind::BadFiles, "{name}");
    }
    assert_eq!(leftovers(folder.path()), [""; 0]);
    let texts = [("model.onnx", b"m".as_slice()), ("README.md", b"# x"), ("labels.txt", b"a")];
    let source = Scripted::new(&texts);
    fetch(&cache, &source, &source.listed()).expect("texts are taken");
}

#[test]
fn a_failed_or_dropped_fetch_leaves_nothing_and_its_room_is_free_again() {
    let folder = folder();
    let mut source = Scripted::new(&[("model.onnx", &[7; 1000])]);
    let listed = source.listed();
    let cache = Cache::open(folder.path(), 1000).expect("a cache");
    source.fails = Some(|| SourceError::Unreachable("gone".to_owned()));
    for _ in 0..3 {
        let error = fetch(&cache, &source, &listed).expect_err("it fails");
        assert!(matches!(error, FetchError::Source(SourceError::Unreachable(_))), "{error}");
        assert_eq!(leftovers(folder.path()), [""; 0]);
    }
    source.fails = None;
    source.gate = Some(Arc::default());
    for _ in 0..3 {
        block_on(async {
            let (progress, keep) = (Progress::default(), HashSet::new());
            let fetching = cache.fetch(&source, &listed, &progress, &keep);
            let arrived = async {
                while progress.bytes() == 0 {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                _ = fetching => panic!("nobody opens the gate"),
                () = arrived => {}
            }
        });
        assert_eq!(leftovers(folder.path()), [""; 0]);
    }
    source.gate = None;
    fetch(&cache, &source, &listed).expect("there is room for one");
}

#[test]
fn two_fetches_of_one_version_are_one() {
    let folder = folder();
    let cache = Cache::open(folder.path(), PLENTY).expect("a cache");
    let gate = Arc::new(Notify::new());
    let mut source = Scripted::new(&[("model.onnx", &[7; 1000])]);
    source.gate = Some(Arc::clone(&gate));
    let listed = source.listed();
    let (first, second) = (Progress::default(), Progress::default());
    block_on(async {
        let keep = HashSet::new();
        let one = cache.fetch(&source, &listed, &first, &keep);
        let other = cache.fetch(&source, &listed, &second, &keep);
        let open = async {
            while first.bytes() == 0 {
                tokio::task::yield_now().await;
            }
            gate.notify_one();
        };
        let (one, other, ()) = tokio::join!(one, other, open);
        assert_eq!(one.expect("fetched"), other.expect("fetched"));
    });
    assert_eq!(source.fetches.load(Ordering::SeqCst), 1);
    assert_eq!(second.bytes(), 1000, "who waited is told of the whole");
    assert_eq!(cache.bytes(), 1000);
}

#[test]
fn two_processes_may_share_a_folder() {
    let (versions, folder) = (Versions::new(&[1000, 1000]), folder());
    let old = Cache::open(folder.path(), PLENTY).expect("a cache");
    write(folder.path(), ".staging/killed/0/model.onnx", "half");
    let gate = Arc::new(Notify::new());
    let mut slow = Scripted::new(&[("model.onnx", &[7; 1000])]);
    slow.gate = Some(Arc::clone(&gate));
    let listed = slow.listed();
    block_on(async {
        let (progress, keep) = (Progress::default(), HashSet::new());
        let fetching = old.fetch(&slow, &listed, &progress, &keep);
        let meanwhile = async {
            while progress.bytes() == 0 {
                tokio::task::yield_now().await;
            }
            let new = Cache::open(folder.path(), PLENTY).expect("another process's");
            assert!(!folder.path().join(".staging/killed").exists());
            let keep = HashSet::new();
            let fetch = new.fetch(&versions.source, &versions.listed[0], &progress, &keep);
            fetch.await.expect("fetched");
            gate.notify_one();
            new
        };
        let (fetched, new) = tokio::join!(fetching, meanwhile);
        fetched.expect("nobody took its staging folder away");
        // What the other put there is adopted, not replaced.
        gate.notify_one();
        let keep = HashSet::new();
        new.fetch(&slow, &listed, &progress, &keep).await.expect("adopted");
    });
    assert_eq!(leftovers(folder.path()), [""; 0]);
}

#[test]
fn a_full_disk_is_told_and_what_can_go_goes_for_the_next_attempt() {
    let folder = folder();
    let cache = Cache::open(folder.path(), PLENTY).expect("a cache");
    let old = Scripted::new(&[("model.onnx", &[1; 2000])]);
    fetch(&cache, &old, &old.listed()).expect("fetched");
    let mut source = Scripted::new(&[("model.onnx", &[2; 1000])]);
    source.fails = Some(|| SourceError::NoSpace("the disk is full".to_owned()));
    let error = fetch(&cache, &source, &source.listed()).expect_err("the disk is full");
    assert!(matches!(error, FetchError::Source(SourceError::NoSpace(_))), "{error}");
    assert_eq!(cache.get(&old.listed().digest), None, "it made room");
    assert_eq!(leftovers(folder.path()), [""; 0]);
}
