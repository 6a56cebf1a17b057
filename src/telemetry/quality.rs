//! Metrics of live quality: what labels said of predictions.
//!
//! One thread of `quality` computes all of it and publishes whole readings; a
//! scrape only writes them down. Nobody waits for anybody, so the thread may
//! run where a core would be idle.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use super::exposition::{Kind, Page};
use super::shard::Counter;
use crate::types::{ModelName, Version};

/// Families of one version's series. Those that count only grow, so that
/// Prometheus adds up several gateways; the others are this gateway's own view
/// of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QualityFamily {
    Predictions,
    Labelled,
    Corrections,
    Outcomes,
    Correct,
    Scores,
    ScoresBelow,
    LogLoss,
    Brier,
    CalibrationRows,
    CalibrationClaimed,
    CalibrationPositives,
    AbsError,
    SquaredError,
    OverError,
    RewardWeight,
    RewardGained,
    RewardLost,
    Gauge(QualityGauge, Bound),
}

/// Figures of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QualityGauge {
    Rows,
    Coverage,
    LabelDelay,
    Accuracy,
    Precision,
    Recall,
    F1,
    LogLoss,
    Auc,
    AucError,
    Brier,
    CalibrationError,
    Mae,
    Rmse,
    Bias,
    Reward,
}

/// The figure itself, or an end of its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bound {
    Value,
    Lower,
    Upper,
}

/// Labels of a sample beside those of its series.
pub type QualityLabels = Vec<(&'static str, Cow<'static, str>)>;

/// One sample of a version's series.
#[derive(Clone, Debug, PartialEq)]
pub struct QualitySample {
    pub labels: QualityLabels,
    /// The sum, where it is one.
    pub value: f64,
    /// Weight of what was added up, for families that are sums.
    pub count: Option<f64>,
}

/// All samples of one version, by family.
pub type QualityReading = Vec<(QualityFamily, Vec<QualitySample>)>;

/// What names a version's series.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QualityKey {
    pub model: ModelName,
    pub version: Version,
    pub variant: Arc<str>,
    /// `primary`, `fallback` or `shadow`.
    pub role: &'static str,
}

/// The series of one version under one variant and role.
#[derive(Debug)]
pub struct QualitySeries {
    key: QualityKey,
    reading: ArcSwap<QualityReading>,
}

impl QualitySeries {
    pub fn new(key: QualityKey) -> QualitySeries {
        QualitySeries { key, reading: ArcSwap::default() }
    }

    pub fn key(&self) -> &QualityKey {
        &self.key
    }

    pub fn publish(&self, reading: QualityReading) {
        self.reading.store(Arc::new(reading));
    }
}

/// What became of a label; the `outcome` label of `modelgate_feedback_total`.
/// A label that waits is counted when it comes and again when its wait ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedbackOutcome {
    /// It met its prediction.
    Joined,
    /// It took the place of an earlier one.
    Corrected,
    /// It says what is known already, or is older than what is known.
    Duplicate,
    /// Its prediction is not known: it waits for it.
    Pending,
    /// The prediction is older than what is remembered.
    Late,
    /// There is no such prediction or row, or none came while it waited.
    Unknown,
    /// It is of another kind than what was predicted.
    Mismatched,
}

impl FeedbackOutcome {
    pub const ALL: [FeedbackOutcome; 7] = [
        FeedbackOutcome::Joined,
        FeedbackOutcome::Corrected,
        FeedbackOutcome::Duplicate,
        FeedbackOutcome::Pending,
        FeedbackOutcome::Late,
        FeedbackOutcome::Unknown,
        FeedbackOutcome::Mismatched,
    ];

    pub fn label(self) -> &'static str {
        match self {
            FeedbackOutcome::Joined => "joined",
            FeedbackOutcome::Corrected => "corrected",
            FeedbackOutcome::Duplicate => "duplicate",
            FeedbackOutcome::Pending => "pending",
            FeedbackOutcome::Late => "late",
            FeedbackOutcome::Unknown => "unknown",
            FeedbackOutcome::Mismatched => "mismatched",
        }
    }
}

