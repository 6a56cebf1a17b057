//! A registry that is a folder: `<name>/<version>/model.onnx`, Triton's layout.
//!
//! - Entries that begin with `.` or `_` are passed over.
//! - A flat `<name>/model.onnx` is version 1 of `<name>`, and a `model.onnx` in
//!   the folder itself is version 1 of a model that bears the folder's name.
//! - A version with a `manifest.json` is whole when every file it names is there
//!   with the size it states. One without is whole when nothing changed for a
//!   while and its `model.onnx` does not break off, or when nothing changed for
//!   four times as long.
//! - Links are followed within the folder; one that leads out makes its version
//!   unfinished.

mod copy;
mod inside;
mod listing;
mod memory;
mod walk;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use super::{Listed, Listing, Progress, Source, SourceError};
use crate::background;
use memory::Memory;

/// A folder as a registry.
#[derive(Debug)]
pub struct DirSource {
    name: String,
    root: PathBuf,
    poll: Duration,
    settle: Duration,
    /// Held while a listing is made, so on blocking threads only.
    memory: Arc<Mutex<Memory>>,
    /// Whether the last listing met a version that is being written.
    lively: Arc<AtomicBool>,
}

impl DirSource {
    /// A version without a manifest is taken once it was the same for `settle`.
    pub fn new(
        name: impl Into<String>,
        root: impl Into<PathBuf>,
        poll: Duration,
        settle: Duration,
    ) -> DirSource {
        let (name, root) = (name.into(), root.into());
        DirSource { name, root, poll, settle, memory: Arc::default(), lively: Arc::default() }
    }
}

impl Source for DirSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn location(&self) -> String {
        self.root.display().to_string()
    }

    fn poll_every(&self) -> Duration {
        self.poll
    }

    fn look_again(&self) -> Duration {
        if self.lively.load(Ordering::Relaxed) { self.settle.min(self.poll) } else { self.poll }
    }

    fn watch(&self, changed: Arc<Notify>) -> Option<Box<dyn Send + Sync>> {
        match watch::watch(&self.root, changed) {
            Ok(watching) => Some(watching),
            Err(error) => {
                tracing::warn!(
                    registry = self.name, %error, poll_ms = self.poll.as_millis() as u64,
                    "cannot watch this registry for changes; polling it only"
                );
                None
            }
        }
    }

    fn list(&self) -> BoxFuture<'_, Result<Listing, SourceError>> {
        let (root, settle) = (self.root.clone(), self.settle);
        let (memory, lively) = (Arc::clone(&self.memory), Arc::clone(&self.lively));
        blocking(move || {
            let (listing, is_lively) = listing::list(&root, &mut lock(&memory), settle)?;
            lively.store(is_lively, Ordering::Relaxed);
            Ok(listing)
        })
        .boxed()
    }

    fn fetch<'a>(
        &'a self,
        version: &'a Listed,
        into: &'a Path,
        progress: &'a Progress,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        let (root, version, into) = (self.root.clone(), version.clone(), into.to_owned());
        let progress = progress.clone();
        let dropped = StopOnDrop::default();
        let stop = Arc::clone(&dropped.0);
        async move {
            let _dropped = dropped;
            blocking(move || copy::copy(&root, &version, &into, &stop, |bytes| progress.add(bytes)))
                .await
        }
        .boxed()
    }
}

/// Stops what runs on another thread when nobody waits for it any more.
#[derive(Default)]
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    background::run(work).await.unwrap_or_else(|error| Err(SourceError::Failed(error.to_string())))
}

fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}
