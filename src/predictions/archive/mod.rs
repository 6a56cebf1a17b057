//! Sealed segments become Parquet, are kept for as long as is wanted, and are
//! copied to an object store.
//!
//! `segment` reads what was recorded, `columns`, `tensors`, `rows` and `labels`
//! make columns of it, `part` writes a file and shows that it holds its rows,
//! `convert` makes files of segments. What changes on disk does so by `commit`,
//! all or none, and is told in `archive.jsonl` (`books`). `retention` decides
//! what goes, `deletion` says what is to be forgotten and `erase` takes it out.
//! The `keeper` does all that step by step, on a thread of [`Archive`]; another
//! one ships.

mod books;
mod columns;
mod commit;
mod compact;
mod convert;
mod deletion;
mod erase;
mod error;
mod keeper;
mod labels;
mod part;
mod partition;
mod reserve;
mod retention;
mod rows;
mod segment;
mod ship;
mod tensors;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use deletion::{Ask, Deleted, Deletions, Unit};
pub use error::ArchiveError;
pub use keeper::Keeper;
pub use retention::Keep;
pub use segment::Sealed;
pub use ship::{Ship, ShipOptions};

use super::schema::Schemas;
use crate::background;
use crate::telemetry::LogMetrics;

/// How nice the threads are.
const NICE: i32 = 10;
/// Parquet is made where a core would be idle, until so many bytes of segments
/// wait, or a part of what may be kept: then it is made at [`NICE`], else segments
/// would fill the disk of a machine that is busy all the time.
const BEHIND_BYTES: u64 = 256 << 20;
const BEHIND_PART: u64 = 4;
/// Segments that are converted together on idle cores: what was begun there is
/// not hurried.
const IDLE_BYTES: u64 = 32 << 20;
const TICK: Duration = Duration::from_secs(1);
/// Longest wait after failures.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// How often it is looked for what is too old, and for the space that is used.
const RETAIN_EVERY: Duration = Duration::from_secs(10);
/// Ticks for which segments wait for others that are sealed at about the same
/// time, so that they become files together.
const LINGER: u32 = 4;

#[derive(Clone, Debug)]
pub struct ArchiveOptions {
    /// The log's folder.
    pub root: PathBuf,
    pub keep: Keep,
    /// `None` keeps the archive here alone.
    pub ship: Option<ShipOptions>,
}

/// The archive of a running gateway.
#[derive(Debug)]
pub struct Archive {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Archive {
    /// Starts the threads that keep the archive, once what an earlier process
    /// began is finished.
    ///
    /// # Errors
    /// Where another process keeps this archive, the disk refuses, or no thread can be started.
    pub fn start(
        options: ArchiveOptions,
        schemas: Arc<Schemas>,
        metrics: Arc<LogMetrics>,
    ) -> Result<Archive, ArchiveError> {
        let ArchiveOptions { root, keep, ship } = options;
        let keeper = Keeper::open(&root, schemas, Arc::clone(&metrics))?;
        // Series that are there from the start tell a rate from the start.
        for part in ["raw", "parquet"] {
            metrics.set_bytes(part, 0);
        }
        metrics.set_lag("archive", Duration::ZERO);
        let stop = Arc::new(AtomicBool::new(false));
        let mut archive = Archive { stop: Arc::clone(&stop), threads: Vec::new() };
        let mut shipped = None;
        if let Some(options) = ship {
            let ship = Ship::open(&root, options, metrics.clone())?;
            shipped = Some(ship.shipped());
            let stop = Arc::clone(&stop);
            archive.spawn(&root, "archive-ship", move || ship.run(&stop))?;
        }
        let folder = root.clone();
        archive.spawn(&root, "archive", move || {
            keep_on(&folder, keeper, keep, shipped.as_deref(), &metrics, &stop);
        })?;
        Ok(archive)
    }

