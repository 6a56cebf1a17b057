//! What became of a segment: the line that stays in `archive.jsonl` when the
//! segment itself is gone, so that completeness can still be proved.

use serde::{Deserialize, Serialize};

use super::frame::Cause;

/// The account of one segment. Every number of `first..next` is one of its
/// `records` or stands in one of its `gaps`; gaps may also explain numbers
/// below `first`, of segments before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    pub files: Vec<ArchivedFile>,
}

/// A file that holds some of a segment's records as rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedFile {
    /// Relative to the log's folder.
    pub path: String,
    pub rows: u64,
    pub bytes: u64,
    /// Hexadecimal digits.
    pub sha256: String,
}
