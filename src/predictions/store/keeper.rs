//! What takes time and nobody waits for: seals segments, prepares the next
//! ones, attaches shards again, and counts.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::Shared;
use super::contents::Contents;
use super::disk::reason;
use super::reattach::{folder, prepare, probe};
use super::segment::Segment;
use super::shard::Shard;
use super::writer::{Mode, Writer};
use crate::predictions::frame::{Cause, Gap, HEADER};
use crate::predictions::layout;

const EVERY: Duration = Duration::from_millis(20);

/// Between two attempts at what fails: at first, and at most.
const SHORTEST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(1);

/// How often the bytes on the disk are added up.
const MEASURE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Keeper {
    /// By shard.
    retries: Vec<Retries>,
    measure: Instant,
}

#[derive(Debug)]
struct Retries {
    attach: Retry,
    prepare: Retry,
    seal: Retry,
}

/// When something that failed is tried again.
#[derive(Debug)]
struct Retry {
    at: Instant,
    wait: Duration,
}

impl Retry {
    fn new(now: Instant) -> Retry {
        Retry { at: now, wait: SHORTEST }
    }

    fn is_due(&self, now: Instant) -> bool {
        now >= self.at
    }

    fn after(&mut self, succeeded: bool, now: Instant) {
        if succeeded {
            *self = Retry::new(now);
        } else {
            self.at = now + self.wait;
            self.wait = (self.wait * 2).min(LONGEST);
        }
    }
}

pub(super) fn run(shared: &Shared, mut keeper: Keeper) {
    while !shared.is_closing() {
        keeper.pass(shared);
        thread::park_timeout(EVERY);
    }
}

impl Keeper {
    pub(super) fn new(shared: &Shared) -> Keeper {
        let now = shared.disk.now();
        let retries =
            || Retries { attach: Retry::new(now), prepare: Retry::new(now), seal: Retry::new(now) };
        Keeper { retries: shared.shards.iter().map(|_| retries()).collect(), measure: now }
    }

    /// Looks after every shard once.
    pub(super) fn pass(&mut self, shared: &Shared) {
        for (shard, retries) in shared.shards.iter().zip(&mut self.retries) {
            // One whose thread is writing has its turn in the next pass.
            if let Some(mut writer) = shard.try_writer() {
                count(shared, &mut writer);
                drop(writer);
                look_after(shared, shard, retries);
            }
        }
        // One whose thread is writing is attached.
        let is_detached = |shard: &Shard| {
            let writer = shard.try_writer();
            writer.is_some_and(|writer| matches!(writer.mode, Mode::Slow | Mode::Failed))
        };
        shared.metrics.set_degraded(shared.shards.iter().any(is_detached));
        let now = shared.disk.now();
        if now >= self.measure {
            self.measure = now + MEASURE;
            measure(shared);
        }
    }
}

/// Tells the metrics what is missing.
pub(super) fn count(shared: &Shared, writer: &mut Writer) {
    for (cause, missed) in Cause::ALL.iter().zip(&mut writer.missed) {
        if *missed > 0 {
            shared.metrics.gap(cause.label(), std::mem::take(missed));
        }
    }
}

fn look_after(shared: &Shared, shard: &Shard, retries: &mut Retries) {
    let now = shared.disk.now();
    let mode = shard.writer().mode;
    if matches!(mode, Mode::Slow | Mode::Failed) && retries.attach.is_due(now) {
        let probed = probe(shared, shard);
        if let Err(error) = &probed {
            shared.metrics.failed("attach", reason(error));
        }
        let attached = shard.writer().mode == Mode::Attached;
        retries.attach.after(attached, shared.disk.now());
    } else if mode == Mode::Attached {
        retries.attach = Retry::new(now);
    }
    if retries.prepare.is_due(now) {
        let prepared = prepare_next(shared, shard);
        retries.prepare.after(prepared.is_ok(), now);
        if let Err(error) = prepared {
            shared.metrics.failed("prepare", reason(&error));
        }
    }
    retire_old(shared, shard);
    if retries.seal.is_due(now) {
        let sealed = seal_all(shared, shard).and_then(|()| name_all(shared, shard));
        retries.seal.after(sealed.is_ok(), now);
        if let Err(error) = sealed {
            shared.metrics.failed("seal", reason(&error));
        }
    }
}

/// Has the file of the next segment ready when the active one is half full.
fn prepare_next(shared: &Shared, shard: &Shard) -> io::Result<()> {
    let writer = shard.writer();
    let has_room = |active: &Segment| active.end < shared.options.segment_bytes / 2;
    let aged = writer.active.as_ref().is_some_and(|active| is_old(shared, active));
    let needed = shard.used
        && writer.mode == Mode::Attached
        && writer.prepared.is_none()
        && (aged || !writer.active.as_ref().is_some_and(has_room));
    drop(writer);
    if needed {
        let prepared = prepare(shared, shard.number)?;
        shard.writer().prepared = Some(prepared);
    }
    Ok(())
}

