//! Appends records to segments, as surely as was asked for.
//!
//! Every thread that answers requests has a shard of its own (`shard`,
//! `writer`) and appends with one write to a file whose blocks are reserved.
//! Three threads do what takes time: one brings appends to the disk
//! (`flusher`), one writes what others hand over (`queue`), and one prepares
//! and seals segments and attaches shards again whose disk failed (`keeper`,
//! `reattach`). Sequence numbers and open gaps stand on a mapped page
//! (`ledger`), so that records + gaps = range whatever ends the process.
//! `recover` and `verify` hold the files to that.

mod contents;
mod disk;
mod flusher;
mod keeper;
mod ledger;
mod page;
mod queue;
mod ranges;
mod reattach;
mod recover;
mod ring;
mod segment;
mod shard;
mod start;
pub mod verify;
mod writer;

#[cfg(test)]
mod simulated;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::oneshot;

pub use contents::Contents;
pub use ranges::Ranges;

use self::disk::{Disk, Lock};
use self::queue::Queue;
use self::shard::Shard;
use self::writer::{Mode, Writer, Written};
use super::frame::{Kind, MAX_PAYLOAD};
use super::policy::OnFailure;
use crate::telemetry::LogMetrics;

#[derive(Debug, Error)]
pub enum LogError {
    #[error("cannot use the folder of the prediction log '{folder}': {source}")]
    Folder { folder: PathBuf, source: io::Error },
    #[error("the folder of the prediction log '{0}' is in use by another gateway")]
    InUse(PathBuf),
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
}

#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The log's folder.
    pub root: PathBuf,
    /// Threads that append on their own: one shard each.
    pub shards: usize,
    /// A segment is sealed at this size or age. A file of this size is
    /// reserved for every shard, and a second one while the first fills.
    pub segment_bytes: u64,
    pub segment_age: Duration,
    /// The longest that a record at level `process` waits for the disk.
    pub flush_every: Duration,
    /// Two appends in a row that take longer detach their shard, or one that
    /// takes ten times as long.
    pub slow_append: Duration,
    /// Records that wait at level `async`: most, and their bytes.
    pub queue_records: usize,
    pub queue_bytes: usize,
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub shard: u32,
    pub sequence: u64,
}

/// What came of an append.
#[derive(Debug)]
pub enum Appended {
    /// The kernel has it.
    Kept(Place),
    /// The shard is detached, and the policy strict: a log thread has the record.
    Pending(oneshot::Receiver<Result<Place, NotKept>>),
    /// It is a counted gap.
    Gap,
}

/// Why a record could not be kept. Its sequence numbers are a gap.
#[derive(Clone, Debug, Error)]
#[error("the prediction log cannot be written: {0}")]
pub struct NotKept(pub Arc<str>);

impl From<String> for NotKept {
    fn from(why: String) -> NotKept {
        NotKept(Arc::from(why))
    }
}

/// A record that is encoded by the thread that writes it.
pub trait Encode: Send {
    fn kind(&self) -> Kind;
    /// Appends the payload.
    fn encode(&self, payload: &mut Vec<u8>);
    /// Bytes it holds while it waits: the same whenever it is asked.
    fn bytes(&self) -> usize;
}

/// What a start found of earlier runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Segments that were not sealed, and their records.
    pub segments: u64,
    pub records: u64,
    /// Numbers that turned out to have no record.
    pub missing: u64,
    /// Damaged places and files.
    pub damaged: u64,
}

/// How the log is at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub shards: usize,
    /// Shards whose records cannot be written at the moment, and why one of them cannot.
    pub detached: usize,
    pub problem: Option<Arc<str>>,
    /// Records that wait at level `async`.
    pub waiting: usize,
}

/// The segments of one gateway.
#[derive(Debug)]
pub struct Log {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    recovered: Recovered,
    /// Tells logs apart in a thread's note of its shard.
    id: u64,
    /// Threads that have taken a shard.
    taken: AtomicUsize,
}

/// What the log's threads share.
struct Shared {
    options: LogOptions,
    metrics: Arc<LogMetrics>,
    disk: Arc<dyn Disk>,
    epoch: u64,
    /// One of each appending thread, that of the log's own thread, and then
    /// those that earlier runs left and this one does not use.
    shards: Vec<Shard>,
    queue: Queue,
    /// Files that were prepared: for their names.
    prepared: AtomicU64,
    closing: AtomicBool,
    flusher: OnceLock<Thread>,
    keeper: OnceLock<Thread>,
    writer: OnceLock<Thread>,
    _lock: Lock,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shared").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Shared {
    fn is_closing(&self) -> bool {
        self.closing.load(Relaxed)
    }

    /// The shard of the log's own thread.
    fn own_shard(&self) -> &Shard {
        &self.shards[self.options.shards]
    }

    fn count_prepared(&self) -> u64 {
        self.prepared.fetch_add(1, Relaxed)
    }

    fn wake_flusher(&self) {
        self.flusher.get().inspect(|thread| thread.unpark());
    }

    fn wake_keeper(&self) {
        self.keeper.get().inspect(|thread| thread.unpark());
    }

    fn wake_writer(&self) {
        self.writer.get().inspect(|thread| thread.unpark());
    }

    /// What becomes of a strict record that this thread's shard does not take.
    fn hand_over(&self, kind: Kind, payload: &[u8]) -> Option<Waited> {
        let handed = self.queue.hand_over(kind, payload);
        self.wake_writer();
        handed
    }
}

