//! Copies the archive to an object store.
//!
//! The lines of `archive.jsonl` are gone through in their order, which is that
//! of time. A file is an object of the same path below the prefix, so that one
//! that is sent twice is there once. `ship.json` says up to which byte the
//! store has everything, and moves on only after it said so. What is removed
//! here for its age or size stays there; what was deleted on request is
//! replaced or deleted there as well.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::AsyncReadExt;

use super::books::{self, Books};
use super::commit;
use super::error::ArchiveError;
use crate::predictions::account::Entry;
use crate::predictions::layout;
use crate::telemetry::LogMetrics;
use crate::types::{jittered, next_random};

/// Larger files go in parts of this many bytes; stores want at least 5 MiB.
const PART: usize = 8 << 20;
/// For how long one request may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is worked out how far the store is behind, while it is.
const LAG_EVERY: Duration = Duration::from_secs(10);
/// How often it is looked for new lines.
const TICK: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub struct ShipOptions {
    pub store: Arc<dyn ObjectStore>,
    /// What the objects' names begin with; empty for nothing. Of this gateway
    /// alone: others of the same log's prefix are told apart by their files' names.
    pub prefix: String,
    /// Most bytes in a second, on average over a file. `None` is no limit.
    pub bytes_per_second: Option<u64>,
    /// The first wait after a failure, and the longest: each is twice the one
    /// before, and jittered.
    pub retry: Duration,
    pub max_retry: Duration,
}

/// What is in `ship.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Cursor {
    /// The store has all that `archive.jsonl` tells of up to this place: see
    /// [`books::lines`].
    bytes: u64,
    /// Files of schemas that it has.
    schemas: BTreeSet<String>,
}

#[derive(Debug, Error)]
enum ShipError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("the object store: {0}")]
    Store(#[from] object_store::Error),
    #[error("the object store gave no answer within {} s", PATIENCE.as_secs())]
    Timeout,
}

impl ShipError {
    fn reason(&self) -> &'static str {
        match self {
            ShipError::Archive(error) => error.reason(),
            ShipError::Store(_) => "refused",
            ShipError::Timeout => "timeout",
        }
    }
}

/// Copies what comes, in order.
#[derive(Debug)]
pub struct Ship {
    root: PathBuf,
    options: ShipOptions,
    cursor: Cursor,
    shipped: Arc<AtomicU64>,
    metrics: Arc<LogMetrics>,
    /// When the lag was told last.
    told: Option<Instant>,
}

impl Ship {
    /// # Errors
    /// Where `ship.json` cannot be read. One that is not there, or says
    /// nothing, makes all be sent again.
    pub fn open(
        root: &Path,
        options: ShipOptions,
        metrics: Arc<LogMetrics>,
    ) -> Result<Ship, ArchiveError> {
        let cursor = read_cursor(root)?.unwrap_or_default();
        let shipped = Arc::new(AtomicU64::new(cursor.bytes));
        Ok(Ship { root: root.to_owned(), options, cursor, shipped, metrics, told: None })
    }

