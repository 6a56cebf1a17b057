//! Records that a thread of the log writes for others: those of level `async`,
//! and those of detached shards whose policy is strict.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use super::disk::reason;
use super::writer::{Mode, Writer};
use super::{Encode, LogOptions, NotKept, Place, Shared};
use crate::background::Handover;
use crate::predictions::frame::Kind;

/// Bytes of a batch, after which it is written.
const BATCH: usize = 256 << 10;

/// Strict records that wait; more are answered at once that they are not kept.
const HANDED: usize = 1024;

/// How often the thread looks: often while records come, and seldom after so
/// many looks without any.
const OFTEN: Duration = Duration::from_millis(5);
const SELDOM: Duration = Duration::from_millis(20);
const QUIET: u32 = 100;

/// What waits for the log's thread.
pub(super) struct Queue {
    records: Handover<Box<dyn Encode>>,
    bytes: AtomicUsize,
    most_bytes: usize,
    /// Records that found it full, since they were last accounted for.
    dropped: AtomicU64,
    handed: Handover<Handed>,
    handed_bytes: AtomicUsize,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Queue")
    }
}

/// A record that somebody waits for.
struct Handed {
    kind: Kind,
    payload: Vec<u8>,
    done: Done,
}

type Done = oneshot::Sender<Result<Place, NotKept>>;

impl Queue {
    pub(super) fn new(options: &LogOptions) -> Queue {
        Queue {
            records: Handover::new(options.queue_records.max(1)),
            bytes: AtomicUsize::new(0),
            most_bytes: options.queue_bytes,
            dropped: AtomicU64::new(0),
            handed: Handover::new(HANDED),
            handed_bytes: AtomicUsize::new(0),
        }
    }

    /// Takes a record, without a lock, a call or a wake-up. Full: it is counted and dropped.
    pub(super) fn offer(&self, record: Box<dyn Encode>) -> bool {
        let bytes = record.bytes();
        let fits = self.bytes.fetch_add(bytes, Relaxed).saturating_add(bytes) <= self.most_bytes;
        if fits && self.records.offer(record).is_ok() {
            return true;
        }
        self.bytes.fetch_sub(bytes, Relaxed);
        self.dropped.fetch_add(1, Relaxed);
        false
    }

    /// Takes a record that somebody waits for. `None` where there is no room.
    pub(super) fn hand_over(
        &self,
        kind: Kind,
        payload: &[u8],
    ) -> Option<oneshot::Receiver<Result<Place, NotKept>>> {
        let bytes = payload.len();
        let (done, result) = oneshot::channel();
        let fits =
            self.handed_bytes.fetch_add(bytes, Relaxed).saturating_add(bytes) <= self.most_bytes;
        if fits && self.handed.offer(Handed { kind, payload: payload.to_vec(), done }).is_ok() {
            return Some(result);
        }
        self.handed_bytes.fetch_sub(bytes, Relaxed);
        None
    }

    /// Records that wait.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether anything is to be done: records, or what was dropped.
    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.handed.is_empty() && self.dropped.load(Relaxed) == 0
    }
}

pub(super) fn run(shared: &Shared) {
    let mut quiet = 0;
    loop {
        // Looked at before the queue: what was offered before the end is written.
        let closing = shared.is_closing();
        if pass(shared, closing) {
            quiet = 0;
            continue;
        }
        if closing {
            return;
        }
        quiet = (quiet + 1).min(QUIET);
        thread::park_timeout(if quiet < QUIET { OFTEN } else { SELDOM });
    }
}

/// Writes one batch. Says whether there is more. While the shard is detached
/// what nobody waits for stays in the queue, unless this is the end.
pub(super) fn pass(shared: &Shared, closing: bool) -> bool {
    let queue = &shared.queue;
    let shard = shared.own_shard();
    if queue.is_empty() {
        return false;
    }
    let mut writer = shard.writer();
    if writer.mode != Mode::Attached {
        refuse(shared, &mut writer, closing);
        return false;
    }
    let mut done: Vec<(Done, u64)> = Vec::new();
    writer.begin();
    while writer.batch_bytes() < BATCH
        && let Some(handed) = queue.handed.take()
    {
        queue.handed_bytes.fetch_sub(handed.payload.len(), Relaxed);
        done.push((handed.done, writer.batch_next()));
        writer.push(handed.kind, |payload| payload.extend_from_slice(&handed.payload));
    }
    while writer.batch_bytes() < BATCH
        && let Some(record) = queue.records.take()
    {
        queue.bytes.fetch_sub(record.bytes(), Relaxed);
        push(queue, &mut writer, &*record);
    }
    let dropped = queue.dropped.swap(0, Relaxed);
    if dropped > 0 {
        writer.push_dropped(dropped);
    }
    let written = writer.commit(shard.keeps());
    drop(writer);
    let written = written.map_err(|error| {
        shared.metrics.failed("append", reason(&error));
        shared.metrics.set_degraded(true);
        shared.wake_keeper();
        NotKept::from(error.to_string())
    });
    for (done, sequence) in done {
        let place = Place { shard: shard.number, sequence };
        let _ = done.send(written.clone().map(|()| place));
    }
    !queue.is_empty()
}

/// A record that panics is dropped alone.
fn push(queue: &Queue, writer: &mut Writer, record: &dyn Encode) {
    let before = writer.batch_bytes();
    let pushed = AssertUnwindSafe(|| writer.push(record.kind(), |payload| record.encode(payload)));
    if catch_unwind(pushed).is_err() {
        writer.take_back(before);
        queue.dropped.fetch_add(1, Relaxed);
    }
}

fn refuse(shared: &Shared, writer: &mut Writer, closing: bool) {
    let queue = &shared.queue;
    let problem = writer.problem.clone();
    while let Some(handed) = queue.handed.take() {
        queue.handed_bytes.fetch_sub(handed.payload.len(), Relaxed);
        writer.refuse(1);
        let problem = problem.as_deref().unwrap_or("it was closed");
        let _ = handed.done.send(Err(NotKept::from(problem.to_owned())));
    }
    while closing && let Some(record) = queue.records.take() {
        queue.bytes.fetch_sub(record.bytes(), Relaxed);
        writer.refuse(1);
    }
    if closing {
        let dropped = queue.dropped.swap(0, Relaxed);
        writer.refuse(dropped);
    }
}
