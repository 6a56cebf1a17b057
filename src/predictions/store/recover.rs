//! What an earlier run left in the folder of one shard: which segments are
//! to be sealed, and which numbers have no record.
//!
//! A segment ends where one begins that the same run made later: after a
//! failed flush records are written again, elsewhere.

use std::io;
use std::path::{Path, PathBuf};

use super::contents::Contents;
use super::disk::Disk;
use super::ledger::{Books, MOST};
use super::ranges::Ranges;
use crate::predictions::frame::{Cause, Gap, HEADER, Header};
use crate::predictions::layout;

/// A ledger that is further ahead of all segments than this is damaged.
const PLAUSIBLE: u64 = 1 << 40;

/// What was found in the folder of a shard.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    /// How the ledger begins. Its open gap is what is missing at the end.
    pub(super) books: Books,
    /// What is missing elsewhere.
    pub(super) owed: Vec<(u64, Gap)>,
    /// Segments to be sealed.
    pub(super) leftovers: Vec<Leftover>,
    /// Records in them.
    pub(super) records: u64,
    /// Damaged places in them, and files set aside.
    pub(super) damaged: u64,
}

/// A segment that was not sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leftover {
    pub(super) path: PathBuf,
    pub(super) first: u64,
    /// Where its last record ends.
    pub(super) end: u64,
}

/// A segment in the folder.
#[derive(Clone, Debug)]
struct Found {
    path: PathBuf,
    header: Header,
    sealed: bool,
}

/// Looks at the folder of shard `number`. `old` is what its ledger says,
/// and `archived` the number up to which the archive has accounts.
///
/// # Errors
/// Where the folder cannot be read. Damage is no error.
pub(super) fn recover(
    disk: &dyn Disk,
    root: &Path,
    number: u32,
    old: Option<Books>,
    archived: u64,
) -> io::Result<Recovered> {
    let mut recovered = Recovered::default();
    let found = find(disk, root, number, old, &mut recovered.damaged)?;
    let settled = old.map_or(archived, |old| old.settled.max(archived));
    let unsealed = found.iter().filter(|found| !found.sealed);
    let low = unsealed.map(|found| found.header.first).min().unwrap_or(settled).min(settled);

    let (mut told, mut ends) = (Ranges::default(), Vec::new());
    for (at, segment) in found.iter().enumerate() {
        if segment.sealed {
            let is_below = match found.get(at + 1) {
                Some(next) => next.header.first <= low,
                None => old.is_some_and(|old| old.next <= low),
            };
            if is_below {
                continue;
            }
        }
        let Ok(bytes) = disk.read(&segment.path, u64::MAX) else {
            recovered.damaged += 1;
            continue;
        };
        let cut = (!segment.sealed).then(|| cut(segment, &found)).flatten();
        let contents = Contents::of_frames(segment.header, &bytes, cut);
        told.add(&contents.told());
        if !segment.sealed {
            ends.push(contents.next());
            recovered.records += contents.count();
            recovered.damaged += contents.damaged.len() as u64;
            let (path, first) = (segment.path.clone(), segment.header.first);
            recovered.leftovers.push(Leftover { path, first, end: contents.end as u64 });
        }
    }
    let seen = told.end().unwrap_or(0).max(low);
    let given_out = old.map(|old| old.next).filter(|next| *next <= seen + PLAUSIBLE);
    let next = given_out.unwrap_or(0).max(seen);
    let gap = old.and_then(|old| old.gap);
    let doubt = old.is_some_and(|old| old.doubt);
    let mut missing = explain(&told.missing(low..next), gap, &ends);
    let open = missing.pop_if(|(from, gap)| *from + gap.count == next);
    recovered.owed = missing;
    recovered.books = Books { epoch: 0, next, gap: open, settled: low, doubt };
    Ok(recovered)
}

