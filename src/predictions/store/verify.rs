//! Proves completeness, or says what is missing: records + gaps = range, for
//! every shard, out of its segments, its ledger and the accounts of segments
//! that are archived.
//!
//! A gateway may be writing meanwhile. So the ledgers are read first, then the
//! segments, and the accounts last: what moves on in between is seen twice,
//! not missed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::contents::Contents;
use super::disk::{Disk, RealDisk};
use super::ledger::Books;
use super::ranges::Ranges;
use crate::predictions::account::SegmentAccount;
use crate::predictions::frame::{Cause, HEADER, Header};
use crate::predictions::layout;

/// Ranges of a shard that a report names; more are counted only.
const MOST_RANGES: usize = 20;

/// How often a folder is listed anew because its files moved on.
const ATTEMPTS: usize = 10;

/// What was found of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether every number of every shard is a record or a gap, once.
    pub complete: bool,
    /// Whether a gateway was writing.
    pub live: bool,
    pub shards: Vec<ShardReport>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ShardReport {
    pub shard: u32,
    /// The range of sequence numbers.
    pub first: u64,
    pub next: u64,
    /// Records in segments, and in those that are archived.
    pub raw_records: u64,
    pub archived_records: u64,
    /// Numbers without a record, by cause.
    pub gaps: BTreeMap<Cause, u64>,
    /// Numbers at the end that a running gateway gave out just now.
    pub in_flight: u64,
    /// Damaged places in segments, and segments that cannot be read.
    pub damaged: u64,
    /// Records whose number another one has.
    pub duplicates: u64,
    /// Numbers that are neither a record nor a gap, and the first ranges of them.
    pub unexplained: u64,
    pub unexplained_ranges: Vec<(u64, u64)>,
}

impl ShardReport {
    /// Damage whose records are accounted for as gaps leaves a shard complete.
    fn is_complete(&self) -> bool {
        self.duplicates == 0 && self.unexplained == 0
    }
}

/// What is known of one shard.
#[derive(Debug, Default)]
struct Evidence {
    /// The next number and the open gap, by the ledger.
    next: u64,
    open: Option<(u64, u64, Cause)>,
    /// Segments of the folder.
    segments: Vec<Contents>,
    /// Segments whose header cannot be read.
    unreadable: u64,
    /// Of segments that are archived.
    accounts: Vec<SegmentAccount>,
}

/// Checks a log's folder. Accounts that cannot be read count as missing.
///
/// # Errors
/// Where the folder cannot be read.
pub fn verify(root: &Path) -> io::Result<Report> {
    verify_on(&RealDisk, root, is_live(root))
}

pub(super) fn verify_on(disk: &dyn Disk, root: &Path, live: bool) -> io::Result<Report> {
    let mut shards: BTreeMap<u32, Evidence> = BTreeMap::new();
    for (name, _) in disk.list(&layout::raw(root))? {
        let Some(number) = layout::number_of(&name) else { continue };
        let ledger = disk.read(&layout::ledger(root, number), u64::MAX).unwrap_or_default();
        let mut evidence = Evidence::default();
        if let Some(books) = Books::decode(&ledger, number) {
            evidence.next = books.next;
            evidence.open = books.gap.map(|(from, gap)| (from, gap.count, gap.cause));
        }
        read_segments(disk, root, number, &mut evidence)?;
        shards.insert(number, evidence);
    }
    for account in accounts(disk, root) {
        shards.entry(account.shard).or_default().accounts.push(account);
    }
    let shards = shards.into_iter().map(|(number, found)| check(number, live, found)).collect();
    Ok(Report::of(live, shards))
}

impl Report {
    fn of(live: bool, shards: Vec<ShardReport>) -> Report {
        Report { complete: shards.iter().all(ShardReport::is_complete), live, shards }
    }
}

/// Whether another process holds the lock. Where it cannot be asked, as in a
/// copy of a log's folder, nobody does.
fn is_live(root: &Path) -> bool {
    let path = layout::lock(root);
    path.exists() && RealDisk.lock(&path).is_ok_and(|lock| lock.is_none())
}

