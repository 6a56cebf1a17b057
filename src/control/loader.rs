//! The thread on which models are loaded and freed, away from requests.

use std::io;

use crossbeam_channel::{Sender, unbounded};

use crate::background;

type Work = Box<dyn FnOnce() + Send>;

/// One thread that yields to all others. Loads and frees queue up for it: there are at
/// most as many as there are versions that are wanted.
#[derive(Clone)]
pub(super) struct Loader {
    work: Sender<Work>,
}

impl Loader {
    pub(super) fn start() -> io::Result<Loader> {
        let (work, waiting) = unbounded::<Work>();
        std::thread::Builder::new().name("loader".to_owned()).spawn(move || {
            for work in waiting {
                if background::yields() {
                    background::step_back();
                }
                // A panic of one load must not end all loading.
                let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
                if outcome.is_err() {
                    tracing::error!("a panic while loading or freeing a model");
                }
            }
        })?;
        Ok(Loader { work })
    }

    pub(super) fn run(&self, work: impl FnOnce() + Send + 'static) {
        // The thread lives as long as this handle.
        let _ = self.work.send(Box::new(work));
    }
}
