//! Writes `archive.jsonl` anew where most of it tells of what is gone.
//!
//! Accounts of segments whose files were all removed become one account where
//! their numbers follow on each other, so that completeness can still be
//! proved. What was told of files later stands with the files. Places go on as
//! if nothing had been left out (see [`books::lines`]), so that the cursor of
//! what is shipped stays right. The newest lines stay as they are: a reader may
//! have seen the segments that they are about.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use super::books::{self, Books, Lines};
use super::commit;
use super::error::ArchiveError;
use crate::predictions::account::{
    ArchivedFile, ChangeCause, Compacted, Entry, SegmentAccount, joined,
};
use crate::predictions::layout;

/// Fewer lines are not worth it.
const LEAST: u64 = 1024;
/// The newest lines, which stay as they are.
const RECENT: usize = 256;

/// Whether most lines are about things that no longer exist. After that at
/// least as many lines are new as were left, so that the cost stays a share of
/// what was written.
pub fn is_due(books: &Books) -> bool {
    let lines = books.lines;
    lines >= LEAST && lines > 2 * books.files.len() as u64 && lines > 2 * books.compacted
}

/// Writes the file anew, so that it is the old one or the new one whatever
/// happens. Nobody else may write to it meanwhile.
///
/// # Errors
/// Where the disk refuses.
pub fn compact(root: &Path) -> Result<(), ArchiveError> {
    let path = layout::archive(root);
    let Lines { lines, .. } = books::lines(root, 0)?;
    let end = lines.last().map_or(0, |(_, end)| *end);
    let (left, removed) = left(lines.into_iter().filter_map(|(entry, _)| entry).collect());
    let mut body = Vec::new();
    for entry in &left {
        write_line(&mut body, entry).map_err(ArchiveError::io(&path))?;
    }
    let begins = end.saturating_sub(body.len() as u64);
    let lines = left.len() as u64;
    let mut text = Vec::new();
    let head = Entry::Compacted(Compacted { begins, lines, removed });
    write_line(&mut text, &head).map_err(ArchiveError::io(&path))?;
    if text.len() as u64 > begins {
        // It would be longer than it was.
        return Ok(());
    }
    text.extend_from_slice(&body);
    commit::write_whole(&path, &text)
}

fn write_line(text: &mut Vec<u8>, entry: &Entry) -> io::Result<()> {
    serde_json::to_writer(&mut *text, entry)?;
    text.push(b'\n');
    Ok(())
}

/// The lines that are left of `entries`, and how many rows were taken out by
/// those that are not.
fn left(entries: Vec<Entry>) -> (Vec<Entry>, BTreeMap<ChangeCause, u64>) {
    let files = files(&entries);
    let recent = entries.len().saturating_sub(RECENT);
    let mut removed: BTreeMap<ChangeCause, u64> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let (mut dead, mut left, mut newest) = (Vec::new(), Vec::new(), Vec::new());
    for (at, entry) in entries.into_iter().enumerate() {
        match entry {
            Entry::Compacted(before) => {
                for (cause, rows) in before.removed {
                    *removed.entry(cause).or_default() += rows;
                }
            }
            // A line that was written again tells the same.
            Entry::Segment(account)
                if !seen.insert((account.shard, account.epoch, account.first)) => {}
            entry if at >= recent => newest.push(entry),
            Entry::File(change) => {
                *removed.entry(change.cause).or_default() += change.rows_removed();
            }
            Entry::Segment(mut account) => {
                let now = account.files.iter().filter_map(|file| files.get(&file.path).cloned());
                account.files = now.collect();
                match account.files.is_empty() {
                    true => dead.push(account),
                    false => left.push(Entry::Segment(account)),
                }
            }
        }
    }
    let dead = merged(dead).into_iter().map(Entry::Segment);
    (dead.chain(left).chain(newest).collect(), removed)
}

/// The files that there are, as they are by now.
fn files(entries: &[Entry]) -> BTreeMap<String, ArchivedFile> {
    let mut files = BTreeMap::new();
    for entry in entries {
        match entry {
            Entry::Segment(account) => {
                files.extend(account.files.iter().map(|file| (file.path.clone(), file.clone())));
            }
            Entry::File(change) => {
                files.remove(&change.path);
                files.extend(change.now.clone().map(|file| (change.path.clone(), file)));
            }
            Entry::Compacted(_) => {}
        }
    }
    files
}

/// Accounts of segments of one run that follow on each other become one. A
/// number that none of them has stays one that none has.
fn merged(mut accounts: Vec<SegmentAccount>) -> Vec<SegmentAccount> {
    accounts.sort_by_key(|account| (account.shard, account.epoch, account.first));
    let mut merged: Vec<SegmentAccount> = Vec::new();
    for account in accounts {
        match merged.last_mut() {
            Some(last)
                if (last.shard, last.epoch, last.next)
                    == (account.shard, account.epoch, account.first) =>
            {
                last.next = account.next;
                last.records += account.records;
                last.predictions += account.predictions;
                last.labels += account.labels;
                last.deleted += account.deleted;
                last.gaps.extend(account.gaps);
            }
            _ => merged.push(account),
        }
    }
    for account in &mut merged {
        account.gaps = joined(std::mem::take(&mut account.gaps));
    }
    merged
}

#[cfg(test)]
#[path = "compact_tests.rs"]
mod tests;
