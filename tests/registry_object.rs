//! An S3 bucket as a registry, with a real server and a bad network before it.

mod support;

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use modelgate::registry::{
    Bucket, Cache, FetchError, Listing, ObjectSource, Package, Progress, PushError, S3Options,
    Source, SourceError, Target, push,
};
use tempfile::TempDir;

use support::fault_proxy::{Fault, FaultProxy};
use support::moto::{self, server};
use support::versions::{
    block_on, fetch, find, list_until, listed, manifest, model, name, unfinished, version, write,
};

const SECOND: Duration = Duration::from_secs(1);

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn source(options: &S3Options) -> ObjectSource {
    let bucket = Bucket::s3(options).expect("a client");
    ObjectSource::new("test", bucket, SECOND, 30 * SECOND)
}

/// A version's files, and what a push makes of them.
fn package(bytes: usize) -> (TempDir, Package) {
    let files = folder();
    write(files.path(), "model.onnx", model(1, bytes));
    write(files.path(), "gewichte ä+1.bin", "weights");
    let package = Package::collect(files.path(), None, None).expect("whole");
    (files, package)
}

fn target(options: &S3Options) -> Target {
    Target::Bucket(Bucket::s3(options).expect("a client"))
}

/// Uploads the files of a folder by hand, as `aws s3 cp` would.
fn upload(options: &S3Options, from: &Path, place: &str) {
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let key = format!("{place}/{}", entry.file_name().to_string_lossy());
        server().put(options, &key, &fs::read(entry.path()).expect("a file"));
    }
}

async fn list(source: &ObjectSource) -> Listing {
    source.list().await.expect("a listing")
}

#[test]
fn a_pushed_version_is_listed_fetched_and_verified() {
    let options = server().bucket();
    // Large enough to go in parts.
    let (_files, package) = package(18 << 20);
    block_on(async {
        let progress = Progress::default();
        let target = target(&options);
        let pushed = push(&target, &name("iris"), None, &package, &progress).await.expect("pushed");
        assert_eq!(pushed.version, version(1));
        assert_eq!(progress.bytes(), package.bytes());
        assert_eq!(pushed.place, format!("s3://{}/team/models/iris/1", options.bucket));
        let source = source(&options);
        let listing = list(&source).await;
        let listed = find(&listing, "iris", 1).expect("a reader finds it at once");
        assert_eq!(listed.digest, pushed.digest);
        let cached = folder();
        let cache = Cache::open(cached.path(), 1 << 30).expect("a cache");
        let progress = Progress::default();
        let path = cache.fetch(&source, listed, &progress, &HashSet::new()).await.expect("fetched");
        assert_eq!(progress.bytes(), listed.bytes());
        assert_eq!(cache.verify(&pushed.digest), Ok(path));
        let next = push(&target, &name("iris"), None, &package, &progress).await.expect("pushed");
        assert_eq!(next.version, version(2));
        let again = push(&target, &name("iris"), Some(version(1)), &package, &progress).await;
        assert!(matches!(again, Err(PushError::Exists { .. })), "{again:?}");
    });
}

#[test]
fn pushes_at_once_become_versions_of_their_own() {
    const PUSHES: u64 = 6;
    let options = server().bucket();
    let (_files, package) = package(10_000);
    block_on(async {
        let target = target(&options);
        let iris = name("iris");
        let progress = Progress::default();
        let pushes = (0..PUSHES).map(|_| push(&target, &iris, None, &package, &progress));
        let pushed = futures_util::future::join_all(pushes).await;
        let versions: HashSet<u64> =
            pushed.into_iter().map(|pushed| pushed.expect("pushed").version.get()).collect();
        assert_eq!(versions, (1..=PUSHES).collect());
        // The same number for all: one wins.
        let pushes =
            (0..PUSHES).map(|_| push(&target, &iris, Some(version(50)), &package, &progress));
        let pushed = futures_util::future::join_all(pushes).await;
        assert_eq!(pushed.iter().filter(|pushed| pushed.is_ok()).count(), 1, "{pushed:?}");
        let listing = list(&source(&options)).await;
        assert_eq!(listing.models["iris"].versions.len(), PUSHES as usize + 1);
        assert_eq!(listing.unfinished, []);
    });
}

