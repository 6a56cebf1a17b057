//! How many requests may wait for a model's lanes at a time: learnt from how
//! long they wait, shared out by class.

use std::sync::Arc;
use std::time::Duration;

use crate::types::Priority;

#[derive(Clone, Debug)]
pub struct LimiterOptions {
    pub min: usize,
    pub max: usize,
}

/// One for each model, over all its versions.
#[derive(Debug)]
pub struct Limiter {}

/// Leave for one request to wait and run. Gives its place back when dropped.
#[derive(Debug)]
pub struct Permit {}

impl Limiter {
    pub fn new(options: LimiterOptions) -> Arc<Limiter> {
        let _ = options;
        Arc::new(Limiter {})
    }

    /// Whether a request of this class would be refused; cheap, for refusing
    /// before a body is read.
    pub fn is_full(&self, class: Priority) -> bool {
        let _ = class;
        false
    }

    /// `None` when the class has its share.
    pub fn enter(self: &Arc<Limiter>, class: Priority) -> Option<Permit> {
        let _ = class;
        Some(Permit {})
    }

    /// Learns from a request that waited and ran.
    pub fn observe(&self, waited: Duration, ran: Duration) {
        let _ = (waited, ran);
    }

    /// The limit at this moment, for metrics.
    pub fn limit(&self) -> usize {
        usize::MAX
    }
}
