//! Finds out whether a detached shard can be written again: tries to write
//! the gap record that it owes, and what a failed flush left in doubt.

use std::cmp::Ordering;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::Shared;
use super::disk::{Disk, DiskFile};
use super::segment::Prepared;
use super::shard::Shard;
use super::writer::{Mode, Writer, push_gap};
use crate::predictions::frame::HEADER;
use crate::predictions::layout;

/// Written where a slow disk owes no gap record: what stands there already.
const NOTHING: [u8; 64] = [0; 64];

/// Tries to attach a shard again. It stays detached, without an error, where
/// it has to be flushed first, or is slow still.
pub(super) fn probe(shared: &Shared, shard: &Shard) -> io::Result<()> {
    let Some(writer) = shard.try_writer() else { return Ok(()) };
    match writer.mode {
        Mode::Attached | Mode::Closed => Ok(()),
        Mode::Slow => {
            drop(writer);
            probe_slow(shared, shard)
        }
        Mode::Failed => {
            let is_dirty = writer.retired.iter().any(|segment| segment.is_dirty());
            drop(writer);
            if is_dirty {
                shard.urgent.store(true, Relaxed);
                shared.wake_flusher();
                return Ok(());
            }
            probe_failed(shared, shard)
        }
    }
}

fn probe_slow(shared: &Shared, shard: &Shard) -> io::Result<()> {
    let writer = shard.writer();
    let Some(active) = &writer.active else { return Ok(()) };
    let (id, end, file) = (active.id, active.end, Arc::clone(&active.file));
    let open = writer.ledger.gap();
    let mut frames = Vec::new();
    if let Some((from, gap)) = open {
        push_gap(&mut frames, from, gap, writer.epoch);
    }
    drop(writer);
    let bytes = if frames.is_empty() { &NOTHING[..] } else { &frames };
    let began = shared.disk.now();
    let written = file.write_at(bytes, end);
    let took = shared.disk.now().saturating_duration_since(began);
    let mut writer = shard.writer();
    // A flush may have failed meanwhile.
    if writer.mode != Mode::Slow || writer.active.as_ref().is_none_or(|active| active.id != id) {
        return Ok(());
    }
    if let Err(error) = written {
        writer.fail(&error);
        return Err(error);
    }
    if let Some((from, gap)) = open {
        let end = end + frames.len() as u64;
        writer.ledger.shorten_gap(gap.count);
        if let Some(active) = &mut writer.active {
            (active.end, active.next) = (end, from + gap.count);
        }
        let next = from + gap.count;
        if shard.keeps() {
            writer.ring.keep(&frames, next, (id, end));
        } else {
            writer.ring.begin(next, (id, end));
        }
    }
    if took <= shared.options.slow_append {
        attach(&mut writer);
    }
    Ok(())
}

/// What a new segment is to begin with.
struct Plan {
    header: [u8; HEADER],
    first: u64,
    frames: Vec<u8>,
    /// How much of the open gap `frames` tell of.
    gap: u64,
    /// One past the last number that `frames` tell of.
    next: u64,
    /// Whether `frames` hold records that a failed flush left in doubt.
    rewrites: bool,
}

impl Plan {
    /// `None` where nothing has to be written.
    fn of(writer: &mut Writer) -> Option<Plan> {
        let rewrites = writer.retired.iter().any(|segment| segment.doubtful);
        let open = writer.ledger.gap();
        if !rewrites && open.is_none() && writer.owed.is_empty() {
            return None;
        }
        let mut frames = Vec::new();
        for (from, gap) in &writer.owed {
            push_gap(&mut frames, *from, *gap, writer.epoch);
        }
        let mut first = writer.untold();
        if rewrites {
            frames.extend_from_slice(&writer.ring.bytes);
            first = writer.ring.from;
        }
        if let Some((from, gap)) = open {
            push_gap(&mut frames, from, gap, writer.epoch);
        }
        let gap = open.map_or(0, |(_, gap)| gap.count);
        let header = writer.header(first);
        Some(Plan { header, first, frames, gap, next: writer.next, rewrites })
    }