/// Upper bounds of the buckets of delays, in seconds, with their `le` labels.
const DELAY_BOUNDS: [(f64, &str); 11] = [
    (1.0, "1"),
    (10.0, "10"),
    (60.0, "60"),
    (300.0, "300"),
    (900.0, "900"),
    (3_600.0, "3600"),
    (10_800.0, "10800"),
    (21_600.0, "21600"),
    (43_200.0, "43200"),
    (86_400.0, "86400"),
    (604_800.0, "604800"),
];

/// What labels of one model did.
#[derive(Clone, Debug, Default)]
pub struct FeedbackCounts {
    outcomes: [u64; FeedbackOutcome::ALL.len()],
    delays: [u64; DELAY_BOUNDS.len() + 1],
    delay_sum: f64,
}

impl FeedbackCounts {
    pub fn ended(&mut self, outcome: FeedbackOutcome) {
        self.outcomes[outcome as usize] += 1;
    }

    pub fn of(&self, outcome: FeedbackOutcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    /// Counts the seconds from a prediction to its label.
    pub fn delayed(&mut self, seconds: f64) {
        let bucket = DELAY_BOUNDS.partition_point(|(bound, _)| *bound < seconds);
        self.delays[bucket] += 1;
        self.delay_sum += seconds;
    }
}

/// Why a prediction cannot be joined with a label; the `reason` label of
/// `modelgate_quality_dropped_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QualityDrop {
    /// Too many wait to be taken in.
    QueueFull,
    /// What waits holds as many bytes as it may.
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

pub(super) fn render(page: &mut Page, metrics: &QualityMetrics) {
    let help = "Labels, scores and rewards of predictions, by what became of them.";
    let feedback = metrics.feedback.load();
    page.family("modelgate_feedback_total", Kind::Counter, help);
    for (model, counts) in feedback.iter() {
        for (outcome, count) in FeedbackOutcome::ALL.iter().zip(counts.outcomes) {
            page.sample(&[("model", model), ("outcome", outcome.label())], count);
        }
    }
    let help = "Time from a prediction to the label that it was joined with.";
    page.family("modelgate_feedback_delay_seconds", Kind::Histogram, help);
    for (model, counts) in feedback.iter() {
        let bounds = DELAY_BOUNDS.iter().map(|(_, label)| *label);
        page.histogram(&[("model", model)], bounds, &counts.delays, counts.delay_sum);
    }
    let help = "Predictions that labels cannot be joined with, by the reason.";
    page.family("modelgate_quality_dropped_total", Kind::Counter, help);
    for (reason, count) in QualityDrop::ALL.iter().zip(&metrics.dropped) {
        page.sample(&[("reason", reason.label())], count.get());
    }
    let help = "Rows of predictions that wait for labels.";
    page.family("modelgate_quality_index_rows", Kind::Gauge, help);
    page.sample(&[], metrics.rows.load(Ordering::Relaxed));
    let help = "Bytes of the predictions that wait for labels.";
    page.family("modelgate_quality_index_bytes", Kind::Gauge, help);
    page.sample(&[], metrics.bytes.load(Ordering::Relaxed));
    let help = "Labels that wait for their predictions.";
    page.family("modelgate_quality_pending_labels", Kind::Gauge, help);
    page.sample(&[], metrics.pending.load(Ordering::Relaxed));
    series(page, &metrics.series.load());
}

/// Readings hold their families in order, so that each is passed through once.
fn series(page: &mut Page, all: &[Arc<QualitySeries>]) {
    let readings: Vec<(&QualityKey, String, Arc<QualityReading>)> = all
        .iter()
        .map(|series| (&series.key, series.key.version.to_string(), series.reading.load_full()))
        .collect();
    let mut places = vec![0; readings.len()];
    loop {
        let next = readings.iter().zip(&places).filter_map(|((.., reading), at)| reading.get(*at));
        let Some(family) = next.map(|(family, _)| *family).min() else { return };
        let (name, kind, help) = family.described();
        page.family(name, kind, help);
        for ((key, version, reading), at) in readings.iter().zip(&mut places) {
            let Some((_, samples)) = reading.get(*at).filter(|(of, _)| *of == family) else {
                continue;
            };
            *at += 1;
            let mut labels = vec![
                ("model", key.model.as_str()),
                ("version", version),
                ("variant", &key.variant),
                ("role", key.role),
            ];
            let own = labels.len();
            for sample in samples {
                labels.truncate(own);
                labels.extend(sample.labels.iter().map(|(name, value)| (*name, &**value)));
                match sample.count {
                    Some(count) => page.summary(&labels, sample.value, count),
                    None => page.sample(&labels, sample.value),
                }
            }
        }
    }
}

impl QualityFamily {
    pub fn name(self) -> &'static str {
        self.described().0
    }

