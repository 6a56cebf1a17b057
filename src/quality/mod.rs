//! Live quality: predictions joined with the labels that come later.
//!
//! A network thread pushes what it answered to a queue ([`Quality::saw`]) and
//! goes on. One thread (`worker`) reads the prediction of each row (`extract`),
//! remembers it (`index`) and brings labels to it (`join`), which `judge`
//! compares. Sums (`classification`, `regression`, `reward`) of windows and
//! since the start (`book`) are published as metrics (`publish`). Labels are
//! written to the prediction log first (`keep`).

pub mod book;
pub mod classification;
pub mod extract;
pub mod index;
pub mod intervals;
pub mod join;
pub mod judge;
mod keep;
mod moments;
pub mod publish;
pub mod regression;
pub mod reward;
pub mod scores;
pub mod window;
mod worker;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use smallvec::SmallVec;
use tokio::sync::oneshot;

use crate::background::Handover;
use crate::predictions::{Label, Role};
use crate::telemetry::{QualityDrop, QualityMetrics};
use crate::types::{Code, InferError, ModelName, Tensor, TensorSpec, Version};

pub use extract::{Declared, Task};
pub use join::{Declare, Outcome};
pub use keep::LabelLog;
pub use moments::Moments;

/// Answers that may wait to be taken in; full means drop and count.
const MOST_SEEN: usize = 8192;

/// Bytes of outputs that they may keep alive.
const MOST_SEEN_BYTES: usize = 32 << 20;

/// And of one answer's. Whoever looks at them runs on idle cores only, and on a
/// busy machine would keep an answer of this size for long.
const MOST_ANSWER_BYTES: usize = 4 << 20;

/// Labels that may wait to be joined; full means refuse.
const MOST_LABELS: usize = 100_000;

/// Labels of one call.
pub const MOST_IN_BATCH: usize = 1000;

/// How long a call waits to be told what became of its labels.
const PATIENCE: Duration = Duration::from_secs(2);

/// A version that answers, as far as it matters here.
pub trait Served: Send + Sync {
    fn model(&self) -> &ModelName;
    fn version(&self) -> Version;
    /// Of the signature.
    fn outputs(&self) -> &[TensorSpec];
}

/// One answer. Shares the bytes of its tensors.
pub struct Observed {
    /// The prediction's id.
    pub id: SmallVec<[u8; 40]>,
    pub served: Arc<dyn Served>,
    /// The variant that answered.
    pub variant: Bytes,
    pub role: Role,
    /// When the request came; microseconds since 1970.
    pub at: i64,
    pub rows: usize,
    /// Places of `outputs` in the signature.
    pub wanted: SmallVec<[usize; 2]>,
    pub outputs: SmallVec<[Tensor; 2]>,
}

#[derive(Clone)]
pub struct QualityOptions {
    pub bounds: index::Bounds,
    /// How the outputs of a model are to be read.
    pub declare: Arc<Declare>,
    /// Where labels are kept; nowhere where there is none.
    pub log: Option<LabelLog>,
}

/// The way to what is known of predictions' quality. Its thread ends when it is dropped.
pub struct Quality {
    shared: Arc<Shared>,
    log: Option<LabelLog>,
    worker: Option<std::thread::Thread>,
}

/// What network threads and the worker share.
struct Shared {
    wanted: AtomicBool,
    closed: AtomicBool,
    seen: Handover<Observed>,
    seen_bytes: AtomicUsize,
    labels: Handover<Submitted>,
    /// Labels in `labels`.
    waiting: AtomicUsize,
    metrics: Arc<QualityMetrics>,
}

/// Labels of one call.
struct Submitted {
    labels: Vec<Label>,
    reply: oneshot::Sender<Vec<Outcome>>,
}

impl Quality {
    /// Observes nothing and takes no labels.
    pub fn off() -> Arc<Quality> {
        let shared = Shared::new(false, Arc::default());
        Arc::new(Quality { shared: Arc::new(shared), log: None, worker: None })
    }