    /// Up to which place in `archive.jsonl` the store has everything.
    pub fn shipped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.shipped)
    }

    /// Ships until it is stopped, on the calling thread.
    pub fn run(mut self, stop: &AtomicBool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else {
            self.metrics.failed("store", "runtime");
            return;
        };
        let mut failures = 0;
        while !stop.load(Ordering::Relaxed) {
            let shipped = runtime.block_on(async {
                tokio::select! {
                    shipped = self.ship() => Some(shipped),
                    () = stopped(stop) => None,
                }
            });
            let wait = match shipped {
                None => return,
                Some(Ok(())) => {
                    failures = 0;
                    TICK
                }
                Some(Err(error)) => {
                    self.metrics.failed("store", error.reason());
                    tracing::warn!(%error, "the prediction log is not shipped");
                    let doubled = self.options.retry.saturating_mul(1 << failures.min(16));
                    failures += 1;
                    jittered(doubled.min(self.options.max_retry), next_random())
                }
            };
            std::thread::park_timeout(wait);
        }
    }

    /// Copies all that is told of by now.
    async fn ship(&mut self) -> Result<(), ShipError> {
        let told = books::end(&self.root)?;
        if told < self.cursor.bytes {
            // Another archive than the one that was shipped.
            self.cursor.bytes = 0;
        }
        if told == self.cursor.bytes {
            self.metrics.set_lag("store", Duration::ZERO);
            return Ok(());
        }
        self.tell_lag();
        let mut sent = BTreeSet::new();
        for (entry, end) in books::lines(&self.root, self.cursor.bytes)?.lines {
            match entry {
                Some(Entry::Segment(account)) => {
                    self.schemas().await?;
                    for file in &account.files {
                        self.file(&file.path, &mut sent).await?;
                    }
                }
                Some(Entry::File(change)) if change.now.is_some() => {
                    // It may have been sent as it was before.
                    sent.remove(&change.path);
                    self.file(&change.path, &mut sent).await?;
                }
                Some(Entry::File(change))
                    if change.cause == crate::predictions::account::ChangeCause::Deleted =>
                {
                    self.remove(&change.path).await?;
                }
                Some(Entry::File(_) | Entry::Compacted(_)) | None => {}
            }
            self.cursor.bytes = end;
            self.keep_cursor()?;
            self.tell_lag();
        }
        Ok(())
    }

    fn keep_cursor(&self) -> Result<(), ShipError> {
        let path = layout::shipped(&self.root);
        let text = serde_json::to_vec(&self.cursor).map_err(std::io::Error::from);
        commit::write_whole(&path, &text.map_err(ArchiveError::io(&path))?)?;
        self.shipped.store(self.cursor.bytes, Ordering::Release);
        Ok(())
    }

    /// Sends the schemas that the store does not have: they were written before
    /// the records that need them.
    async fn schemas(&mut self) -> Result<(), ShipError> {
        let folder = layout::schemas(&self.root);
        let Ok(entries) = std::fs::read_dir(&folder) else { return Ok(()) };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let names: BTreeSet<String> = names.filter(|name| name.ends_with(".json")).collect();
        for name in names {
            if !self.cursor.schemas.contains(&name) {
                self.send(&format!("schemas/{name}")).await?;
                self.cursor.schemas.insert(name);
            }
        }
        Ok(())
    }

    async fn file(&self, path: &str, sent: &mut BTreeSet<String>) -> Result<(), ShipError> {
        if !sent.contains(path) {
            self.send(path).await?;
            sent.insert(path.to_owned());
        }
        Ok(())
    }

    /// Sends a file as it is by now. One that is gone was removed for the space
    /// it took, or deleted, which a later line tells.
    async fn send(&self, path: &str) -> Result<(), ShipError> {
        let started = Instant::now();
        let place = self.root.join(path);
        let mut file = match tokio::fs::File::open(&place).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.metrics.failed("store", "gone");
                return Ok(());
            }
            file => file.map_err(ArchiveError::io(&place))?,
        };
        let key = self.key(path);
        let mut bytes = 0;
        let mut part = read_part(&mut file, &place).await?;
        if part.len() < PART {
            bytes += part.len();
            within(self.options.store.put(&key, PutPayload::from(part))).await?;
        } else {
            let mut upload = within(self.options.store.put_multipart(&key)).await?;
            let sending = async {
                while !part.is_empty() {
                    bytes += part.len();
                    let payload = PutPayload::from(std::mem::take(&mut part));
                    within(upload.put_part(payload)).await?;
                    self.pace(bytes, started).await;
                    part = read_part(&mut file, &place).await?;
                }
                within(upload.complete()).await
            };
            if let Err(error) = sending.await {
                // Parts cost money until they are removed.
                let _ = within(upload.abort()).await;
                return Err(error);
            }
        }
        self.pace(bytes, started).await;
        Ok(())
    }

    /// Waits until so many bytes are no more than may have been sent since.
    async fn pace(&self, bytes: usize, started: Instant) {
        if let Some(most) = self.options.bytes_per_second {
            let due = Duration::from_secs_f64(bytes as f64 / most.max(1) as f64);
            tokio::time::sleep(due.saturating_sub(started.elapsed())).await;
        }
    }

    async fn remove(&self, path: &str) -> Result<(), ShipError> {
        match within(self.options.store.delete(&self.key(path))).await {
            Err(ShipError::Store(object_store::Error::NotFound { .. })) => Ok(()),
            removed => removed,
        }
    }

    fn key(&self, path: &str) -> Key {
        let prefix = self.options.prefix.trim_matches('/');
        if prefix.is_empty() { Key::from(path) } else { Key::from(format!("{prefix}/{path}")) }
    }

    /// How old the oldest file is that the store does not have.
    fn tell_lag(&mut self) {
        if self.told.is_some_and(|told| told.elapsed() < LAG_EVERY) {
            return;
        }
        self.told = Some(Instant::now());
        let Ok(books) = Books::read(&self.root) else { return };
        let waiting = books.files.iter().filter(|(_, file)| file.told > self.cursor.bytes);
        let written = waiting.filter_map(|(path, _)| {
            std::fs::metadata(self.root.join(path)).and_then(|file| file.modified()).ok()
        });
        let now = SystemTime::now();
        let lag = written.min().and_then(|oldest| now.duration_since(oldest).ok());
        self.metrics.set_lag("store", lag.unwrap_or_default());
    }
}

/// The place up to which a store has everything; `None` where none ever had anything.
///
/// # Errors
/// Where `ship.json` cannot be read.
pub fn cursor(root: &Path) -> Result<Option<u64>, ArchiveError> {
    Ok(read_cursor(root)?.map(|cursor| cursor.bytes))
}

fn read_cursor(root: &Path) -> Result<Option<Cursor>, ArchiveError> {
    let path = layout::shipped(root);
    match std::fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        text => {
            let text = text.map_err(ArchiveError::io(&path))?;
            Ok(Some(serde_json::from_slice(&text).unwrap_or_default()))
        }
    }
}

async fn read_part(file: &mut tokio::fs::File, path: &Path) -> Result<Vec<u8>, ShipError> {
    let mut part = Vec::new();
    let read = file.take(PART as u64).read_to_end(&mut part).await;
    read.map_err(ArchiveError::io(path))?;
    Ok(part)
}

async fn within<T>(
    request: impl Future<Output = Result<T, object_store::Error>>,
) -> Result<T, ShipError> {
    let answer = tokio::time::timeout(PATIENCE, request).await;
    Ok(answer.map_err(|_| ShipError::Timeout)??)
}

/// Ends when `stop` is set.
async fn stopped(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
