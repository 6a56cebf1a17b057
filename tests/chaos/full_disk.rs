//! Labels that have to be kept, and the archive, on a disk that is full. Needs
//! small disks, and so the right to mount them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use modelgate::predictions::archive::{Archive, ArchiveOptions, Keep, now_us};
use modelgate::predictions::store::verify::verify;
use modelgate::predictions::{
    Appended, Kind, Label, Log, LogOptions, OnFailure, Schemas, Truth, layout,
};
use modelgate::telemetry::LogMetrics;
use modelgate::types::next_random;
use serde_json::json;

use crate::mounted::Mounted;
use crate::support::gateway::Gateway;
use crate::support::http::Request;
use crate::support::log;
use crate::world::{PATIENCE, World, until};

/// Sends labels for requests of these ids, and gives the status.
fn label(gateway: &Gateway, ids: &[String]) -> u16 {
    let items: Vec<_> = ids.iter().map(|id| json!({"id": id, "reward": 1.0})).collect();
    Request::post("/v1/feedback", json!(items).to_string()).send(gateway.http).status
}

/// How often the log has a label for each request.
fn labels(root: &Path) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    for label in log::labels(root).into_values() {
        *found.entry(label.request_id).or_default() += 1;
    }
    found
}

#[test]
#[ignore = "mounts a file system"]
fn labels_that_have_to_be_kept_are_refused_while_they_cannot_be() {
    let mounted = Mounted::new("labels", "16m").expect("the right to mount a tmpfs");
    let root = mounted.0.join("log");
    let world = World::new();
    let config = format!(
        "server: {{threads: 1}}\npredictions:\n  dir: {}\n  segment_bytes: 1048576\n  \
         segment_age_ms: 3600000\n  defaults: {{level: process, on_failure: strict}}",
        root.display()
    );
    let gateway = world.launch().config(&config).start();
    let one = |number: usize| vec![format!("label-{number}")];
    assert_eq!(label(&gateway, &one(0)), 200);
    // What is reserved is used up by batches. The last of them may be there in part:
    // whoever sends it again says the same twice.
    let batches = (0..).map(|batch| {
        let ids: Vec<_> = (0..1000).map(|at| format!("batch-{batch}-{at:040}")).collect();
        mounted.fill();
        label(&gateway, &ids)
    });
    let statuses: Vec<u16> = batches.take_while(|status| *status == 200).collect();
    assert!(!statuses.is_empty(), "some were kept");
    for number in 1..20 {
        mounted.fill();
        assert_eq!(label(&gateway, &one(number)), 503);
    }
    mounted.make_room();
    until("room", || (label(&gateway, &one(20)) == 200).then_some(()));
    gateway.terminate();
    gateway.wait(PATIENCE);
    let found = labels(&root);
    for number in 0..21 {
        let expected = u32::from(number == 0 || number == 20);
        let count = found.get(&one(number)[0]).copied().unwrap_or(0);
        assert_eq!(count, expected, "label {number}");
    }
    let in_batches = found.keys().filter(|id| id.starts_with("batch-")).count();
    assert!(in_batches >= statuses.len() * 1000, "{in_batches} of {} batches", statuses.len());
    let report = verify(&root).expect("a report");
    assert!(report.complete, "{report:?}");
}

fn archive(root: &Path, keep: Keep, metrics: &Arc<LogMetrics>) -> Archive {
    let options = ArchiveOptions { root: root.to_owned(), keep, ship: None };
    let schemas = Arc::new(Schemas::new(root.to_owned()));
    Archive::start(options, schemas, Arc::clone(metrics)).expect("an archive")
}

/// Appends labels with ids that cannot be made smaller, and says how many were kept.
fn append(log: &Log, count: u64) -> u64 {
    let kept = (0..count).filter(|_| {
        let random: String = (0..8).map(|_| format!("{:016x}", next_random())).collect();
        let label = Label {
            request_id: random,
            row: 0,
            label_time: now_us(),
            recorded_time: now_us(),
            truth: Truth::Reward(1.0),
            weight: 1.0,
            model: String::new(),
        };
        let encode = |payload: &mut Vec<u8>| label.encode(payload);
        matches!(log.append(Kind::Label, OnFailure::BestEffort, encode), Appended::Kept(_))
    });
    kept.count() as u64
}

fn bytes(root: &Path, extension: &str) -> u64 {
    let files = log::files(root).into_iter();
    let files = files.filter(|file| file.extension().is_some_and(|other| other == extension));
    files.filter_map(|file| fs::metadata(file).ok()).map(|file| file.len()).sum()
}

#[test]
#[ignore = "mounts a file system"]
fn the_archive_waits_on_a_full_disk_and_catches_up_when_retention_makes_room() {
    let mounted = Mounted::new("archive", "16m").expect("the right to mount a tmpfs");
    let root = mounted.0.join("log");
    let metrics = Arc::<LogMetrics>::default();
    let options = LogOptions {
        root: root.clone(),
        shards: 1,
        segment_bytes: 256 << 10,
        segment_age: Duration::from_millis(200),
        flush_every: Duration::from_millis(50),
        slow_append: Duration::from_secs(10),
        queue_records: 100,
        queue_bytes: 1 << 20,
    };
    let log = Log::open(options, Arc::clone(&metrics)).expect("a log");
    let keeps_all = archive(&root, Keep::default(), &metrics);
    let mut kept = append(&log, 8000);
    let all_is_archived = || {
        let waits = bytes(&layout::raw(&root), layout::SEALED) > 0;
        (!waits && log::labels(&root).is_empty()).then_some(())
    };
    until("the first labels in Parquet", all_is_archived);
    let parquet = bytes(&root, "parquet");
    // Full, with segments that wait: nothing can be converted, and records are taken all the same.
    until("a conversion that fails", || {
        mounted.fill();
        kept += append(&log, 50);
        metrics.snapshot().errors.contains_key("archive").then_some(())
    });
    drop(keeps_all);
    let waiting = bytes(&layout::raw(&root), layout::SEALED);
    assert!(waiting > 0);
    let keep = Keep { age: None, bytes: Some(waiting + parquet / 2) };
    let _makes_room = archive(&root, keep, &metrics);
    until("all in Parquet", all_is_archived);
    drop(log);
    let report = verify(&root).expect("a report");
    assert!(report.complete, "{report:?}");
    let found: u64 =
        report.shards.iter().map(|shard| shard.raw_records + shard.archived_records).sum();
    assert_eq!(found, kept, "nothing that was kept went before it was in Parquet");
}