fn is_old(shared: &Shared, active: &Segment) -> bool {
    let age = shared.disk.now().saturating_duration_since(active.opened);
    active.end > HEADER as u64 && age >= shared.options.segment_age
}

/// Ends the active segment when it is old. A detached shard keeps it.
fn retire_old(shared: &Shared, shard: &Shard) {
    let mut writer = shard.writer();
    let may = writer.mode == Mode::Attached && (writer.prepared.is_some() || !shard.used);
    if may && writer.active.as_ref().is_some_and(|active| is_old(shared, active)) {
        writer.retire();
    }
}

/// Seals the retired segments that the disk has.
pub(super) fn seal_all(shared: &Shared, shard: &Shard) -> io::Result<()> {
    loop {
        let mut writer = shard.writer();
        // What recovery found missing is written before the segments that lack it are sealed.
        let ready = writer.owed.is_empty();
        let is_ready = |segment: &Segment| ready && !segment.doubtful && !segment.is_dirty();
        let Some(at) = writer.retired.iter().position(is_ready) else { break };
        let mut segment = writer.retired.remove(at);
        drop(writer);
        if segment.rewrite && segment.end > HEADER as u64 {
            let lost = write_again(shared, &mut segment);
            let mut writer = shard.writer();
            let lost = match lost {
                Ok(lost) => lost,
                Err(error) => {
                    writer.retired.insert(0, segment);
                    return Err(error);
                }
            };
            if !lost.is_empty() {
                writer.missed[Cause::Torn as usize - 1] +=
                    lost.iter().map(|(_, gap)| gap.count).sum::<u64>();
                writer.owed.extend(lost);
                writer.retired.insert(0, segment);
                continue;
            }
        }
        if let Err(error) = seal(shared, shard.number, &mut segment) {
            shard.writer().retired.insert(0, segment);
            return Err(error);
        }
        settle(shared, shard);
    }
    Ok(())
}

/// Writes what a failed flush left in doubt to the same place, so that the
/// next sync tells of it. Says which numbers can not be read any more.
fn write_again(shared: &Shared, segment: &mut Segment) -> io::Result<Vec<(u64, Gap)>> {
    let bytes = shared.disk.read(&segment.path, segment.end)?;
    segment.file.write_at(&bytes, 0)?;
    segment.file.sync()?;
    segment.rewrite = false;
    segment.synced = segment.end;
    let whole = segment.first..segment.next;
    let told = Contents::read(&bytes).map(|contents| contents.told()).unwrap_or_default();
    let gap =
        |lost: Range<u64>| (lost.start, Gap { count: lost.end - lost.start, cause: Cause::Torn });
    Ok(told.missing(whole).iter().map(gap).collect())
}

fn seal(shared: &Shared, number: u32, segment: &mut Segment) -> io::Result<()> {
    let disk = &shared.disk;
    if segment.end <= HEADER as u64 {
        match disk.remove(&segment.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => return disk.sync_folder(&folder(&segment.path)),
        }
    }
    segment.file.truncate(segment.end)?;
    if let Err(error) = segment.file.sync() {
        // A second call would not tell the truth.
        segment.rewrite = true;
        return Err(error);
    }
    let root = &shared.options.root;
    disk.rename(&segment.path, &layout::segment(root, number, segment.first, layout::SEALED))?;
    disk.sync_folder(&folder(&segment.path))
}

/// Notes up to which number all is sealed, so that recovery need not look.
fn settle(shared: &Shared, shard: &Shard) {
    let writer = shard.writer();
    let open = writer.retired.iter().chain(&writer.active).map(|segment| segment.first).min();
    let below = open.unwrap_or(u64::MAX).min(writer.untold());
    if writer.owed.is_empty() && below > writer.ledger.settled() {
        writer.ledger.settle(below);
        let ledger = Arc::clone(&writer.ledger);
        drop(writer);
        if let Err(error) = ledger.sync() {
            shared.metrics.failed("ledger", reason(&error));
        }
    }
}

/// Gives segments their names, which they cannot have before their first record.
fn name_all(shared: &Shared, shard: &Shard) -> io::Result<()> {
    loop {
        let writer = shard.writer();
        let unnamed = |segment: &&Segment| !segment.named && segment.end > 0;
        let mut segments = writer.retired.iter().chain(&writer.active);
        let Some(segment) = segments.find(unnamed) else { return Ok(()) };
        let (id, from) = (segment.id, segment.path.clone());
        let root = &shared.options.root;
        let to = layout::segment(root, shard.number, segment.first, layout::ACTIVE);
        drop(writer);
        shared.disk.rename(&from, &to)?;
        if let Some(segment) = shard.writer().segment_mut(id) {
            (segment.path, segment.named) = (to, true);
        }
    }
}

fn measure(shared: &Shared) {
    let root = &shared.options.root;
    let bytes = |shard: &Shard| -> u64 {
        let files = shared.disk.list(&layout::shard(root, shard.number)).unwrap_or_default();
        files.iter().map(|(_, bytes)| bytes).sum()
    };
    shared.metrics.set_bytes("raw", shared.shards.iter().map(bytes).sum());
}
