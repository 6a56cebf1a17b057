//! Metrics of the prediction log.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Serialize;

use super::exposition::{Kind, Page};
use super::locked;
use super::model::ModelMetrics;

/// What became of a request's record; the `outcome` label of
/// `modelgate_prediction_log_records_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordOutcome {
    /// It was kept, as surely as the model's level says.
    Recorded,
    /// The policy's sampling left it out.
    Unsampled,
    /// It could not be written, and is a gap.
    Gap,
    /// A queue was full, at level `async`.
    Dropped,
}

impl RecordOutcome {
    pub const ALL: [RecordOutcome; 4] = [
        RecordOutcome::Recorded,
        RecordOutcome::Unsampled,
        RecordOutcome::Gap,
        RecordOutcome::Dropped,
    ];

    pub fn label(self) -> &'static str {
        match self {
            RecordOutcome::Recorded => "recorded",
            RecordOutcome::Unsampled => "unsampled",
            RecordOutcome::Gap => "gap",
            RecordOutcome::Dropped => "dropped",
        }
    }
}

/// How the log is at one moment, since the gateway's start.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LogSnapshot {
    /// Records cannot be written.
    pub degraded: bool,
    /// Sequence numbers without a record, by cause.
    pub gaps: BTreeMap<&'static str, u64>,
    /// Damaged places found in segments.
    pub damaged: u64,
    /// On disk, by part: `raw`, `parquet`.
    pub bytes: BTreeMap<&'static str, u64>,
    /// Age of the oldest record that a sink (`archive`, `store`) has not taken.
    pub lag_seconds: BTreeMap<&'static str, f64>,
    /// Records that became rows of Parquet.
    pub archived: u64,
    /// Flushes that answers waited for, and how many of those.
    pub flushes: u64,
    pub flushed_records: u64,
    /// By part, and then by reason.
    pub errors: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
}

/// What the log as a whole counts. Written rarely, but for flushes.
#[derive(Debug, Default)]
pub struct LogMetrics {
    state: Mutex<State>,
    flushes: AtomicU64,
    flushed_records: AtomicU64,
    degraded: AtomicBool,
}

#[derive(Clone, Debug, Default)]
struct State {
    gaps: BTreeMap<&'static str, u64>,
    damaged: u64,
    bytes: BTreeMap<&'static str, u64>,
    lags: BTreeMap<&'static str, f64>,
    errors: BTreeMap<(&'static str, &'static str), u64>,
    archived: u64,
}

impl LogMetrics {
    /// Counts sequence numbers without a record, by their cause: one of a closed set.
    pub fn gap(&self, cause: &'static str, count: u64) {
        *locked(&self.state).gaps.entry(cause).or_default() += count;
    }

    /// Counts damaged places found in segments.
    pub fn damaged(&self, places: u64) {
        locked(&self.state).damaged += places;
    }

    /// Sets the bytes on disk of a part: `raw` or `parquet`.
    pub fn set_bytes(&self, part: &'static str, bytes: u64) {
        locked(&self.state).bytes.insert(part, bytes);
    }

    /// Sets how old the oldest record is that a sink (`archive`, `store`) has not taken.
    pub fn set_lag(&self, sink: &'static str, lag: Duration) {
        locked(&self.state).lags.insert(sink, lag.as_secs_f64());
    }

    /// Counts a failure of a part (`append`, `flush`, `archive`, `store`, ...) by its reason.
    pub fn failed(&self, part: &'static str, reason: &'static str) {
        *locked(&self.state).errors.entry((part, reason)).or_default() += 1;
    }

    /// Counts records that became rows of Parquet.
    pub fn archived(&self, records: u64) {
        locked(&self.state).archived += records;
    }

    /// Counts one flush to disk that so many appends waited for.
    pub fn flushed(&self, records: u64) {
        self.flushes.fetch_add(1, Ordering::Relaxed);
        self.flushed_records.fetch_add(records, Ordering::Relaxed);
    }

    /// Whether records cannot be written at the moment.
    pub fn set_degraded(&self, degraded: bool) {
        self.degraded.store(degraded, Ordering::Relaxed);
    }

    pub fn is_degraded(&self) -> bool {
        self.degraded.load(Ordering::Relaxed)
    }

    pub fn snapshot(&self) -> LogSnapshot {
        let state = locked(&self.state).clone();
        let mut errors: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for ((part, reason), count) in state.errors {
            errors.entry(part).or_default().insert(reason, count);
        }
        LogSnapshot {
            degraded: self.is_degraded(),
            gaps: state.gaps,
            damaged: state.damaged,
            bytes: state.bytes,
            lag_seconds: state.lags,
            archived: state.archived,
            flushes: self.flushes.load(Ordering::Relaxed),
            flushed_records: self.flushed_records.load(Ordering::Relaxed),
            errors,
        }
    }
}

pub(super) fn render(page: &mut Page, log: &LogMetrics, models: &[Arc<ModelMetrics>]) {
    let help = "Records of requests in the prediction log, by what became of them.";
    page.family("modelgate_prediction_log_records_total", Kind::Counter, help);
    for model in models {
        for (outcome, count) in RecordOutcome::ALL.iter().zip(model.records()) {
            if count > 0 {
                let labels = [("model", model.name()), ("outcome", outcome.label())];
                page.sample(&labels, count);
            }
        }
    }
    let state = locked(&log.state).clone();
    let help = "Sequence numbers of the prediction log without a record, by cause.";
    page.family("modelgate_prediction_log_gaps_total", Kind::Counter, help);
    for (cause, count) in &state.gaps {
        page.sample(&[("cause", cause)], count);
    }
    let help = "Damaged places found in segments of the prediction log.";
    page.family("modelgate_prediction_log_damaged_total", Kind::Counter, help);
    page.sample(&[], state.damaged);
    let help = "Bytes of the prediction log on disk, by part.";
    page.family("modelgate_prediction_log_bytes", Kind::Gauge, help);
    for (part, bytes) in &state.bytes {
        page.sample(&[("part", part)], bytes);
    }
    let help = "Age of the oldest record that a sink has not taken.";
    page.family("modelgate_prediction_log_lag_seconds", Kind::Gauge, help);
    for (sink, lag) in &state.lags {
        page.sample(&[("sink", sink)], lag);
    }
    let help = "Failures of parts of the prediction log, by reason.";
    page.family("modelgate_prediction_log_errors_total", Kind::Counter, help);
    for ((part, reason), count) in &state.errors {
        page.sample(&[("part", part), ("reason", reason)], count);
    }
    let help = "Records that became rows of Parquet.";
    page.family("modelgate_prediction_log_archived_total", Kind::Counter, help);
    page.sample(&[], state.archived);
    let help = "Flushes to disk that appends waited for.";
    page.family("modelgate_prediction_log_flushes_total", Kind::Counter, help);
    page.sample(&[], log.flushes.load(Ordering::Relaxed));
    let help = "Appends that waited for a flush.";
    page.family("modelgate_prediction_log_flushed_records_total", Kind::Counter, help);
    page.sample(&[], log.flushed_records.load(Ordering::Relaxed));
    let help = "1 while records cannot be written.";
    page.family("modelgate_prediction_log_degraded", Kind::Gauge, help);
    page.sample(&[], u8::from(log.is_degraded()));
}