#[test]
fn half_a_push_is_not_taken_until_the_rest_has_come() {
    let (server, options) = (server(), server().bucket());
    let files = folder();
    write(files.path(), "model.onnx", model(1, 1000));
    write(files.path(), "weights.bin", "0123456789");
    let manifest = manifest(files.path());
    block_on(async {
        let source = source(&options);
        server.put(&options, "iris/1/.claim", b"x");
        server.put(&options, "iris/1/model.onnx", &model(1, 1000));
        // However often it is the same: a manifest will come.
        for _ in 0..3 {
            let listing = list(&source).await;
            assert!(unfinished(&listing, "iris", 1).expect("told").contains("being pushed"));
        }
        let text = manifest.to_json().expect("JSON");
        for (manifest, weights, reason) in [
            (&text[..50], "", "cannot be read"),
            ("{\"schema\": 9}", "", "schema 9"),
            (&text[..], "01234", "'weights.bin' has 5 of the 10 bytes"),
        ] {
            server.put(&options, "iris/1/manifest.json", manifest.as_bytes());
            server.put(&options, "iris/1/weights.bin", weights.as_bytes());
            let listing = list(&source).await;
            let found = unfinished(&listing, "iris", 1).expect("told");
            assert!(found.contains(reason), "{found}");
            assert!(listing.models.is_empty());
        }
        server.put(&options, "iris/1/weights.bin", b"0123456789");
        let listing = list(&source).await;
        assert_eq!(find(&listing, "iris", 1).expect("whole").digest, manifest.digest());
    });
}

#[test]
fn what_was_uploaded_by_hand_is_taken_when_it_stays_the_same() {
    let (server, options) = (server(), server().bucket());
    let files = folder();
    write(files.path(), "model.onnx", model(1, 1000));
    write(files.path(), "labels.txt", "a\nb\n");
    upload(&options, files.path(), "iris/3");
    block_on(async {
        let source = source(&options);
        let listing = list(&source).await;
        assert!(unfinished(&listing, "iris", 3).expect("told").contains("new or changed"));
        let found = listed(&source, "iris", 3).await;
        assert_eq!(found.digest, manifest(files.path()).digest());
        assert_eq!(fetch(&source, &found).await.expect("fetched").len(), 2);
        server.put(&options, "iris/3/labels.txt", b"a\nc\n");
        let listing = list(&source).await;
        assert!(find(&listing, "iris", 3).is_none(), "it changed");
        let changed = listed(&source, "iris", 3).await;
        assert_ne!(changed.digest, found.digest);
        // The old listing's file is not what it was.
        server.put(&options, "iris/3/labels.txt", b"longer than before");
        let error = fetch(&source, &changed).await.expect_err("it changed");
        assert!(matches!(error, SourceError::Changed(_)), "{error}");
        server.delete(&options, "iris/3/model.onnx");
        list(&source).await;
        let listing = list(&source).await;
        assert!(unfinished(&listing, "iris", 3).expect("told").contains("no model.onnx"));
    });
}