    fn spawn(
        &mut self,
        root: &Path,
        name: &str,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<(), ArchiveError> {
        let thread = std::thread::Builder::new().name(name.to_owned());
        let spawned = thread.spawn(move || {
            background::be_nice(NICE);
            work();
        });
        self.threads.push(spawned.map_err(ArchiveError::io(root))?);
        Ok(())
    }

    /// Ends the threads, after the step that each is at. What it leaves is
    /// finished at the next start.
    pub fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in &self.threads {
            thread.thread().unpark();
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        self.stop();
    }
}

fn keep_on(
    root: &Path,
    mut keeper: Keeper,
    keep: Keep,
    shipped: Option<&AtomicU64>,
    metrics: &LogMetrics,
    stop: &AtomicBool,
) {
    let mut wait = TICK;
    let mut linger = Linger::default();
    let mut is_more = false;
    let mut retained: Option<Instant> = None;
    loop {
        std::thread::park_timeout(wait);
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let converted = keeper.waiting().and_then(|mut waiting| {
            if std::mem::take(&mut is_more) || linger.is_over(waiting.len()) {
                retained = None;
                convert_some(root, &mut keeper, &mut waiting, &keep, stop)?;
                is_more = !waiting.is_empty();
            }
            Ok(())
        });
        let forgotten = keeper.forget();
        // Even where the disk is too full for anything else: this makes room.
        let is_due = retained.is_none_or(|at| at.elapsed() >= RETAIN_EVERY);
        let removed = is_due.then(|| {
            retained = Some(Instant::now());
            let shipped = shipped.map(|shipped| shipped.load(Ordering::Acquire));
            let removed = keeper.retain(now_us(), &keep, shipped)?;
            keeper.compact(now_us(), &keep, shipped)?;
            Ok(removed)
        });
        let step = removed.unwrap_or(Ok(0)).and(forgotten).and(converted);
        wait = match step {
            Ok(()) if is_more => Duration::ZERO,
            Ok(()) => TICK,
            Err(ArchiveError::Stopped) => return,
            Err(error) => {
                metrics.failed("archive", error.reason());
                tracing::warn!(%error, "the archive of the prediction log is behind");
                (wait.max(TICK) * 2).min(MAX_WAIT)
            }
        };
    }
}

/// Converts as many of the segments as are to be converted together.
fn convert_some(
    root: &Path,
    keeper: &mut Keeper,
    waiting: &mut Vec<Sealed>,
    keep: &Keep,
    stop: &AtomicBool,
) -> Result<(), ArchiveError> {
    if is_behind(waiting.iter().map(|segment| segment.bytes).sum(), keep) {
        return keeper.convert(waiting, stop);
    }
    let mut bytes = 0;
    let within = |segment: &&Sealed| {
        bytes += segment.bytes;
        bytes <= IDLE_BYTES
    };
    let count = waiting.iter().take_while(within).count().max(1).min(waiting.len());
    let mut some: Vec<Sealed> = waiting.drain(..count).collect();
    let converted = background::run_beside("archive-idle", || keeper.convert(&mut some, stop));
    converted.unwrap_or_else(|error| Err(ArchiveError::io(root)(error)))
}

/// Whether so many bytes of segments wait that they cannot wait for an idle core.
fn is_behind(waiting: u64, keep: &Keep) -> bool {
    let part = keep.bytes.map_or(u64::MAX, |bytes| bytes / BEHIND_PART);
    waiting > part.min(BEHIND_BYTES)
}

/// Decides when segments have waited long enough for others.
#[derive(Debug, Default)]
struct Linger {
    seen: usize,
    ticks: u32,
}

impl Linger {
    /// Asked once in each tick, with how many there are: over when no more
    /// come, or after [`LINGER`] ticks.
    fn is_over(&mut self, count: usize) -> bool {
        let comes_more = count > self.seen;
        self.ticks += 1;
        let is_over = count > 0 && (!comes_more || self.ticks >= LINGER);
        *self = match is_over || count == 0 {
            true => Linger::default(),
            false => Linger { seen: count, ticks: self.ticks },
        };
        is_over
    }
}

/// What became of a wish to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// It is done.
    Done(Deleted),
    /// The gateway that keeps the archive does it within seconds: [`deleted`] says when it has.
    Asked(Vec<Ask>),
}

/// Deletes the records of units up to now: their rows in the archive, their
/// labels, and what of them is converted later. Does it here where no gateway
/// keeps the archive, else asks that one to.
///
/// # Errors
/// Where the disk refuses. What was asked for by then is done later.
pub fn delete_units(root: &Path, units: &[Unit]) -> Result<Deletion, ArchiveError> {
    let asked = deletion::ask(root, units, now_us())?;
    let schemas = Arc::new(Schemas::new(root.to_owned()));
    match Keeper::open(root, schemas, Arc::default()) {
        Err(ArchiveError::InUse(_)) => Ok(Deletion::Asked(asked)),
        Err(error) => Err(error),
        Ok(mut keeper) => {
            keeper.forget()?;
            Ok(Deletion::Done(sum(&asked, |id| keeper.done(id)).unwrap_or_default()))
        }
    }
}

/// What a deletion took out; `None` until it is done.
///
/// # Errors
/// Where `deleted.jsonl` cannot be read.
pub fn deleted(root: &Path, asked: &[Ask]) -> Result<Option<Deleted>, ArchiveError> {
    let deletions = Deletions::read(root)?;
    Ok(sum(asked, |id| deletions.done(id)))
}

fn sum(asked: &[Ask], done: impl Fn(&str) -> Option<Deleted>) -> Option<Deleted> {
    let mut all = Deleted::default();
    for ask in asked {
        let Deleted { rows, labels } = done(&ask.id)?;
        all = Deleted { rows: all.rows + rows, labels: all.labels + labels };
    }
    Some(all)
}

/// Microseconds since 1970.
pub fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_idle_core_is_waited_for_when_too_much_waits() {
        let keep = |bytes| Keep { age: None, bytes };
        for (waiting, bytes, expected) in [
            (0, None, false),
            (BEHIND_BYTES, None, false),
            (BEHIND_BYTES + 1, None, true),
            // A small archive is behind sooner: a part of it is not there yet.
            (100, Some(100 * BEHIND_PART), false),
            (101, Some(100 * BEHIND_PART), true),
            (BEHIND_BYTES + 1, Some(u64::MAX), true),
        ] {
            assert_eq!(is_behind(waiting, &keep(bytes)), expected, "{waiting} of {bytes:?}");
        }
    }

    #[test]
    fn segments_wait_for_others_but_not_for_ever() {
        for (counts, expected) in [
            (&[0, 0, 1, 1][..], &[false, false, false, true][..]),
            (&[1, 2, 3, 3], &[false, false, false, true]),
            (&[1, 2, 3, 4], &[false, false, false, true]),
            (&[2, 2, 0, 1, 1], &[false, true, false, false, true]),
        ] {
            let mut linger = Linger::default();
            let over: Vec<bool> = counts.iter().map(|count| linger.is_over(*count)).collect();
            assert_eq!(over, expected, "{counts:?}");
        }
    }
}
