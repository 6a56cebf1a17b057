//! Brings what was appended to the disk: one sync of a shard for all who wait.

use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use super::Shared;
use super::disk::reason;
use super::shard::Shard;

/// How soon a shard is tried again whose thread was writing.
const AGAIN: Duration = Duration::from_millis(1);

pub(super) fn run(shared: &Shared) {
    let mut emptied = Vec::new();
    let mut due = shared.disk.now() + shared.options.flush_every;
    while !shared.is_closing() {
        let now = shared.disk.now();
        let all = now >= due;
        if all {
            due = now + shared.options.flush_every;
        }
        let busy = pass(shared, all, &mut emptied);
        if busy {
            thread::park_timeout(AGAIN);
        } else if !shared.shards.iter().any(is_wanted) {
            thread::park_timeout(due.saturating_duration_since(shared.disk.now()));
        }
    }
}

fn is_wanted(shard: &Shard) -> bool {
    shard.waiting.load(Relaxed) > 0 || shard.urgent.load(Relaxed)
}

/// Flushes the shards that are waited for, or all. Says whether one of them
/// was busy writing.
pub(super) fn pass(shared: &Shared, all: bool, emptied: &mut Vec<u8>) -> bool {
    let mut busy = false;
    for shard in shared.shards.iter().filter(|shard| all || is_wanted(shard)) {
        busy |= !flush(shared, shard, emptied);
    }
    busy
}

/// Flushes one shard. Unset where its thread is writing.
pub(super) fn flush(shared: &Shared, shard: &Shard, emptied: &mut Vec<u8>) -> bool {
    let Some(mut writer) = shard.try_writer() else { return false };
    // Whoever is counted appended before: its record is among what is flushed now.
    let waited = shard.waiting.swap(0, Relaxed);
    shard.urgent.store(false, Relaxed);
    let Some(flush) = writer.begin_flush(std::mem::take(emptied)) else { return true };
    drop(writer);
    let failed = flush.files.iter().find_map(|(_, file, _)| file.sync().err());
    let upto = flush.upto;
    let mut writer = shard.writer();
    match failed {
        None => {
            *emptied = writer.end_flush(flush);
            drop(writer);
            shard.is_durable(upto);
            if waited > 0 {
                shared.metrics.flushed(waited);
            }
        }
        Some(error) => {
            writer.lose(flush, &error);
            drop(writer);
            shared.metrics.failed("flush", reason(&error));
            shared.metrics.set_degraded(true);
            shared.wake_keeper();
        }
    }
    true
}
