//! Whether the gateway should get traffic.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;

#[derive(Default)]
pub struct Readiness {
    loaded: AtomicBool,
    draining: AtomicBool,
    /// Registries whose last listing is an old one.
    stale: ArcSwap<Vec<String>>,
}

impl Readiness {
    /// Whether the models of the start have been loaded and no stop has begun.
    pub fn is_ready(&self) -> bool {
        self.loaded.load(Ordering::Relaxed) && !self.is_draining()
    }

    /// Why the gateway should not get traffic; `None` when it should.
    pub fn unready_because(&self) -> Option<&'static str> {
        if self.is_draining() {
            Some("stopping")
        } else if !self.is_ready() {
            Some("loading models")
        } else {
            None
        }
    }

    /// Registries that do not answer, so that what is served rests on what they
    /// stated before. No reason not to get traffic.
    pub fn stale_registries(&self) -> Arc<Vec<String>> {
        self.stale.load_full()
    }

    pub fn set_stale(&self, registries: Vec<String>) {
        self.stale.store(Arc::new(registries));
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub fn set_loaded(&self) {
        self.loaded.store(true, Ordering::Relaxed);
    }

    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}
