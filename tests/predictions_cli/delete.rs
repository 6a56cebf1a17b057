use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use modelgate::predictions::archive::Keeper;
use modelgate::predictions::{Hasher, Schemas};
use serde_json::Value;

use crate::world::World;

const KEY: &str = "user-1@example.org";

/// Four archived predictions: one under the unit's hash, one under its key as
/// it came, and two of others, one of which is labelled.
fn archived() -> World {
    let world = World::new();
    let hasher = Hasher::of_folder(&world.root()).expect("a key");
    let mut segment = world.segment(0, 0);
    segment.predict(1, "hashed", |head| head.unit = Some(hasher.hash(KEY.as_bytes())));
    segment.predict(2, "kept", |head| head.unit_key = KEY.as_bytes());
    segment.predict(3, "other", |head| head.unit = Some(hasher.hash(b"user-2")));
    segment.predict(4, "labelled", |_| {});
    segment.label(5, "labelled");
    segment.seal();
    let mut keeper = keeper(&world);
    let mut waiting = keeper.waiting().expect("read");
    while !waiting.is_empty() {
        keeper.convert(&mut waiting, &AtomicBool::new(false)).expect("converted");
    }
    world
}

fn keeper(world: &World) -> Keeper {
    let schemas = Arc::new(Schemas::new(world.root()));
    Keeper::open(&world.root(), schemas, Arc::default()).expect("kept")
}

/// Rows of predictions and of labels.
fn rows(world: &World) -> (u64, u64) {
    let report = world.run(&["stats", "-o", "json"]).stdout;
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let rows = |part: &Value| part["rows"].as_u64().unwrap_or(0);
    (rows(&report["models"][0]), rows(&report["labels"]))
}

#[test]
fn a_unit_goes_by_its_key_whether_it_was_hashed_or_not() {
    let world = archived();
    assert_eq!(rows(&world), (4, 1));
    let ended = world.run(&["delete", "--unit-key", KEY, "--yes"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stdout.starts_with("2 rows and 0 labels deleted"), "{}", ended.stdout);
    assert_eq!(rows(&world), (2, 1));
    // What was taken out on request is no loss.
    assert_eq!(world.run(&["verify"]).code, 0, "{}", world.run(&["verify"]).stdout);
}

#[test]
fn a_request_goes_with_its_labels() {
    let world = archived();
    let ended = world.run(&["delete", "--id", "labelled", "--yes"]);
    assert!(ended.stdout.starts_with("1 rows and 1 labels deleted"), "{}", ended.stdout);
    assert_eq!(rows(&world), (3, 0));
}

/// Which keeps the archive's lock.
#[test]
fn a_running_gateway_is_asked_to_do_it() {
    let world = archived();
    let mut keeper = keeper(&world);
    let hash = modelgate::predictions::hash::hex(
        &Hasher::of_folder(&world.root()).expect("a key").hash(b"user-2"),
    );
    let ended = world.run(&["delete", "--unit-hash", &hash, "--yes", "--wait", "0"]);
    assert_eq!(ended.code, 5, "{}", ended.stdout);
    assert_eq!(rows(&world), (4, 1));
    let flags = ["delete", "--unit-hash", &hash, "--yes", "--wait", "60"];
    let mut command: Command = world.command(&flags);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| command.output().expect("the program"));
        while !asking.is_finished() {
            keeper.forget().expect("done");
            std::thread::yield_now();
        }
        assert!(asking.join().expect("no panic").status.success());
    });
    assert_eq!(rows(&world), (3, 1));
}

#[test]
fn nothing_goes_that_was_not_meant() {
    let world = archived();
    let ended = world.run(&["delete", "--unit-key", KEY]);
    assert!(ended.code != 0 && ended.stderr.contains("--yes"), "{}", ended.stderr);
    for flags in [
        &["delete", "--yes"][..],
        &["delete", "--yes", "--unit-hash", "abc"],
        &["delete", "--yes", "--id", "a", "--unit-key", "b"],
    ] {
        assert_eq!(world.run(flags).code, 2, "{flags:?}");
    }
    assert_eq!(rows(&world), (4, 1));
}
