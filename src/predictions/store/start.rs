//! Begins and ends the log: recovery before the first append, and sealing
//! after the last.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use serde::Deserialize;

use super::disk::{Disk, DiskFile, Lock, RealDisk, reason};
use super::keeper::{self, Keeper};
use super::ledger::{Books, Ledger, MOST};
use super::queue::{self, Queue};
use super::recover::{self, recover};
use super::segment::Segment;
use super::shard::Shard;
use super::writer::{Mode, Writer};
use super::{Log, LogError, LogOptions, Recovered, Shared, flusher, reattach};
use crate::predictions::frame::Cause;
use crate::predictions::layout;
use crate::telemetry::LogMetrics;

const LOCK_ATTEMPTS: usize = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Logs of this process: tests have many.
static LOGS: AtomicU64 = AtomicU64::new(1);

impl Log {
    /// Recovers what an earlier run left, and begins new segments.
    ///
    /// # Errors
    /// Where the folder cannot be made, or belongs to another process. Damage is no error.
    pub fn open(options: LogOptions, metrics: Arc<LogMetrics>) -> Result<Arc<Log>, LogError> {
        let log = Log::open_on(Arc::new(RealDisk), options, metrics)?;
        log.start()?;
        Ok(log)
    }

    /// A log whose threads do not run yet.
    pub(super) fn open_on(
        disk: Arc<dyn Disk>,
        options: LogOptions,
        metrics: Arc<LogMetrics>,
    ) -> Result<Arc<Log>, LogError> {
        let (shared, recovered) = begin(disk, options, metrics)?;
        let log = Log {
            shared: Arc::new(shared),
            threads: Mutex::default(),
            recovered,
            id: LOGS.fetch_add(1, Relaxed),
            taken: AtomicUsize::new(0),
        };
        Keeper::new(&log.shared).pass(&log.shared);
        Ok(Arc::new(log))
    }

    fn start(&self) -> io::Result<()> {
        let shared = &self.shared;
        let keeper = Keeper::new(shared);
        let spawned = [
            spawn(shared, "log-flush", &shared.flusher, flusher::run),
            spawn(shared, "log-write", &shared.writer, queue::run),
            spawn(shared, "log-keep", &shared.keeper, |shared| keeper::run(shared, keeper)),
        ];
        let mut threads = self.threads.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut failed = Ok(());
        for thread in spawned {
            match thread {
                Ok(thread) => threads.push(thread),
                Err(error) => failed = Err(error),
            }
        }
        failed
    }
}

fn spawn(
    shared: &Arc<Shared>,
    name: &str,
    handle: &OnceLock<Thread>,
    work: impl FnOnce(&Shared) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let its = Arc::clone(shared);
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || work(&its))?;
    let _ = handle.set(thread.thread().clone());
    Ok(thread)
}

fn begin(
    disk: Arc<dyn Disk>,
    mut options: LogOptions,
    metrics: Arc<LogMetrics>,
) -> Result<(Shared, Recovered), LogError> {
    options.shards = options.shards.max(1);
    let root = options.root.clone();
    let failed = |source| LogError::Folder { folder: root.clone(), source };
    disk.make_folder(&layout::raw(&root)).map_err(failed)?;
    let lock = lock(&*disk, &root).map_err(failed)?;
    let lock = lock.ok_or_else(|| LogError::InUse(root.clone()))?;

    let epoch = RandomState::new().build_hasher().finish();
    let archived = archived(&*disk, &root);
    let own = 0..=u32::try_from(options.shards).unwrap_or(u32::MAX);
    let folders = disk.list(&layout::raw(&root)).map_err(failed)?;
    let left = folders.iter().filter_map(|(name, _)| layout::number_of(name));
    let numbers: BTreeSet<u32> = own.clone().chain(left).collect();
    let mut recovered = Recovered::default();
    let mut shards = Vec::new();
    for number in numbers {
        disk.make_folder(&layout::shard(&root, number)).map_err(failed)?;
        let ledger = Ledger::new(disk.page(&layout::ledger(&root, number)).map_err(failed)?);
        let archived = archived.get(&number).copied().unwrap_or(0);
        let found =
            recover(&*disk, &root, number, ledger.books(number), archived).map_err(failed)?;
        metrics.damaged(found.damaged);
        recovered.add(&found);
        let books = Books { epoch, ..found.books };
        ledger.begin(number, &books);
        let waits = number == *own.end();
        let slow = (!waits).then_some(options.slow_append);
        let mut writer =
            Writer::new(number, Arc::clone(&disk), options.segment_bytes, slow, ledger, &books);
        take_over(&mut writer, found, &*disk);
        shards.push(Shard::new(writer, own.contains(&number)));
    }
    let queue = Queue::new(&options);
    let shared = Shared {
        options,
        metrics,
        disk,
        epoch,
        shards,
        queue,
        prepared: AtomicU64::new(0),
        closing: AtomicBool::new(false),
        flusher: OnceLock::new(),
        keeper: OnceLock::new(),
        writer: OnceLock::new(),
        _lock: lock,
    };
    Ok((shared, recovered))
}