#[test]
fn what_is_no_version_is_passed_over() {
    let (server, options) = (server(), server().bucket());
    let files = folder();
    write(files.path(), "model.onnx", model(1, 10));
    let text = manifest(files.path()).to_json().expect("JSON");
    write(files.path(), "manifest.json", text);
    for place in [
        "iris/1",
        "iris/02",
        "iris/0",
        "iris/x",
        "iris/.3",
        "_half/1",
        ".hidden/1",
        "iris/4/sub",
        "a%20b/1",
        "deep/er/1",
    ] {
        upload(&options, files.path(), place);
    }
    server.put(&options, "README.md", b"x");
    server.put(&options, "iris/model.yaml", b"lanes: 2\n");
    server.put(&options, "broken/model.yaml", &[0xff]);
    upload(&options, files.path(), "broken/1");
    // Another registry's, whose prefix begins alike.
    let beside = S3Options { prefix: "team/models-2".to_owned(), ..options.clone() };
    upload(&beside, files.path(), "other/1");
    block_on(async {
        let source = source(&options);
        let listing = list(&source).await;
        let found: Vec<&str> = listing.models.keys().map(|name| name.as_str()).collect();
        assert_eq!(found, ["iris"], "{listing:#?}");
        let iris = &listing.models["iris"];
        assert_eq!(iris.versions.keys().copied().collect::<Vec<_>>(), [version(1)]);
        assert_eq!(iris.options.as_deref(), Some("lanes: 2\n"));
        assert!(unfinished(&listing, "broken", 1).expect("told").contains("not UTF-8"));
        server.put(&options, "iris/model.yaml", b"lanes: 3\n");
        let listing = list(&source).await;
        assert_eq!(listing.models["iris"].options.as_deref(), Some("lanes: 3\n"));
        server.delete(&options, "iris/1/model.onnx");
        let listing = list(&source).await;
        assert!(unfinished(&listing, "iris", 1).expect("told").contains("0 of the"));
        for place in ["../../secret", "iris/../../x", "/etc", "iris//1"] {
            let mut listed = listed_of(&options).await;
            listed.place = place.to_owned();
            assert!(fetch(&source, &listed).await.is_err(), "{place}");
        }
    });
}

/// Some version of a bucket.
async fn listed_of(options: &S3Options) -> modelgate::registry::Listed {
    let (_files, package) = package(100);
    push(&target(options), &name("any"), None, &package, &Progress::default())
        .await
        .expect("pushed");
    list_until(&source(options), |listing| find(listing, "any", 1).cloned()).await
}

#[test]
fn a_poll_that_finds_nothing_new_is_one_request() {
    let options = server().bucket();
    let proxy = FaultProxy::to(server().address);
    let (_files, package) = package(100);
    let by_hand = folder();
    write(by_hand.path(), "model.onnx", model(1, 10));
    upload(&options, by_hand.path(), "hand/1");
    server().put(&options, "hand/model.yaml", b"lanes: 1");
    block_on(async {
        for _ in 0..3 {
            let progress = Progress::default();
            push(&target(&options), &name("a"), None, &package, &progress).await.expect("pushed");
        }
        let bucket = moto::at(&options, proxy.address);
        let source = ObjectSource::new("test", bucket, SECOND, 30 * SECOND);
        listed(&source, "hand", 1).await;
        proxy.take_requests();
        for _ in 0..5 {
            list(&source).await;
        }
        assert_eq!(proxy.take_requests(), 5);
    });
}

/// A version of `bytes`, listed through a proxy.
async fn through(
    proxy: &FaultProxy,
    bytes: usize,
    stall: Duration,
) -> (ObjectSource, modelgate::registry::Listed) {
    let options = server().bucket();
    let (_files, package) = package(bytes);
    push(&target(&options), &name("iris"), None, &package, &Progress::default())
        .await
        .expect("pushed");
    let source = ObjectSource::new("test", moto::at(&options, proxy.address), SECOND, stall);
    let listed = listed(&source, "iris", 1).await;
    (source, listed)
}

#[test]
fn a_transfer_that_breaks_off_goes_on_where_it_was() {
    let proxy = FaultProxy::to(server().address);
    block_on(async {
        let (source, listed) = through(&proxy, 2_500_000, 30 * SECOND).await;
        proxy.take_connections();
        proxy.set(Fault::Break(100_000));
        let files = fetch(&source, &listed).await.expect("it comes in pieces");
        assert_eq!(files[1].1, model(1, 2_500_000));
        let connections = proxy.take_connections();
        assert!(
            (10..40).contains(&connections),
            "{connections} connections: the rest was asked for"
        );
        proxy.set(Fault::Break(10));
        let error = fetch(&source, &listed).await.expect_err("nothing comes");
        assert!(matches!(error, SourceError::Unreachable(_)), "{error}");
        proxy.set(Fault::None);
        fetch(&source, &listed).await.expect("it recovers by itself");
    });
}