/// Says why numbers are missing: as the ledger does, where it knows them;
/// behind the last record of a segment they were never written.
fn explain(missing: &Ranges, gap: Option<(u64, Gap)>, ends: &[u64]) -> Vec<(u64, Gap)> {
    let known = gap.map_or(0..0, |(from, gap)| from..from + gap.count);
    let mut explained = Vec::new();
    for range in missing.iter() {
        let inner = range.start.max(known.start)..range.end.min(known.end);
        let cause = if ends.contains(&range.start) || ends.is_empty() {
            Cause::Torn
        } else {
            Cause::Damaged
        };
        let parts = if inner.is_empty() {
            vec![(range, cause)]
        } else {
            let before = range.start..inner.start;
            let after = inner.end..range.end;
            vec![(before, cause), (inner, gap.map_or(cause, |(_, gap)| gap.cause)), (after, cause)]
        };
        for (part, cause) in parts {
            if !part.is_empty() {
                explained.push((part.start, Gap { count: part.end - part.start, cause }));
            }
        }
    }
    explained
}

/// The number from which on another segment has the records of this one.
fn cut(segment: &Found, all: &[Found]) -> Option<u64> {
    let later = |other: &&Found| {
        other.header.epoch == segment.header.epoch && other.header.created > segment.header.created
    };
    all.iter().filter(later).map(|other| other.header.first).min()
}

/// The segments of a shard, by their first numbers. Files that are no segment
/// yet are removed, and those whose header cannot be read are mended or set aside.
fn find(
    disk: &dyn Disk,
    root: &Path,
    number: u32,
    old: Option<Books>,
    damaged: &mut u64,
) -> io::Result<Vec<Found>> {
    let folder = layout::shard(root, number);
    let mut found = Vec::new();
    let mut unreadable = Vec::new();
    for (name, _) in disk.list(&folder)? {
        let path = folder.join(&name);
        let extension = path.extension().and_then(|extension| extension.to_str());
        let sealed = match extension {
            Some(layout::SEALED) => true,
            Some(layout::ACTIVE | layout::PREPARED) => false,
            _ => continue,
        };
        let head = disk.read(&path, HEADER as u64).unwrap_or_default();
        match Header::decode(&head).filter(|header| header.shard == number && header.first < MOST) {
            Some(header) => found.push(Found { path, header, sealed }),
            // Without a header it is no segment yet.
            None if extension == Some(layout::PREPARED) && is_zero(&head) => {
                let _ = disk.remove(&path);
            }
            None => unreadable.push((path, sealed)),
        }
    }
    for (path, sealed) in unreadable {
        match old.and_then(|old| mend(disk, number, old.epoch, &path, &found)) {
            Some(header) => {
                *damaged += 1;
                found.push(Found { path, header, sealed });
            }
            // Power was lost before any of it came to the disk.
            None if disk.read(&path, u64::MAX).is_ok_and(|bytes| is_zero(&bytes)) => {
                let _ = disk.remove(&path);
            }
            None => {
                *damaged += 1;
                let aside = format!("{}.{}", path.display(), layout::DAMAGED);
                let _ = disk.rename(&path, Path::new(&aside));
            }
        }
    }
    found.sort_by_key(|found| (found.header.first, found.header.created));
    Ok(found)
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// A new header for a segment of the last run, if its records can be read.
fn mend(disk: &dyn Disk, shard: u32, epoch: u64, path: &Path, found: &[Found]) -> Option<Header> {
    let first = layout::first_of(path)?;
    let before = found
        .iter()
        .filter(|found| found.header.epoch == epoch && found.header.first < first)
        .map(|found| found.header.created)
        .max();
    let header = Header { shard, epoch, first, created: before.unwrap_or(0) + 1 };
    let bytes = disk.read(path, u64::MAX).ok()?;
    if Contents::of_frames(header, &bytes, None).told().count() == 0 {
        return None;
    }
    let file = disk.open(path).ok()?;
    file.write_at(&header.encode(), 0).ok()?;
    file.sync().ok()?;
    Some(header)
}
