//! A shard: its writer behind a lock that is held for one write at most, and
//! how far its records are on the disk.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use tokio::sync::watch;

use super::writer::Writer;

#[derive(Debug)]
pub(super) struct Shard {
    pub(super) number: u32,
    /// Whether records go here; else it is of an earlier run with more threads.
    pub(super) used: bool,
    writer: Mutex<Writer>,
    progress: watch::Sender<Progress>,
    /// Appends that wait for a flush, since the last one began.
    pub(super) waiting: AtomicU64,
    /// Whether anybody ever waited for a flush here: from then on what was not
    /// flushed yet is kept in memory.
    pub(super) flushes: AtomicBool,
    /// The keeper wants a flush.
    pub(super) urgent: AtomicBool,
}

/// How far a shard's records are on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// One past the last number of which all is on the disk.
    durable: u64,
    /// Numbers that a flush failed for, and could not be written again. Wins over `durable`.
    failed: Range<u64>,
}

impl Progress {
    /// Whether a record is on the disk. `None` while that is open.
    pub(super) fn of(&self, sequence: u64) -> Option<bool> {
        if self.failed.contains(&sequence) {
            Some(false)
        } else {
            (sequence < self.durable).then_some(true)
        }
    }
}

impl Shard {
    pub(super) fn new(writer: Writer, used: bool) -> Shard {
        let progress = Progress { durable: writer.next, failed: 0..0 };
        Shard {
            number: writer.number,
            used,
            writer: Mutex::new(writer),
            progress: watch::Sender::new(progress),
            waiting: AtomicU64::new(0),
            flushes: AtomicBool::new(false),
            urgent: AtomicBool::new(false),
        }
    }

    /// Waits for a write of the shard's own thread, if there is one. After a
    /// panic the writer is whole: its buffer is begun anew by every batch.
    pub(super) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` while its own thread writes.
    pub(super) fn try_writer(&self) -> Option<MutexGuard<'_, Writer>> {
        match self.writer.try_lock() {
            Ok(writer) => Some(writer),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Whether flushes are waited for, so that appends keep what they wrote.
    pub(super) fn keeps(&self) -> bool {
        self.flushes.load(Relaxed)
    }

    pub(super) fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// All numbers below are on the disk.
    pub(super) fn is_durable(&self, below: u64) {
        self.progress.send_if_modified(|progress| {
            let further = below > progress.durable;
            progress.durable = progress.durable.max(below);
            further
        });
    }

    /// Of the numbers below `below`, those that are not on the disk may never be.
    pub(super) fn is_lost(&self, below: u64) {
        self.progress.send_if_modified(|progress| {
            let lost = progress.durable..below;
            if lost.is_empty() {
                return false;
            }
            // Who waits for a number of the earlier range may not have seen it yet.
            let from = if progress.failed.is_empty() { lost.start } else { progress.failed.start };
            progress.failed = from..below;
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_stays_failed() {
        let progress = Progress { durable: 9, failed: 3..5 };
        let seen: Vec<_> = [2, 3, 5, 9].map(|sequence| progress.of(sequence)).into();
        assert_eq!(seen, [Some(true), Some(false), Some(true), None]);
    }
}
