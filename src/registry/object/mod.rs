//! A registry in an object store: `<prefix>/<name>/<version>/<file>`.
//!
//! One poll is one listing of everything below the prefix, which stores count as
//! one request for each thousand objects, and one read of each `manifest.json`
//! and `model.yaml` that is new. At the default of a poll in 30 seconds that
//! is 2,880 requests a day and thousand objects.
//!
//! A version with a manifest is whole when all objects it names are there; the
//! manifest is uploaded last. One without is taken when two listings agree on it,
//! after its objects were read once for their digests, in the background.

mod error;
mod hash;
mod listing;
mod memory;
mod open;
mod read;

use std::path::Path as FilePath;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use object_store::ObjectStore;
use object_store::path::Path;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;

use super::{Listed, Listing, Progress, Source, SourceError};
pub(super) use error::from_store;
use memory::Memory;
pub use open::{AzureOptions, GcsOptions, S3Options};
use read::Sink;

/// Part of an object store, below a prefix.
#[derive(Clone, Debug)]
pub struct Bucket {
    pub(super) store: Arc<dyn ObjectStore>,
    /// Without slashes at its ends; empty for the whole store.
    prefix: String,
    location: String,
}

impl Bucket {
    /// `location` is that of the store, for people and without secrets.
    ///
    /// # Errors
    /// When the prefix cannot be one.
    pub fn new(
        store: Arc<dyn ObjectStore>,
        location: &str,
        prefix: &str,
    ) -> Result<Bucket, SourceError> {
        let prefix = prefix.trim_matches('/').to_owned();
        Path::parse(&prefix)
            .map_err(|error| SourceError::Failed(format!("the prefix '{prefix}': {error}")))?;
        let slash = if prefix.is_empty() { "" } else { "/" };
        let location = format!("{location}{slash}{prefix}");
        Ok(Bucket { store, prefix, location })
    }

    /// The whole store, for whoever keeps other things than models in it.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store)
    }

    /// Without slashes at its ends; empty for the whole store.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Where it is, for people and without secrets.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// The key of what is at `below` the prefix.
    pub(super) fn key(&self, below: &str) -> Result<Path, SourceError> {
        let key = if self.prefix.is_empty() {
            below.to_owned()
        } else {
            format!("{}/{below}", self.prefix)
        };
        Path::parse(&key).map_err(|error| SourceError::Failed(format!("'{key}': {error}")))
    }

    /// What stands below the prefix in a key.
    fn below<'a>(&self, key: &'a Path) -> Option<&'a str> {
        let key = key.as_ref();
        if self.prefix.is_empty() {
            return Some(key);
        }
        key.strip_prefix(self.prefix.as_str())?.strip_prefix('/')
    }
}

/// An object store as a registry.
#[derive(Debug)]
pub struct ObjectSource {
    name: String,
    poll: Duration,
    shared: Arc<Shared>,
}

/// What the hashing in the background shares.
#[derive(Debug)]
struct Shared {
    bucket: Bucket,
    /// For how long nothing may come.
    stall: Duration,
    memory: Mutex<Memory>,
    changed: Mutex<Option<Arc<Notify>>>,
}

impl ObjectSource {
    pub fn new(
        name: impl Into<String>,
        bucket: Bucket,
        poll: Duration,
        stall: Duration,
    ) -> ObjectSource {
        let (memory, changed) = Default::default();
        let shared = Arc::new(Shared { bucket, stall, memory, changed });
        ObjectSource { name: name.into(), poll, shared }
    }
}

impl Drop for ObjectSource {
    fn drop(&mut self) {
        self.shared.memory().stop_hashing();
    }
}

impl Source for ObjectSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn location(&self) -> String {
        self.shared.bucket.location.clone()
    }

    fn poll_every(&self) -> Duration {
        self.poll
    }

    /// The store tells nothing; told is when digests are known that were missing.
    fn watch(&self, changed: Arc<Notify>) -> Option<Box<dyn Send + Sync>> {
        *self.shared.changed.lock().unwrap_or_else(PoisonError::into_inner) = Some(changed);
        Some(Box::new(()))
    }

    fn list(&self) -> BoxFuture<'_, Result<Listing, SourceError>> {
        listing::list(&self.shared).boxed()
    }

    fn fetch<'a>(
        &'a self,
        version: &'a Listed,
        into: &'a FilePath,
        progress: &'a Progress,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        self.shared.fetch(version, into, progress).boxed()
    }
}

impl Shared {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(
        &self,
        version: &Listed,
        into: &FilePath,
        progress: &Progress,
    ) -> Result<(), SourceError> {
        for file in &version.files {
            let key = self.bucket.key(&format!("{}/{}", version.place, file.name))?;
            let path = into.join(file.name.as_str());
            let to = File::create_new(path).await.map_err(|e| SourceError::from_writing(&e))?;
            let mut copy = Copy { to, progress };
            self.bucket.read(&key, file.bytes, self.stall, &mut copy).await?;
            copy.to.flush().await.map_err(|e| SourceError::from_writing(&e))?;
        }
        Ok(())
    }
}

struct Copy<'a> {
    to: File,
    progress: &'a Progress,
}

impl Sink for Copy<'_> {
    async fn take(&mut self, bytes: Bytes) -> Result<(), SourceError> {
        self.to.write_all(&bytes).await.map_err(|error| SourceError::from_writing(&error))?;
        self.progress.add(bytes.len() as u64);
        Ok(())
    }
}