/// What a strict record waits for.
type Waited = oneshot::Receiver<Result<Place, NotKept>>;

fn not_kept(writer: &Writer) -> Waited {
    let (done, result) = oneshot::channel();
    let problem = writer.problem.as_deref().unwrap_or("it was closed");
    let _ = done.send(Err(NotKept::from(problem.to_owned())));
    result
}

thread_local! {
    /// The log that this thread appended to last, and its shard there.
    static SHARD: Cell<(u64, usize)> = const { Cell::new((0, 0)) };
}

impl Log {
    pub fn root(&self) -> &Path {
        &self.shared.options.root
    }

    /// What the start found of earlier runs.
    pub fn recovered(&self) -> Recovered {
        self.recovered
    }

    /// Appends on this thread, with one write and no wait but the kernel's.
    /// `encode` appends the payload, and may be called once or not at all.
    ///
    /// A thread takes a shard with its first append. Where there are more
    /// threads than shards, some share one and may wait for each other's writes.
    pub fn append(
        &self,
        kind: Kind,
        on_failure: OnFailure,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Appended {
        let shared = &*self.shared;
        let shard = self.shard_of_thread();
        let mut writer = shard.writer();
        if writer.mode != Mode::Attached {
            return self.append_detached(&mut writer, kind, on_failure, encode);
        }
        let answer = match writer.append(kind, encode, shard.keeps()) {
            Written::Kept(sequence) => Appended::Kept(Place { shard: shard.number, sequence }),
            Written::Failed(payload) if on_failure == OnFailure::Strict => {
                let handed = shared.hand_over(kind, writer.payload(payload));
                Appended::Pending(handed.unwrap_or_else(|| not_kept(&writer)))
            }
            Written::TooLarge | Written::Failed(_) => Appended::Gap,
        };
        if writer.mode != Mode::Attached {
            self.detached(&writer);
        }
        answer
    }

    /// Waits until the disk has what stands at `place`, together with what others wait for.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub async fn flushed(&self, place: Place) -> Result<(), NotKept> {
        let shared = &*self.shared;
        let Some(shard) = shared.shards.get(place.shard as usize) else {
            return Err(NotKept::from(format!("there is no shard {}", place.shard)));
        };
        if !shard.keeps() {
            shard.flushes.store(true, Relaxed);
        }
        let mut progress = shard.watch();
        let mut asked = false;
        loop {
            match progress.borrow_and_update().of(place.sequence) {
                Some(true) => return Ok(()),
                Some(false) => {
                    let problem = shard.writer().problem.clone();
                    let why = problem.unwrap_or_else(|| Arc::from("a flush failed"));
                    return Err(NotKept(why));
                }
                None => {}
            }
            if !asked {
                shard.waiting.fetch_add(1, Relaxed);
                shared.wake_flusher();
                asked = true;
            }
            if progress.changed().await.is_err() {
                return Err(NotKept::from("it was closed".to_owned()));
            }
        }
    }

    /// Hands a record to a log thread and goes on; a full queue drops and
    /// counts it. Says whether it was taken.
    pub fn offer(&self, record: Box<dyn Encode>) -> bool {
        !self.shared.is_closing() && self.shared.queue.offer(record)
    }

    pub fn status(&self) -> Status {
        let shards = &self.shared.shards;
        let mut detached = shards.iter().filter_map(|shard| {
            // A shard whose thread is writing is attached.
            let writer = shard.try_writer()?;
            let is_detached = matches!(writer.mode, Mode::Slow | Mode::Failed);
            is_detached.then(|| writer.problem.clone())
        });
        let first = detached.next();
        Status {
            shards: shards.len(),
            detached: usize::from(first.is_some()) + detached.count(),
            problem: first.flatten(),
            waiting: self.shared.queue.len(),
        }
    }

    /// Writes what was offered, seals all segments and ends the log's threads.
    /// What is appended from now on is a gap.
    pub fn close(&self) {
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        if threads.is_empty() {
            return;
        }
        self.shared.closing.store(true, Relaxed);
        for thread in threads {
            thread.thread().unpark();
            // One that panicked has nothing more to do.
            let _ = thread.join();
        }
        start::end(&self.shared);
    }

    /// Does no I/O.
    fn append_detached(
        &self,
        writer: &mut Writer,
        kind: Kind,
        on_failure: OnFailure,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Appended {
        if on_failure == OnFailure::BestEffort {
            writer.refuse(1);
            return Appended::Gap;
        }
        let mut payload = Vec::new();
        encode(&mut payload);
        if payload.len() > MAX_PAYLOAD {
            writer.refuse(1);
            return Appended::Gap;
        }
        let open = writer.mode != Mode::Closed;
        let handed = open.then(|| self.shared.hand_over(kind, &payload)).flatten();
        Appended::Pending(handed.unwrap_or_else(|| {
            writer.refuse(1);
            not_kept(writer)
        }))
    }

    fn shard_of_thread(&self) -> &Shard {
        let (log, shard) = SHARD.get();
        if log == self.id {
            return &self.shared.shards[shard];
        }
        let shard = self.taken.fetch_add(1, Relaxed) % self.shared.options.shards;
        SHARD.set((self.id, shard));
        &self.shared.shards[shard]
    }

    /// Tells the keeper, and whoever looks at the metrics.
    #[cold]
    fn detached(&self, writer: &Writer) {
        let metrics = &self.shared.metrics;
        metrics.failed("append", writer.reason);
        metrics.set_degraded(true);
        self.shared.wake_keeper();
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.close();
    }
}
