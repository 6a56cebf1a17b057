//! The store on a simulated disk, driven step by step on one thread, and on
//! real files with its threads.

mod faults;
mod files;
mod flips;
mod schedules;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::disk::Disk;
use super::keeper::Keeper;
use super::simulated::Simulated;
use super::verify::{Report, verify_on};
use super::*;
use crate::predictions::frame::{self, HEADER, Header, Piece};
use crate::predictions::layout;
use crate::telemetry::{Telemetry, TelemetryOptions};

const ROOT: &str = "/log";

fn options(root: &Path) -> LogOptions {
    LogOptions {
        root: root.to_owned(),
        shards: 1,
        segment_bytes: 4096,
        segment_age: Duration::from_secs(60),
        flush_every: Duration::from_millis(200),
        slow_append: Duration::from_millis(5),
        queue_records: 8,
        queue_bytes: 1 << 20,
    }
}

/// A log on a simulated disk, whose threads' work is done on command.
struct Driven {
    disk: Simulated,
    log: Arc<Log>,
    keeper: Keeper,
    telemetry: Telemetry,
    emptied: Vec<u8>,
}

impl Driven {
    fn open(disk: &Simulated) -> Driven {
        Driven::open_with(disk, options(Path::new(ROOT)))
    }

    fn open_with(disk: &Simulated, options: LogOptions) -> Driven {
        let telemetry = Telemetry::new(TelemetryOptions::default());
        let log = Log::open_on(Arc::new(disk.clone()), options, Arc::clone(telemetry.log()));
        let log = log.expect("a log");
        let keeper = Keeper::new(&log.shared);
        Driven { disk: disk.clone(), log, keeper, telemetry, emptied: Vec::new() }
    }

    fn append(&self, payload: &[u8]) -> Appended {
        self.append_by(OnFailure::BestEffort, payload)
    }

    fn append_by(&self, on_failure: OnFailure, payload: &[u8]) -> Appended {
        self.log.append(Kind::Prediction, on_failure, |out| out.extend_from_slice(payload))
    }

    fn flush(&mut self) {
        flusher::pass(&self.log.shared, true, &mut self.emptied);
    }

    fn keep(&mut self) {
        self.keeper.pass(&self.log.shared);
    }

    /// Lets the keeper and the flusher go on until they have nothing to do.
    fn settle(&mut self) {
        for _ in 0..4 {
            self.disk.advance(Duration::from_secs(2));
            self.keep();
            self.flush();
        }
        self.keep();
    }

    fn write_queue(&self) {
        while queue::pass(&self.log.shared, false) {}
    }

    /// Whether a record is on the disk, as whoever waits for it is told.
    fn is_durable(&self, place: Place) -> Option<bool> {
        let shard = &self.log.shared.shards[place.shard as usize];
        shard.flushes.store(true, Relaxed);
        shard.watch().borrow().of(place.sequence)
    }

    /// Whether the metrics have this line.
    fn counts(&self, line: &str) -> bool {
        self.telemetry.render().lines().any(|one| one == line)
    }

    fn verify(&self) -> Report {
        verify(&self.disk)
    }

    fn close(self) {
        start::end(&self.log.shared);
    }
}

fn verify(disk: &Simulated) -> Report {
    verify_on(disk, Path::new(ROOT), false).expect("a report")
}

fn place(appended: &Appended) -> Place {
    match appended {
        Appended::Kept(place) => *place,
        other => panic!("not kept: {other:?}"),
    }
}

/// Where a record stands: epoch, shard, sequence.
type Key = (u64, u32, u64);

/// All segments: path, header, and bytes.
fn segments(disk: &dyn Disk, root: &Path) -> Vec<(PathBuf, Header, Vec<u8>)> {
    let mut found = Vec::new();
    for (name, _) in disk.list(&layout::raw(root)).expect("shards") {
        let folder = layout::raw(root).join(name);
        for (name, _) in disk.list(&folder).expect("segments") {
            if name == "ledger" || name.ends_with(layout::DAMAGED) {
                continue;
            }
            let bytes = disk.read(&folder.join(&name), u64::MAX).expect("a segment");
            if let Some(header) = Header::decode(&bytes) {
                found.push((folder.join(&name), header, bytes));
            }
        }
    }
    found
}

/// All records but gaps. A record that is there twice fails the test.
fn records(disk: &dyn Disk, root: &Path) -> BTreeMap<Key, Vec<u8>> {
    let all = segments(disk, root);
    let mut found = BTreeMap::new();
    for (path, header, bytes) in &all {
        let later = all.iter().filter(|(_, other, _)| {
            (other.shard, other.epoch) == (header.shard, header.epoch)
                && other.created > header.created
        });
        // Nothing of a sealed segment stands elsewhere.
        let is_sealed = path.extension().is_some_and(|extension| extension == layout::SEALED);
        let cut = later.map(|(_, other, _)| other.first).min().filter(|_| !is_sealed);
        let cut = cut.unwrap_or(u64::MAX);
        for piece in frame::scan(bytes, header.epoch, HEADER) {
            let Piece::Record { kind, sequence, payload } = piece else { continue };
            if kind == Kind::Gap {
                continue;
            }
            if sequence >= cut {
                break;
            }
            let key = (header.epoch, header.shard, sequence);
            let before = found.insert(key, bytes[payload].to_vec());
            assert!(before.is_none(), "{key:?} is there twice, again in {}", path.display());
        }
    }
    found
}