    fn described(self) -> (&'static str, Kind, &'static str) {
        use QualityFamily as F;
        match self {
            F::Predictions => (
                "modelgate_quality_predictions_total",
                Kind::Counter,
                "Rows of predictions that may be labelled.",
            ),
            F::Labelled => (
                "modelgate_quality_labelled_total",
                Kind::Counter,
                "Rows of predictions that a label was joined with.",
            ),
            F::Corrections => (
                "modelgate_quality_corrections_total",
                Kind::Counter,
                "Labels that took the place of earlier ones; counters keep both.",
            ),
            F::Outcomes => (
                "modelgate_quality_outcomes_total",
                Kind::Counter,
                "Weight of labelled rows by predicted and actual class.",
            ),
            F::Correct => (
                "modelgate_quality_correct_total",
                Kind::Counter,
                "Weight of labelled rows whose class was predicted.",
            ),
            F::Scores => (
                "modelgate_quality_scores_total",
                Kind::Counter,
                "Weight of labelled rows by bin of the positive class's score.",
            ),
            F::ScoresBelow => (
                "modelgate_quality_scores_below_total",
                Kind::Counter,
                "Weight of labelled rows in the bins below.",
            ),
            F::CalibrationRows => (
                "modelgate_quality_calibration_rows_total",
                Kind::Counter,
                "Weight of labelled rows by bin of what was claimed.",
            ),
            F::CalibrationClaimed => (
                "modelgate_quality_calibration_claimed_total",
                Kind::Counter,
                "Weighted probability that was claimed, by its bin.",
            ),
            F::CalibrationPositives => (
                "modelgate_quality_calibration_positives_total",
                Kind::Counter,
                "Weight of the rows for which the claim came true, by its bin.",
            ),
            F::LogLoss => ("modelgate_quality_logloss", Kind::Summary, "Weighted log loss."),
            F::Brier => ("modelgate_quality_brier", Kind::Summary, "Weighted Brier score."),
            F::AbsError => {
                ("modelgate_quality_abs_error", Kind::Summary, "Weighted absolute error.")
            }
            F::SquaredError => {
                ("modelgate_quality_squared_error", Kind::Summary, "Weighted squared error.")
            }
            F::OverError => (
                "modelgate_quality_over_error",
                Kind::Summary,
                "Weighted error of the predictions above the truth.",
            ),
            F::RewardWeight => (
                "modelgate_quality_reward_weight_total",
                Kind::Counter,
                "Weight of the rows with a reward.",
            ),
            F::RewardGained => (
                "modelgate_quality_reward_gained_total",
                Kind::Counter,
                "Weighted rewards above 0.",
            ),
            F::RewardLost => (
                "modelgate_quality_reward_lost_total",
                Kind::Counter,
                "Weighted rewards below 0, without their sign.",
            ),
            F::Gauge(gauge, bound) => {
                let (names, help) = gauge.described();
                (names[bound as usize], Kind::Gauge, help)
            }
        }
    }
}

