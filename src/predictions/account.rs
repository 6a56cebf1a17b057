//! What became of a segment: the line that stays in `archive.jsonl` when the
//! segment itself is gone, so that completeness can still be proved.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::frame::Cause;

/// The account of one segment. Every number of `first..next` is one of its
/// `records` or stands in one of its `gaps`; gaps may also explain numbers
/// below `first`, of segments before it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentAccount {
    pub shard: u32,
    pub epoch: u64,
    pub first: u64,
    /// One past its last sequence number.
    pub next: u64,
    /// Predictions and labels.
    pub records: u64,
    /// First number, how many, and why: gap records, and what damage took.
    pub gaps: Vec<(u64, u64, Cause)>,
    pub predictions: u64,
    pub labels: u64,
    /// Records that were left out, as their unit had been deleted.
    #[serde(default)]
    pub deleted: u64,
    /// Files that begin with its records: one that holds records of several
    /// segments is named by the first of them alone.
    pub files: Vec<ArchivedFile>,
}

/// What happened to a file after it was archived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    pub path: String,
    /// Rows that it had before.
    pub rows: u64,
    pub cause: ChangeCause,
    /// What stands at the same path now; `None` where nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<ArchivedFile>,
}

impl FileChange {
    /// How many rows it took out.
    pub fn rows_removed(&self) -> u64 {
        self.rows.saturating_sub(self.now.as_ref().map_or(0, |file| file.rows))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeCause {
    /// It was older than the log keeps.
    Age,
    /// The log was larger than it may be.
    Size,
    /// Rows of it were deleted on request.
    Deleted,
}

/// One line of `archive.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Entry {
    /// A segment was converted, or given up, and is removed.
    Segment(SegmentAccount),
    File(FileChange),
    Compacted(Compacted),
}

/// The first line of a file that was written anew, with less than it had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compacted {
    /// The byte at which the next line would begin, had nothing been left out.
    pub begins: u64,
    /// How many lines after this one were written with it.
    pub lines: u64,
    /// Rows that were taken out of files, by lines that were left out.
    pub removed: BTreeMap<ChangeCause, u64>,
}

/// A file that holds some of a segment's records as rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedFile {
    /// Relative to the log's folder.
    pub path: String,
    pub rows: u64,
    pub bytes: u64,
    /// Hexadecimal digits.
    pub sha256: String,
}

/// Gaps in the order of their numbers; those that follow on each other for the
/// same cause become one.
pub fn joined(mut gaps: Vec<(u64, u64, Cause)>) -> Vec<(u64, u64, Cause)> {
    gaps.sort_unstable();
    let mut joined: Vec<(u64, u64, Cause)> = Vec::new();
    for (first, count, cause) in gaps {
        match joined.last_mut() {
            Some((start, length, of)) if *start + *length == first && *of == cause => {
                *length += count;
            }
            _ => joined.push((first, count, cause)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_kinds_come_back() {
        let file = ArchivedFile { path: "parquet/a".to_owned(), rows: 5, ..Default::default() };
        let account = SegmentAccount {
            first: 10,
            next: 20,
            records: 8,
            gaps: vec![(12, 2, Cause::Expired)],
            files: vec![file.clone()],
            ..SegmentAccount::default()
        };
        let path = file.path.clone();
        let now = Some(ArchivedFile { rows: 4, ..file });
        let changed = FileChange { path, rows: 5, cause: ChangeCause::Deleted, now };
        let removed = FileChange { cause: ChangeCause::Age, now: None, ..changed.clone() };
        let counts = BTreeMap::from([(ChangeCause::Age, 5), (ChangeCause::Deleted, 1)]);
        let compacted = Compacted { begins: 900, lines: 3, removed: counts };
        for entry in [
            Entry::Segment(account),
            Entry::File(changed),
            Entry::File(removed),
            Entry::Compacted(compacted),
        ] {
            let line = serde_json::to_string(&entry).expect("JSON");
            assert_eq!(serde_json::from_str::<Entry>(&line).expect("an entry"), entry);
        }
    }
}
