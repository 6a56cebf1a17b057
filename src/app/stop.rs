//! Signals, and the order they give.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Mutex;

/// SIGTERM and SIGINT: the first stops gracefully, the second at once.
pub(super) struct Signals {
    terminate: Mutex<Signal>,
    interrupt: Mutex<Signal>,
}

impl Signals {
    pub(super) fn listen() -> io::Result<Signals> {
        Ok(Signals {
            terminate: Mutex::new(signal(SignalKind::terminate())?),
            interrupt: Mutex::new(signal(SignalKind::interrupt())?),
        })
    }

    /// Waits for a signal.
    pub(super) async fn first(&self) {
        let (mut terminate, mut interrupt) =
            (self.terminate.lock().await, self.interrupt.lock().await);
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }

    /// Waits for `work`, but no longer than `grace` or the next signal.
    pub(super) async fn or_second<T>(&self, grace: Duration, work: impl Future<Output = T>) {
        tokio::select! {
            _ = work => {}
            () = self.first() => tracing::warn!("second signal: stopping at once"),
            () = tokio::time::sleep(grace) => {
                tracing::warn!(?grace, "the grace period is over with requests under way");
            }
        }
    }
}
