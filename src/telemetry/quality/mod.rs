//! Metrics of live quality: what labels said of predictions.
//!
//! One thread of `quality` computes all of it and publishes whole readings; a
//! scrape only writes them down (`render`). Nobody waits for anybody, so the
//! thread may run where a core would be idle.

mod family;
mod feedback;
mod render;
mod series;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use super::shard::Counter;

pub use family::{Bound, QualityFamily, QualityGauge};
pub use feedback::{FeedbackCounts, FeedbackOutcome};
pub use series::{QualityKey, QualityLabels, QualityReading, QualitySample, QualitySeries};

pub(super) use render::render;

/// All metrics of quality.
#[derive(Debug, Default)]
pub struct QualityMetrics {
    dropped: [Counter; QualityDrop::ALL.len()],
    series: ArcSwap<Vec<Arc<QualitySeries>>>,
    /// By model, in the order of their names.
    feedback: ArcSwap<Vec<(Arc<str>, FeedbackCounts)>>,
    rows: AtomicU64,
    bytes: AtomicU64,
    pending: AtomicU64,
}

impl QualityMetrics {
    pub fn dropped(&self, reason: QualityDrop) {
        self.dropped[reason as usize].add(1);
    }

    /// Sets the series that there are; others are no longer rendered.
    pub fn set_series(&self, series: Vec<Arc<QualitySeries>>) {
        self.series.store(Arc::new(series));
    }

    /// What every series was last found to have.
    pub fn readings(&self) -> Vec<(QualityKey, Arc<QualityReading>)> {
        let series = self.series.load();
        series.iter().map(|series| (series.key().clone(), series.reading())).collect()
    }

    pub fn series_count(&self) -> usize {
        self.series.load().len()
    }

    pub fn set_feedback(&self, feedback: Vec<(Arc<str>, FeedbackCounts)>) {
        self.feedback.store(Arc::new(feedback));
    }

    /// Sets what the index holds: rows, their bytes, and labels that wait.
    pub fn set_index(&self, rows: usize, bytes: usize, pending: usize) {
        self.rows.store(rows as u64, Ordering::Relaxed);
        self.bytes.store(bytes as u64, Ordering::Relaxed);
        self.pending.store(pending as u64, Ordering::Relaxed);
    }
}

/// Why a prediction cannot be joined with a label; the `reason` label of
/// `modelgate_quality_dropped_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QualityDrop {
    /// Too many wait to be taken in.
    QueueFull,
    /// It is too large, or what waits holds as many bytes as it may.
    Memory,
    /// As many versions have series as may.
    Series,
    /// The index is full, so that the oldest went before its time.
    IndexFull,
}

impl QualityDrop {
    pub const ALL: [QualityDrop; 4] =
        [QualityDrop::QueueFull, QualityDrop::Memory, QualityDrop::Series, QualityDrop::IndexFull];

    pub fn label(self) -> &'static str {
        match self {
            QualityDrop::QueueFull => "queue_full",
            QualityDrop::Memory => "memory",
            QualityDrop::Series => "series",
            QualityDrop::IndexFull => "index_full",
        }
    }
}
