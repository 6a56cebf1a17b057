//! Keepers that are killed at any moment: nothing is lost, nothing is there twice.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use modelgate::predictions::Schemas;
use modelgate::predictions::account::Entry;
use modelgate::telemetry::LogMetrics;
use modelgate::types::next_random;

use crate::support::segments::SegmentWriter;
use crate::table::{HOUR, START, column, head, push, read, schema};
use crate::{entries, files, open, parquet, wait_for};

const ROOT: &str = "MODELGATE_TEST_ARCHIVE";
const KILLS: usize = 60;
const RECORDS: u64 = 300;

/// What is killed: another process of this program.
#[test]
#[ignore = "does nothing by itself"]
fn convert_in_a_process_of_its_own() {
    let Ok(root) = std::env::var(ROOT) else { return };
    let mut keeper = open(Path::new(&root), &Arc::<LogMetrics>::default()).expect("kept");
    loop {
        let mut waiting = keeper.waiting().expect("read");
        // One after the other, so that there are many moments to be killed at.
        waiting.truncate(1);
        keeper.convert(&mut waiting, &AtomicBool::new(false)).expect("converted");
    }
}

#[test]
fn whoever_is_killed_loses_nothing_and_does_nothing_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let schema = Arc::new(schema("fraud", 1));
    Schemas::new(root.to_owned()).keep(&schema).expect("kept");
    let mut written = BTreeSet::new();
    let mut write = |index: usize| {
        let (shard, part) = ((index % 3) as u32, (index / 3) as u64);
        let mut segment = SegmentWriter::new(shard, 7, part * RECORDS);
        for at in 0..RECORDS {
            let time = START + HOUR * (at % 2) as i64;
            let sequence = push(&mut segment, head(schema.id(), "r", time), 1, at as f32);
            written.insert(format!("{shard}/{sequence}"));
        }
        segment.seal(root);
    };
    let mut killed = 0;
    for kill in 0..KILLS {
        for index in 0..3 {
            write(kill * 3 + index);
        }
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "kills::convert_in_a_process_of_its_own", "--ignored"])
            .env(ROOT, root)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("this program starts");
        // In the middle of something: not before it has begun, and at any moment after.
        let converted = entries_whole(root);
        wait_for("a step", || {
            entries_whole(root) > converted || child.try_wait().is_ok_and(|ended| ended.is_some())
        });
        std::thread::sleep(Duration::from_micros(next_random() % 20_000));
        child.kill().expect("killed");
        killed += usize::from(!child.wait().expect("ended").success());
    }
    assert_eq!(killed, KILLS);
    let mut keeper = open(root, &Arc::<LogMetrics>::default()).expect("kept");
    let mut waiting = keeper.waiting().expect("read");
    while !waiting.is_empty() {
        keeper.convert(&mut waiting, &AtomicBool::new(false)).expect("converted");
    }
    let mut found = Vec::new();
    for path in parquet(root).values() {
        let rows = read(path);
        let shards = column(&rows, "shard").into_iter();
        found.extend(
            shards
                .zip(column(&rows, "sequence"))
                .map(|(shard, number)| format!("{shard}/{number}")),
        );
    }
    eprintln!(
        "{} records, {KILLS} kills: lost {}, twice {}",
        written.len(),
        written.len() - found.iter().collect::<BTreeSet<_>>().len(),
        found.len() - found.iter().collect::<BTreeSet<_>>().len(),
    );
    assert_eq!(found.len(), written.len());
    assert!(found.into_iter().collect::<BTreeSet<_>>() == written);
    let accounts = entries(root);
    assert_eq!(accounts.len(), KILLS * 3);
    let records: u64 = accounts
        .iter()
        .map(|entry| match entry {
            Entry::Segment(account) => account.records,
            Entry::File(_) | Entry::Compacted(_) => 0,
        })
        .sum();
    assert_eq!(records, written.len() as u64);
    let left: Vec<_> = files(root).into_keys().filter(|name| name.contains("inprogress")).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Lines that are complete, while another process appends to them.
fn entries_whole(root: &Path) -> usize {
    let text = std::fs::read(modelgate::predictions::layout::archive(root)).unwrap_or_default();
    text.iter().filter(|byte| **byte == b'\n').count()
}
