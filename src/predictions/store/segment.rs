//! A segment of a shard that is open for writing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::disk::DiskFile;

/// A file of zeros whose blocks are reserved: the next segment.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) path: PathBuf,
}

#[derive(Debug)]
pub(super) struct Segment {
    /// Counts the segments of a shard in a run.
    pub(super) id: u64,
    pub(super) file: Arc<dyn DiskFile>,
    /// Its name is that of a prepared file until the keeper gives it its own.
    pub(super) path: PathBuf,
    pub(super) named: bool,
    /// First sequence number.
    pub(super) first: u64,
    pub(super) opened: Instant,
    /// Bytes written, and how many of them the disk has.
    pub(super) end: u64,
    pub(super) synced: u64,
    /// One past its last sequence number.
    pub(super) next: u64,
    /// A flush of it failed: what stands between `synced` and `end` may be lost.
    pub(super) doubtful: bool,
    /// The same, and no other segment has it: it is to be written once more,
    /// to the same place, before it is sealed.
    pub(super) rewrite: bool,
}

impl Segment {
    pub(super) fn is_dirty(&self) -> bool {
        self.synced < self.end && !self.doubtful && !self.rewrite
    }
}
