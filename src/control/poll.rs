//! Asks a registry again and again what it wants.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::retry::{Backoff, jittered};
use crate::registry::{Listing, Source, SourceError};

/// Longest wait after a failure.
const MOST: Duration = Duration::from_secs(60);

/// What a registry answered.
pub(super) struct Heard {
    /// The configuration that it was asked under, and its place in it.
    pub(super) round: u64,
    pub(super) place: usize,
    pub(super) result: Result<Listing, SourceError>,
    /// Something is being written, and the registry will be asked again soon.
    pub(super) is_settling: bool,
}

/// A registry that is being asked, until this is dropped.
pub(super) struct Poll {
    changed: Arc<Notify>,
    task: JoinHandle<()>,
    _watch: Option<Box<dyn Send + Sync>>,
}

impl Poll {
    pub(super) fn start(
        source: &Arc<dyn Source>,
        round: u64,
        place: usize,
        heard: mpsc::Sender<Heard>,
    ) -> Poll {
        let changed = Arc::new(Notify::new());
        let watch = source.watch(Arc::clone(&changed));
        let (source, poked) = (Arc::clone(source), Arc::clone(&changed));
        let task = tokio::spawn(async move {
            let mut backoff = Backoff::new(MOST);
            loop {
                let result = source.list().await;
                let soon = source.look_again();
                let is_unfinished = result.as_ref().is_ok_and(|one| !one.unfinished.is_empty());
                let is_settling = is_unfinished && soon < source.poll_every();
                let wait = match &result {
                    Err(_) => backoff.next(),
                    Ok(_) => {
                        backoff.reset();
                        jittered(if is_unfinished { soon } else { source.poll_every() })
                    }
                };
                if heard.send(Heard { round, place, result, is_settling }).await.is_err() {
                    return;
                }
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = poked.notified() => {}
                }
            }
        });
        Poll { changed, task, _watch: watch }
    }

    /// Asks at once.
    pub(super) fn poke(&self) {
        self.changed.notify_one();
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        self.task.abort();
    }
}
