//! Tells of changes in a folder soon after they happen.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// Changes that follow each other this closely are told of once.
const QUIET: Duration = Duration::from_millis(100);
/// Of changes without end is told this often.
const MOST: Duration = Duration::from_millis(500);

/// Notifies `changed` when something changes below `root`, until what is
/// returned is dropped.
///
/// # Errors
/// When the system cannot watch the folder; some network file systems cannot,
/// and the number of watched folders is limited.
pub(super) fn watch(root: &Path, changed: Arc<Notify>) -> notify::Result<Box<dyn Send + Sync>> {
    // The rooms of a channel that nobody need empty: one change is as good as many.
    let (tell, changes) = mpsc::sync_channel(1);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        if event.map_or(true, |event| is_change(event.kind)) {
            let _ = tell.try_send(());
        }
    })?;
    watcher.watch(&root.canonicalize()?, RecursiveMode::Recursive)?;
    std::thread::Builder::new().name("registry-watch".to_owned()).spawn(move || {
        // Ends with the watcher.
        while changes.recv().is_ok() {
            let first = Instant::now();
            while first.elapsed() < MOST {
                match changes.recv_timeout(QUIET) {
                    Ok(()) => {}
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
            changed.notify_one();
        }
    })?;
    Ok(Box::new(watcher))
}

/// Reading is none: we would be told of our own listings.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}