#[test]
fn a_stalled_transfer_is_given_up_and_a_slow_one_is_not() {
    let proxy = FaultProxy::to(server().address);
    block_on(async {
        let stall = Duration::from_millis(1000);
        let (source, listed) = through(&proxy, 200_000, stall).await;
        proxy.set(Fault::Stall(50_000));
        let started = Instant::now();
        let error = fetch(&source, &listed).await.expect_err("nothing comes any more");
        assert!(matches!(error, SourceError::Unreachable(_)), "{error}");
        assert!(started.elapsed() < 20 * SECOND, "{:?}", started.elapsed());
        proxy.set(Fault::Stall(10));
        let error = source.list().await.expect_err("the listing stalls too");
        assert!(matches!(error, SourceError::Unreachable(_)), "{error}");
        // 100 KiB a second: longer than several stalls.
        proxy.set(Fault::Slow(1024, Duration::from_millis(10)));
        let started = Instant::now();
        fetch(&source, &listed).await.expect("it is only slow");
        assert!(started.elapsed() > stall, "{:?}", started.elapsed());
    });
}

#[test]
fn a_fetch_that_is_dropped_leaves_nothing() {
    let proxy = FaultProxy::to(server().address);
    let cached = folder();
    block_on(async {
        let (source, listed) = through(&proxy, 500_000, 30 * SECOND).await;
        let cache = Cache::open(cached.path(), 1 << 30).expect("a cache");
        proxy.set(Fault::Stall(100_000));
        let (progress, keep) = (Progress::default(), HashSet::new());
        tokio::select! {
            fetched = cache.fetch(&source, &listed, &progress, &keep) => panic!("{fetched:?}"),
            () = async {
                while progress.bytes() < 50_000 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            } => {}
        }
        let left: Vec<_> = fs::read_dir(cached.path().join(".staging"))
            .expect("a folder")
            .flatten()
            .flat_map(|process| fs::read_dir(process.path()).expect("a folder").flatten())
            .collect();
        assert!(left.is_empty(), "{left:?}");
        proxy.set(Fault::None);
        cache.fetch(&source, &listed, &progress, &keep).await.expect("fetched");
    });
}

#[test]
fn a_corrupted_object_is_refused_by_its_digest() {
    let options = server().bucket();
    let cached = folder();
    let (_files, package) = package(1000);
    block_on(async {
        push(&target(&options), &name("iris"), None, &package, &Progress::default())
            .await
            .expect("pushed");
        let source = source(&options);
        let listed = listed(&source, "iris", 1).await;
        server().put(&options, "iris/1/model.onnx", &model(2, 1000));
        let cache = Cache::open(cached.path(), 1 << 30).expect("a cache");
        let fetched = cache.fetch(&source, &listed, &Progress::default(), &HashSet::new()).await;
        let Err(FetchError::Rejected(rejection)) = fetched else { panic!("{fetched:?}") };
        assert!(rejection.to_string().contains("'model.onnx' has digest"), "{rejection}");
        assert_eq!(cache.get(&listed.digest), None);
    });
}

#[test]
fn what_cannot_be_reached_is_told_without_secrets() {
    let options = server().bucket();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr());
    let gone = S3Options {
        endpoint: Some(format!("http://{}", nobody.expect("a port"))),
        ..options.clone()
    };
    let no_bucket = S3Options { bucket: "no-such-bucket".to_owned(), ..options.clone() };
    block_on(async {
        let gone = source(&gone);
        let error = gone.list().await.expect_err("nobody is there");
        assert!(matches!(error, SourceError::Unreachable(_)), "{error}");
        let missing = source(&no_bucket).list().await.expect_err("there is no such bucket");
        assert!(matches!(missing, SourceError::Failed(_)), "{missing}");
        for shown in
            [format!("{gone:?}"), format!("{options:?}"), error.to_string(), gone.location()]
        {
            assert!(!shown.contains("hush"), "{shown}");
        }
    });
}
