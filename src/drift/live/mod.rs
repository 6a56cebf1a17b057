//! Traffic of the versions that are served, beside their profiles.
//!
//! Whoever answered shows the rows to [`Drift::saw`]: few are counted there and
//! then (`watch`, `tensors`, `counts`), many are handed to a thread (`worker`),
//! which also looks at all counts every few seconds (`monitor`) and leaves what
//! it found (`report`) for metrics (`reading`) and people (`labels`). Versions
//! that are not the champion are counted into the bins of its profile too
//! (`against`), and compared with it (`pair`). What all of it may take is
//! bounded (`room`).

mod against;
mod counts;
mod labels;
mod monitor;
mod pair;
mod reading;
#[cfg(test)]
mod reading_tests;
mod report;
mod room;
mod tap;
mod tensors;
#[cfg(test)]
mod tests;
mod watch;
mod worker;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use smallvec::SmallVec;

use super::alarm::AlarmRule;
use super::windows::{DAY, HOUR, Window};
use crate::background::Handover;
use crate::telemetry::{DriftDrop, DriftMetrics};
use crate::types::Tensor;

pub use against::Against;
pub use monitor::Monitor;
pub use report::{Bin, Compared, ComparedIn, Comparison, Feature, InWindow, Report};
pub use tap::Rows;
pub use watch::{Active, Found, ProfileSource, Role, Standing, Watch};

/// Numbers that are counted by the thread that answered: some microseconds.
const MOST_AT_ONCE: usize = 1024;

/// Answers that may wait to be counted; full means drop and count.
const MOST_SEEN: usize = 4096;

/// Bytes of tensors that they may keep alive.
const MOST_SEEN_BYTES: usize = 64 << 20;

#[derive(Clone, Debug)]
pub struct DriftOptions {
    /// Windows that scores and alarms are of, from the shortest on.
    pub windows: Vec<Window>,
    /// From one look at the counts to the next.
    pub every: Duration,
    /// How long drift has to be seen before it is an alarm, and not even a
    /// warning before it ends; in place of a profile's own.
    pub hold_us: i64,
    pub keep_us: i64,
    /// As in [`crate::telemetry::TelemetryOptions`].
    pub shards: usize,
}

impl Default for DriftOptions {
    fn default() -> DriftOptions {
        let AlarmRule { hold_us, keep_us, .. } = AlarmRule::default();
        DriftOptions {
            windows: vec![HOUR, DAY],
            every: Duration::from_secs(10),
            hold_us,
            keep_us,
            shards: 0,
        }
    }
}

/// The way to what is known of versions' drift. Its thread ends when it is dropped.
pub struct Drift {
    shared: Arc<Shared>,
    shards: usize,
    worker: Option<std::thread::Thread>,
}

/// What network threads and the worker share.
struct Shared {
    closed: AtomicBool,
    seen: Handover<Seen>,
    seen_bytes: AtomicUsize,
    watches: Mutex<Vec<Weak<Watch>>>,
    /// Tells each watch its champion; before every look.
    champions: OnceLock<Box<dyn Fn() + Send + Sync>>,
    metrics: Arc<DriftMetrics>,
}

/// Rows that wait to be counted. Shares the bytes of their tensors.
struct Seen {
    watch: Arc<Watch>,
    role: Role,
    inputs: SmallVec<[Tensor; 2]>,
    wanted: SmallVec<[usize; 2]>,
    outputs: SmallVec<[Tensor; 2]>,
}

impl Drift {
    /// Watches nothing.
    pub fn off() -> Arc<Drift> {
        let shared = Arc::new(Shared::new(1, Arc::default()));
        Arc::new(Drift { shared, shards: 1, worker: None })
    }

    /// Starts the thread that looks at the counts.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(options: DriftOptions, metrics: &Arc<DriftMetrics>) -> io::Result<Arc<Drift>> {
        let shared = Arc::new(Shared::new(MOST_SEEN, Arc::clone(metrics)));
        let shards = options.shards;
        reading::publish(&shared, &options);
        let worker = worker::start(Arc::clone(&shared), options)?;
        Ok(Arc::new(Drift { shared, shards, worker: Some(worker) }))
    }

    /// Whether versions are watched.
    pub fn is_on(&self) -> bool {
        self.worker.is_some()
    }

    /// As watches are to be made with.
    pub fn shards(&self) -> usize {
        self.shards
    }

    /// Looks after a watch from now on, until nobody else holds it.
    pub fn follow(&self, watch: &Arc<Watch>) {
        if self.is_on() {
            let mut watches = self.shared.locked();
            watches.retain(|watch| watch.strong_count() > 0);
            watches.push(Arc::downgrade(watch));
        }
    }

    /// Says who knows which version is the champion of which: `tell` calls
    /// [`Watch::compare_with`], before every look. To be called once.
    pub fn set_champions(&self, tell: Box<dyn Fn() + Send + Sync>) {
        // Whoever came first is asked.
        let _ = self.shared.champions.set(tell);
    }

    /// The versions that are watched, in the order of their names and numbers.
    pub fn watches(&self) -> Vec<Arc<Watch>> {
        self.shared.watches()
    }

    /// Counts rows, or hands them over, or drops and counts them. Never waits,
    /// wakes nobody, takes no lock that it would wait for.
    pub fn saw(&self, watch: &Arc<Watch>, role: Role, rows: Rows<'_>) {
        let Some(cost) = watch.cost(rows) else { return };
        if cost <= MOST_AT_ONCE {
            if !watch.count(role, rows) {
                self.shared.metrics.dropped(DriftDrop::Busy);
            }
            return;
        }
        self.shared.offer(Seen {
            watch: Arc::clone(watch),
            role,
            inputs: rows.inputs.iter().cloned().collect(),
            wanted: rows.wanted.iter().copied().collect(),
            outputs: rows.outputs.iter().cloned().collect(),
        });
    }
}

impl Drop for Drift {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        if let Some(worker) = &self.worker {
            worker.unpark();
        }
    }
}

impl Shared {
    fn new(room: usize, metrics: Arc<DriftMetrics>) -> Shared {
        Shared {
            closed: AtomicBool::new(false),
            seen: Handover::new(room),
            seen_bytes: AtomicUsize::new(0),
            watches: Mutex::default(),
            champions: OnceLock::new(),
            metrics,
        }
    }

    fn offer(&self, seen: Seen) {
        let bytes = seen.bytes();
        if self.seen_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > MOST_SEEN_BYTES {
            self.seen_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return self.metrics.dropped(DriftDrop::Memory);
        }
        if self.seen.offer(seen).is_err() {
            self.seen_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.metrics.dropped(DriftDrop::QueueFull);
        }
    }

    fn take(&self) -> Option<Seen> {
        let seen = self.seen.take()?;
        self.seen_bytes.fetch_sub(seen.bytes(), Ordering::Relaxed);
        Some(seen)
    }

    fn find_champions(&self) {
        if let Some(tell) = self.champions.get() {
            tell();
        }
    }

    fn watches(&self) -> Vec<Arc<Watch>> {
        let mut watches: Vec<_> = self.locked().iter().filter_map(Weak::upgrade).collect();
        watches.sort_by(|one, other| (&one.model, one.version).cmp(&(&other.model, other.version)));
        watches
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Watch>>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn bytes(&self) -> usize {
        self.inputs.iter().chain(&self.outputs).map(|tensor| tensor.data().len()).sum()
    }

    fn rows(&self) -> Rows<'_> {
        Rows { inputs: &self.inputs, wanted: &self.wanted, outputs: &self.outputs }
    }
}