    /// Starts the thread that joins.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(
        options: QualityOptions,
        metrics: &Arc<QualityMetrics>,
    ) -> io::Result<Arc<Quality>> {
        let shared = Arc::new(Shared::new(true, Arc::clone(metrics)));
        let joiner = join::Joiner::new(options.bounds, Arc::clone(metrics), options.declare);
        let worker = worker::start(Arc::clone(&shared), joiner)?;
        Ok(Arc::new(Quality { shared, log: options.log, worker: Some(worker) }))
    }

    /// Whether answers are to be shown to [`Quality::saw`]. One load.
    pub fn is_wanted(&self) -> bool {
        self.shared.wanted.load(Ordering::Relaxed)
    }

    /// Whether an answer would be taken now; counts it as dropped where it is wanted and would not.
    pub fn has_room(&self) -> bool {
        let is_wanted = self.is_wanted();
        let is_full = is_wanted && self.shared.seen.is_full();
        if is_full {
            self.shared.metrics.dropped(QualityDrop::QueueFull);
        }
        is_wanted && !is_full
    }

    /// Takes an answer, or drops and counts it. Never waits, wakes nobody, takes no lock.
    pub fn saw(&self, observed: Observed) {
        let shared = &*self.shared;
        let bytes = observed.bytes();
        if bytes > MOST_ANSWER_BYTES {
            return shared.metrics.dropped(QualityDrop::Memory);
        }
        if shared.seen_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > MOST_SEEN_BYTES {
            shared.seen_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return shared.metrics.dropped(QualityDrop::Memory);
        }
        if shared.seen.offer(observed).is_err() {
            shared.seen_bytes.fetch_sub(bytes, Ordering::Relaxed);
            shared.metrics.dropped(QualityDrop::QueueFull);
        }
    }

    /// Keeps labels and joins them with their predictions. Says what became of
    /// each, in their order. To be awaited on a network thread: it does not block.
    ///
    /// # Errors
    /// `FailedPrecondition` where quality is turned off; `Unavailable` where
    /// too many labels wait, or where they have to be kept and cannot be. Some
    /// may have been kept then: sending all again counts none twice.
    pub async fn submit(&self, labels: Vec<Label>) -> Result<Vec<Outcome>, InferError> {
        let Some(worker) = self.worker.as_ref().filter(|_| self.is_wanted()) else {
            let message = "labels are not taken here: the configuration has turned quality off";
            return Err(InferError::new(Code::FailedPrecondition, message));
        };
        let count = labels.len();
        let room = Room::take(&self.shared, count)?;
        if let Some(log) = &self.log {
            log.keep(&labels).await?;
        }
        let (reply, outcomes) = oneshot::channel();
        if self.shared.labels.offer(Submitted { labels, reply }).is_err() {
            return Err(too_many());
        }
        room.hand_over();
        worker.unpark();
        match tokio::time::timeout(PATIENCE, outcomes).await {
            Ok(Ok(outcomes)) => Ok(outcomes),
            // The thread yields to requests, and may get no time for a while.
            _ => Ok(vec![Outcome::Accepted; count]),
        }
    }
}

impl Drop for Quality {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        if let Some(worker) = &self.worker {
            worker.unpark();
        }
    }
}

impl Shared {
    fn new(wanted: bool, metrics: Arc<QualityMetrics>) -> Shared {
        // Nothing is pushed where nothing is wanted.
        let (seen, calls) = if wanted { (MOST_SEEN, MOST_SEEN) } else { (1, 1) };
        Shared {
            wanted: AtomicBool::new(wanted),
            closed: AtomicBool::new(false),
            seen: Handover::new(seen),
            seen_bytes: AtomicUsize::new(0),
            labels: Handover::new(calls),
            waiting: AtomicUsize::new(0),
            metrics,
        }
    }
}

impl Observed {
    /// Bytes of outputs that it keeps alive, but for those that share a batch's memory with it.
    fn bytes(&self) -> usize {
        self.outputs.iter().map(|tensor| tensor.data().len()).sum()
    }
}

/// Places of labels that are on their way to the worker; given back when dropped.
struct Room<'a> {
    shared: &'a Shared,
    labels: usize,
}

impl<'a> Room<'a> {
    fn take(shared: &'a Shared, labels: usize) -> Result<Room<'a>, InferError> {
        let before = shared.waiting.fetch_add(labels, Ordering::Relaxed);
        let room = Room { shared, labels };
        if before + labels > MOST_LABELS { Err(too_many()) } else { Ok(room) }
    }

    /// From now on the worker gives them back.
    fn hand_over(mut self) {
        self.labels = 0;
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.shared.waiting.fetch_sub(self.labels, Ordering::Relaxed);
    }
}

fn too_many() -> InferError {
    InferError::new(Code::Unavailable, "too many labels wait to be joined; try again later")
}

/// Microseconds since 1970.
pub fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