/// Reads all segments of a shard. One that is sealed or archived meanwhile is
/// looked for again.
fn read_segments(
    disk: &dyn Disk,
    root: &Path,
    number: u32,
    evidence: &mut Evidence,
) -> io::Result<()> {
    let folder = layout::shard(root, number);
    let mut read: BTreeMap<Key, Contents> = BTreeMap::new();
    for _ in 0..ATTEMPTS {
        let mut moved = false;
        evidence.unreadable = 0;
        let mut found: BTreeMap<Key, PathBuf> = BTreeMap::new();
        for (name, _) in disk.list(&folder)? {
            let path = folder.join(&name);
            let extension = path.extension().and_then(|extension| extension.to_str());
            let is_prepared = extension == Some(layout::PREPARED);
            if !is_prepared && !matches!(extension, Some(layout::SEALED | layout::ACTIVE)) {
                continue;
            }
            match disk.read(&path, HEADER as u64).map(|head| Header::decode(&head)) {
                Ok(Some(header)) => {
                    found.insert(key(&header), path);
                }
                Ok(None) => evidence.unreadable += u64::from(!is_prepared),
                Err(_) => moved = true,
            }
        }
        for (key, path) in &found {
            if read.contains_key(key) {
                continue;
            }
            match disk.read(path, u64::MAX) {
                Ok(bytes) => {
                    let cut = cut(key, found.keys());
                    let contents = Contents::read_until(&bytes, cut);
                    read.extend(contents.map(|contents| (*key, contents)));
                }
                Err(_) => moved = true,
            }
        }
        if !moved {
            break;
        }
    }
    evidence.segments = read.into_values().collect();
    Ok(())
}

/// What tells segments of a shard apart, whatever their files are called:
/// epoch, first number, and when they were made.
type Key = (u64, u64, i64);

fn key(header: &Header) -> Key {
    (header.epoch, header.first, header.created)
}

/// The number from which on a segment that the same run made later repeats this one.
fn cut<'a>(segment: &Key, all: impl Iterator<Item = &'a Key>) -> Option<u64> {
    all.filter(|other| other.0 == segment.0 && other.2 > segment.2).map(|other| other.1).min()
}

/// The accounts of archived segments.
fn accounts(disk: &dyn Disk, root: &Path) -> Vec<SegmentAccount> {
    let bytes = disk.read(&layout::archive(root), u64::MAX).unwrap_or_default();
    let lines = bytes.split(|byte| *byte == b'\n');
    lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// Adds up what is known of a shard. Where a number has a record and a gap,
/// the record counts; of gaps, the one that segments tell of first.
fn check(number: u32, live: bool, evidence: Evidence) -> ShardReport {
    let mut report = ShardReport { shard: number, ..ShardReport::default() };
    let mut records = Ranges::default();
    let mut gaps: Vec<(u64, u64, Cause)> = Vec::new();
    report.damaged = evidence.unreadable;
    for segment in &evidence.segments {
        report.raw_records += segment.count();
        report.damaged += segment.damaged.len() as u64;
        report.duplicates += segment.duplicates + records.add(&segment.records);
        gaps.extend(segment.gaps.iter().map(|(from, gap)| (*from, gap.count, gap.cause)));
    }
    let mut seen: BTreeSet<(u64, u64)> =
        evidence.segments.iter().map(|one| (one.header.epoch, one.header.first)).collect();
    for account in &evidence.accounts {
        let key = (account.epoch, account.first);
        gaps.extend(&account.gaps);
        // Archived and not removed yet, or written down twice.
        if !seen.insert(key) {
            continue;
        }
        let mut told = Ranges::default();
        for (from, count, _) in &account.gaps {
            told.insert(*from..from.saturating_add(*count));
        }
        let its = told.missing(account.first..account.next);
        report.archived_records += account.records;
        // More records than numbers.
        report.duplicates += account.records.saturating_sub(its.count()) + records.add(&its);
    }
    gaps.extend(evidence.open);

    let mut told = records.clone();
    for (from, count, cause) in gaps {
        let range = from..from.saturating_add(count);
        let new = range.end - range.start - told.insert(range);
        if new > 0 {
            *report.gaps.entry(cause).or_default() += new;
        }
    }
    report.next = evidence.next.max(told.end().unwrap_or(0));
    let mut missing = told.missing(report.first..report.next);
    let last = missing.iter().last().filter(|last| last.end == report.next);
    if live && let Some(last) = last {
        // The ledger is ahead of the write.
        report.in_flight = last.end - last.start;
        missing = told.missing(report.first..last.start);
    }
    report.unexplained = missing.count();
    report.unexplained_ranges =
        missing.iter().take(MOST_RANGES).map(|range| (range.start, range.end)).collect();
    report
}