/// Takes the lock of the folder. Verification holds it for an instant, to find
/// out whether anybody does.
fn lock(disk: &dyn Disk, root: &Path) -> io::Result<Option<Lock>> {
    for _ in 0..LOCK_ATTEMPTS {
        if let Some(lock) = disk.lock(&layout::lock(root))? {
            return Ok(Some(lock));
        }
        thread::sleep(LOCK_PAUSE);
    }
    Ok(None)
}

/// Gives a writer what recovery found.
fn take_over(writer: &mut Writer, found: recover::Recovered, disk: &dyn Disk) {
    for (_, gap) in found.owed.iter().chain(&found.books.gap) {
        // Others were counted when they came to be.
        if matches!(gap.cause, Cause::Torn | Cause::Damaged) {
            writer.missed[gap.cause as usize - 1] += gap.count;
        }
    }
    writer.owed = found.owed;
    for leftover in found.leftovers {
        // One that cannot be opened stays as it is, for the next start.
        if let Ok(file) = disk.open(&leftover.path) {
            writer.take_over(leftover, file, found.books.doubt);
        }
    }
}

impl Recovered {
    fn add(&mut self, found: &recover::Recovered) {
        let missing = found.owed.iter().chain(&found.books.gap);
        self.segments += found.leftovers.len() as u64;
        self.records += found.records;
        self.missing += missing.map(|(_, gap)| gap.count).sum::<u64>();
        self.damaged += found.damaged;
    }
}

/// By shard, the number up to which there are accounts of archived segments.
fn archived(disk: &dyn Disk, root: &Path) -> BTreeMap<u32, u64> {
    #[derive(Deserialize)]
    struct Line {
        shard: u32,
        next: u64,
    }
    let mut archived = BTreeMap::new();
    let bytes = disk.read(&layout::archive(root), u64::MAX).unwrap_or_default();
    for line in bytes.split(|byte| *byte == b'\n') {
        // Other lines, and one that was cut off, say nothing here.
        if let Ok(Line { shard, next }) = serde_json::from_slice(line)
            && next < MOST
        {
            let known = archived.entry(shard).or_insert(0);
            *known = next.max(*known);
        }
    }
    archived
}

/// The orderly end, when no thread of the log runs any more.
pub(super) fn end(shared: &Shared) {
    while queue::pass(shared, true) {}
    let mut emptied = Vec::new();
    for shard in &shared.shards {
        flusher::flush(shared, shard, &mut emptied);
        // What is missing so far is told while it can be.
        if let Err(error) = reattach::probe(shared, shard) {
            shared.metrics.failed("attach", reason(&error));
        }
        let mut writer = shard.writer();
        let owes = writer.ledger.gap().is_some() || !writer.owed.is_empty();
        if writer.mode == Mode::Attached && owes {
            writer.begin();
            let _ = writer.commit(shard.keeps());
        }
        writer.mode = Mode::Closed;
        writer.retire();
        drop(writer);
        flusher::flush(shared, shard, &mut emptied);
        if let Err(error) = keeper::seal_all(shared, shard) {
            shared.metrics.failed("seal", reason(&error));
        }
        let mut writer = shard.writer();
        keeper::count(shared, &mut writer);
        if let Some(prepared) = writer.prepared.take() {
            let _ = shared.disk.remove(&prepared.path);
        }
        let next = writer.next;
        drop(writer);
        shard.is_lost(next);
    }
}

impl Writer {
    /// Takes a segment of an earlier run over, to be sealed. Whatever of it is
    /// not on the disk, nobody waits for.
    fn take_over(&mut self, leftover: recover::Leftover, file: Arc<dyn DiskFile>, doubt: bool) {
        let recover::Leftover { path, first, end } = leftover;
        let segment = Segment {
            id: self.next_segment(),
            file,
            path,
            named: true,
            first,
            opened: self.now(),
            end,
            synced: end,
            next: first,
            doubtful: false,
            rewrite: doubt,
        };
        self.retired.push(segment);
    }
}
