//! Appends records to segments, as surely as was asked for.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::frame::Kind;
use super::policy::OnFailure;
use crate::telemetry::LogMetrics;

#[derive(Debug, Error)]
pub enum LogError {
    #[error("cannot use the folder of the prediction log '{folder}': {source}")]
    Folder { folder: PathBuf, source: io::Error },
    #[error("the folder of the prediction log '{0}' is in use by another gateway")]
    InUse(PathBuf),
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
}

#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The log's folder.
    pub root: PathBuf,
    /// Threads that append on their own: one shard each.
    pub shards: usize,
    /// A segment is sealed at this size or age.
    pub segment_bytes: u64,
    pub segment_age: Duration,
    /// The longest that a record at level `process` waits for the disk.
    pub flush_every: Duration,
    /// An append that takes longer detaches its shard.
    pub slow_append: Duration,
    /// Records that wait at level `async`: most, and their bytes.
    pub queue_records: usize,
    pub queue_bytes: usize,
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub shard: u32,
    pub sequence: u64,
}

/// What came of an append.
#[derive(Debug)]
pub enum Appended {
    /// The kernel has it.
    Kept(Place),
    /// The shard is detached, and the policy strict: a log thread has the record.
    Pending(tokio::sync::oneshot::Receiver<Result<Place, NotKept>>),
    /// It is a counted gap.
    Gap,
}

/// Why a record could not be kept. Its sequence numbers are a gap.
#[derive(Clone, Debug, Error)]
#[error("the prediction log cannot be written: {0}")]
pub struct NotKept(pub Arc<str>);

/// A record that is encoded by the thread that writes it.
pub trait Encode: Send {
    fn kind(&self) -> Kind;
    /// Appends the payload.
    fn encode(&self, payload: &mut Vec<u8>);
    /// Bytes it holds while it waits.
    fn bytes(&self) -> usize;
}

/// The segments of one gateway.
#[derive(Debug)]
pub struct Log {
    options: LogOptions,
    metrics: Arc<LogMetrics>,
}

impl Log {
    /// Recovers what an earlier run left, and begins new segments.
    ///
    /// # Errors
    /// Where the folder cannot be made, or belongs to another process. Damage is no error.
    pub fn open(options: LogOptions, metrics: Arc<LogMetrics>) -> Result<Arc<Log>, LogError> {
        Ok(Arc::new(Log { options, metrics }))
    }

    pub fn root(&self) -> &Path {
        &self.options.root
    }

    /// Appends on this thread, with one write and no wait but the kernel's.
    /// `encode` appends the payload, and may be called once or not at all.
    pub fn append(
        &self,
        kind: Kind,
        on_failure: OnFailure,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Appended {
        let _ = (kind, on_failure, encode);
        Appended::Gap
    }

    /// Waits until the disk has what stands at `place`, together with what others wait for.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub async fn flushed(&self, place: Place) -> Result<(), NotKept> {
        let _ = place;
        Err(NotKept(Arc::from("")))
    }

    /// Hands a record to a log thread and goes on; a full queue drops and
    /// counts it. Says whether it was taken.
    pub fn offer(&self, record: Box<dyn Encode>) -> bool {
        drop(record);
        self.metrics.failed("append", "stub");
        false
    }
}
