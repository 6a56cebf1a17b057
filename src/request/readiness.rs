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
    /// The prediction log cannot be written.
    log_is_degraded: AtomicBool,
    /// And models answer only what can be recorded.
    log_refuses: AtomicBool,
}

impl Readiness {
    /// Whether the models of the start have been loaded, no stop has begun, and
    /// no model refuses because of the prediction log.
    pub fn is_ready(&self) -> bool {
        let refuses = self.log_refuses.load(Ordering::Relaxed);
        self.loaded.load(Ordering::Relaxed) && !self.is_draining() && !refuses
    }

    /// Why the gateway should not get traffic; `None` when it should.
    pub fn unready_because(&self) -> Option<&'static str> {
        if self.is_draining() {
            Some("stopping")
        } else if !self.loaded.load(Ordering::Relaxed) {
            Some("loading models")
        } else if self.log_refuses.load(Ordering::Relaxed) {
            Some("the prediction log cannot be written, and models with on_failure: strict refuse")
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

    /// Whether records cannot be written. Only where `refuses` says that models
    /// are strict about it is that a reason not to get traffic.
    pub fn set_log(&self, is_degraded: bool, refuses: bool) {
        self.log_is_degraded.store(is_degraded, Ordering::Relaxed);
        self.log_refuses.store(is_degraded && refuses, Ordering::Relaxed);
    }

    pub fn log_is_degraded(&self) -> bool {
        self.log_is_degraded.load(Ordering::Relaxed)
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