    /// Writes and syncs it, and says how long the write of the frames took.
    /// The header comes last: until it stands there, the file is no segment,
    /// and those before it keep what it repeats.
    fn write(&self, disk: &dyn Disk, file: &dyn DiskFile) -> io::Result<Duration> {
        let began = disk.now();
        file.write_at(&self.frames, HEADER as u64)?;
        let took = disk.now().saturating_duration_since(began);
        file.sync()?;
        file.write_at(&self.header, 0)?;
        file.sync()?;
        Ok(took)
    }
}

fn probe_failed(shared: &Shared, shard: &Shard) -> io::Result<()> {
    let mut writer = shard.writer();
    let plan = Plan::of(&mut writer);
    let prepared = writer.prepared.take();
    drop(writer);
    let prepared = match prepared {
        Some(prepared) => Ok(prepared),
        None if shard.used || plan.is_some() => prepare(shared, shard.number),
        // Of an earlier run, and in order: nothing is written here.
        None => {
            attach(&mut shard.writer());
            return Ok(());
        }
    };
    let Some(plan) = plan else {
        let prepared = prepared?;
        let mut writer = shard.writer();
        writer.prepared = Some(prepared);
        attach(&mut writer);
        return Ok(());
    };
    let written = prepared.and_then(|prepared| {
        let written = plan.write(&*shared.disk, &*prepared.file);
        if written.is_err() {
            // What is left of it is no segment, or one that the next supersedes.
            let _ = shared.disk.remove(&prepared.path);
        }
        written.map(|took| (prepared, took))
    });
    let mut writer = shard.writer();
    let (prepared, took) = match written {
        Ok(written) => written,
        Err(error) => {
            writer.problem = Some(Arc::from(error.to_string()));
            let next = writer.next;
            drop(writer);
            if plan.rewrites {
                shard.is_lost(next);
            }
            return Err(error);
        }
    };
    if plan.rewrites {
        shard.is_lost(writer.ring.from);
        cut_off(&mut writer);
    }
    writer.activate(prepared, plan.first);
    if let Some(active) = &mut writer.active {
        active.end = (HEADER + plan.frames.len()) as u64;
        active.next = plan.next;
        active.synced = active.end;
    }
    writer.ledger.shorten_gap(plan.gap);
    writer.owed.clear();
    let at = writer.position();
    writer.ring.begin(plan.next, at);
    if took > shared.options.slow_append {
        writer.mode = Mode::Slow;
    } else {
        attach(&mut writer);
    }
    drop(writer);
    shard.is_durable(plan.next);
    Ok(())
}

/// What was written again ends where it stood before.
fn cut_off(writer: &mut Writer) {
    let (at, offset) = writer.ring.start;
    for segment in writer.retired.iter_mut().filter(|segment| segment.doubtful) {
        segment.end = match segment.id.cmp(&at) {
            Ordering::Less => segment.end,
            Ordering::Equal => segment.end.min(offset),
            Ordering::Greater => 0,
        };
        segment.synced = segment.synced.min(segment.end);
        segment.rewrite = segment.synced < segment.end;
        segment.doubtful = false;
    }
}

fn attach(writer: &mut Writer) {
    if writer.mode != Mode::Closed {
        writer.mode = Mode::Attached;
        writer.problem = None;
    }
}

/// Makes the file of the next segment, and sees to it that its name stays.
pub(super) fn prepare(shared: &Shared, number: u32) -> io::Result<Prepared> {
    let path = prepared_path(shared, number);
    let file = shared.disk.create(&path, shared.options.segment_bytes)?;
    let kept = file.sync().and_then(|()| shared.disk.sync_folder(&folder(&path)));
    if let Err(error) = kept {
        let _ = shared.disk.remove(&path);
        return Err(error);
    }
    Ok(Prepared { file, path })
}

fn prepared_path(shared: &Shared, number: u32) -> PathBuf {
    layout::prepared(&shared.options.root, number, shared.epoch, shared.count_prepared())
}

pub(super) fn folder(path: &Path) -> PathBuf {
    path.parent().map(Path::to_owned).unwrap_or_default()
}
