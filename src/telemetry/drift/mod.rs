//! Metrics of drift: the `modelgate_drift_*` families.
//!
//! Counts live with whoever counts; a scrape asks for them
//! ([`DriftMetrics::set_source`]) and writes them down (`render`).

mod reading;
mod render;
mod series;

use std::fmt;
use std::sync::OnceLock;

use super::shard::Counter;

pub use reading::{DriftCounts, DriftLook, DriftOfRole, DriftReading, DriftScores, DriftStates};
pub use series::{DriftColumn, DriftFeature, DriftProfile, DriftSeries, ProfileState};

pub(super) use render::render;

/// All metrics of drift.
#[derive(Default)]
pub struct DriftMetrics {
    dropped: [Counter; DriftDrop::ALL.len()],
    source: OnceLock<Source>,
}

/// Tells what is watched, at the moment of a scrape.
type Source = Box<dyn Fn() -> Vec<DriftReading> + Send + Sync>;

impl DriftMetrics {
    pub fn dropped(&self, reason: DriftDrop) {
        self.dropped[reason as usize].add(1);
    }

    /// Says whom a scrape asks. To be called once.
    pub fn set_source(&self, source: Source) {
        // Whoever came first is asked.
        let _ = self.source.set(source);
    }

    pub(super) fn readings(&self) -> Vec<DriftReading> {
        self.source.get().map_or_else(Vec::new, |source| source())
    }
}

impl fmt::Debug for DriftMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriftMetrics").field("dropped", &self.dropped).finish_non_exhaustive()
    }
}

/// Why rows of an answer were not counted; the `reason` label of
/// `modelgate_drift_dropped_total`, which counts answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriftDrop {
    /// Too many wait to be counted.
    QueueFull,
    /// What waits holds as many bytes as it may.
    Memory,
    /// More threads counted at the same moment than there are copies.
    Busy,
}

impl DriftDrop {
    pub const ALL: [DriftDrop; 3] = [DriftDrop::QueueFull, DriftDrop::Memory, DriftDrop::Busy];

    pub fn label(self) -> &'static str {
        match self {
            DriftDrop::QueueFull => "queue_full",
            DriftDrop::Memory => "memory",
            DriftDrop::Busy => "busy",
        }
    }
}