/// A family of gauges and those of its interval.
macro_rules! names {
    ($name:literal) => {
        [
            concat!("modelgate_quality_", $name),
            concat!("modelgate_quality_", $name, "_lower"),
            concat!("modelgate_quality_", $name, "_upper"),
        ]
    };
}

impl QualityGauge {
    fn described(self) -> ([&'static str; 3], &'static str) {
        match self {
            QualityGauge::Rows => (names!("rows"), "Labelled rows of the window."),
            QualityGauge::Coverage => {
                (names!("coverage"), "Share of the window's predicted rows that are labelled.")
            }
            QualityGauge::LabelDelay => {
                (names!("label_delay_seconds"), "Mean time from prediction to label.")
            }
            QualityGauge::Accuracy => {
                (names!("accuracy"), "Share of the labelled rows that were predicted right.")
            }
            QualityGauge::Precision => {
                (names!("precision"), "Share of the predicted that came true.")
            }
            QualityGauge::Recall => {
                (names!("recall"), "Share of what came true that was predicted.")
            }
            QualityGauge::F1 => (names!("f1"), "Harmonic mean of precision and recall."),
            QualityGauge::LogLoss => (names!("log_loss"), "Mean log loss."),
            QualityGauge::Auc => (names!("auc"), "Area under the ROC curve of the binned scores."),
            QualityGauge::AucError => {
                (names!("auc_error"), "Most that binning the scores may change the area by.")
            }
            QualityGauge::Brier => (names!("brier_score"), "Mean Brier score."),
            QualityGauge::CalibrationError => {
                (names!("calibration_error"), "Expected calibration error over ten bins.")
            }
            QualityGauge::Mae => (names!("mae"), "Mean absolute error."),
            QualityGauge::Rmse => (names!("rmse"), "Root of the mean squared error."),
            QualityGauge::Bias => (names!("bias"), "Mean of prediction less truth."),
            QualityGauge::Reward => (names!("reward"), "Mean reward."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(model: &str, role: &'static str) -> QualityKey {
        let model = ModelName::parse(model).expect("a name");
        QualityKey { model, version: Version::FIRST, variant: Arc::from("champion"), role }
    }

    fn sample(value: f64) -> Vec<QualitySample> {
        vec![QualitySample { labels: vec![("window", "1h".into())], value, count: None }]
    }

    #[test]
    fn families_stand_once_and_series_go_when_they_are_taken_away() {
        let metrics = QualityMetrics::default();
        let (one, other) = (key("a", "primary"), key("b", "shadow"));
        let series = [one, other].map(|key| Arc::new(QualitySeries::new(key)));
        let accuracy = QualityFamily::Gauge(QualityGauge::Accuracy, Bound::Lower);
        series[0].publish(vec![(QualityFamily::Correct, sample(3.0)), (accuracy, sample(0.5))]);
        series[1].publish(vec![(accuracy, sample(0.25))]);
        metrics.set_series(series.to_vec());
        let rendered = |metrics: &QualityMetrics| {
            let mut page = Page::new();
            render(&mut page, metrics);
            page.finish()
        };
        let text = rendered(&metrics);
        let lower = "modelgate_quality_accuracy_lower";
        assert_eq!(text.matches(&format!("# TYPE {lower} gauge")).count(), 1, "{text}");
        let labels = "model=\"b\",version=\"1\",variant=\"champion\",role=\"shadow\",window=\"1h\"";
        assert!(text.contains(&format!("{lower}{{{labels}}} 0.25\n")), "{text}");
        metrics.set_series(series[..1].to_vec());
        assert!(!rendered(&metrics).contains("shadow"));
    }

    #[test]
    fn delays_fall_in_the_bucket_that_their_bound_closes() {
        let mut counts = FeedbackCounts::default();
        [0.0, 1.0, 1.5, 1e9].into_iter().for_each(|seconds| counts.delayed(seconds));
        assert_eq!((counts.delays[0], counts.delays[1], counts.delays[11]), (2, 1, 1));
        for (bound, label) in DELAY_BOUNDS {
            assert_eq!(label.parse::<f64>().expect("a number"), bound);
        }
    }
}
