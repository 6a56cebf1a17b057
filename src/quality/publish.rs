//! A book as samples of metrics. Pure but for windows that move on.

use std::borrow::Cow;

use super::book::{Book, Tally};
use super::classification::{Classification, Scores};
use super::extract::Task;
use super::intervals::Estimate;
use super::judge::Classes;
use super::moments::Moments;
use super::scores::SCORE_BINS;
use super::window::Window;
use crate::telemetry::{
    Bound, QualityFamily, QualityGauge, QualityLabels, QualityReading, QualitySample,
};

/// The `bin` labels, of as many digits each.
const BINS: [&str; SCORE_BINS] = [
    "00", "01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13", "14", "15",
    "16", "17", "18", "19", "20", "21", "22", "23", "24", "25", "26", "27", "28", "29", "30", "31",
    "32", "33", "34", "35", "36", "37", "38", "39", "40", "41", "42", "43", "44", "45", "46", "47",
    "48", "49",
];

/// Everything about a book at a moment, in the order of the families.
pub fn reading(book: &mut Book, now: i64) -> QualityReading {
    let mut samples = Samples::default();
    samples.put(QualityFamily::Predictions, book.rows.predicted as f64);
    samples.put(QualityFamily::Labelled, book.rows.labelled as f64);
    samples.put(QualityFamily::Corrections, book.corrections as f64);
    counters(&mut samples, &book.classes, &zeroed(book), book.meaning.has_scores());
    let positive = book.meaning.positive.as_deref().and_then(|name| book.classes.find(name));
    for (window, tally, cohort) in book.windows(now) {
        let gauges = &mut Gauges { samples: &mut samples, window };
        if cohort.predicted > 0 {
            let share = cohort.labelled as f64 / cohort.predicted as f64;
            gauges.value(QualityGauge::Coverage, share);
        }
        of_window(gauges, &tally, positive);
    }
    samples.0.sort_by_key(|(family, _)| *family);
    samples.0
}

/// The sums since the start, with a 0 for all that labels may come to count:
/// Prometheus does not see how far a series has grown before it is there.
fn zeroed(book: &Book) -> Tally {
    let mut total = book.total.clone();
    total.rewards.get_or_insert_default();
    match book.meaning.task {
        Some(Task::Classification) => {
            let classes = total.classes.get_or_insert_default();
            if book.meaning.is_binary() {
                classes.scores.get_or_insert_default();
            }
        }
        Some(Task::Regression) => {
            total.errors.get_or_insert_default();
        }
        None => {}
    }
    total
}

/// What only grows.
fn counters(samples: &mut Samples, names: &Classes, total: &Tally, has_scores: bool) {
    if let Some(classes) = &total.classes {
        outcomes(samples, names, classes);
        samples.put(QualityFamily::Correct, classes.right.sum);
        if let Some(scores) = &classes.scores {
            bins(samples, scores);
        }
        if has_scores {
            samples.sum(QualityFamily::LogLoss, &classes.log_loss);
            samples.sum(QualityFamily::Brier, &classes.brier);
            for (bin, name) in classes.calibration.iter().zip(BINS) {
                let labels = || vec![("bin", Cow::Borrowed(name))];
                samples.labelled(QualityFamily::CalibrationRows, labels(), bin.weight);
                samples.labelled(QualityFamily::CalibrationClaimed, labels(), bin.claimed);
                samples.labelled(QualityFamily::CalibrationPositives, labels(), bin.came_true);
            }
        }
    }
    if let Some(errors) = &total.errors {
        samples.sum(QualityFamily::AbsError, &errors.absolute);
        samples.sum(QualityFamily::SquaredError, &errors.squared);
        let over = Moments { sum: errors.over, ..errors.signed };
        samples.sum(QualityFamily::OverError, &over);
    }
    if let Some(rewards) = &total.rewards {
        samples.put(QualityFamily::RewardWeight, rewards.rewards.weight);
        samples.put(QualityFamily::RewardGained, rewards.gained);
        samples.put(QualityFamily::RewardLost, rewards.lost);
    }
}

/// Classes that share a label are one series. Those that are known beforehand
/// have theirs from the start.
fn outcomes(samples: &mut Samples, names: &Classes, classes: &Classification) {
    let known = || names.known().iter().map(|name| &**name);
    let mut cells: Vec<((&str, &str), f64)> =
        known().flat_map(|one| known().map(move |other| ((one, other), 0.0))).collect();
    for (actual, predicted, weight) in classes.confusion.entries() {
        let key = (names.label(predicted), names.label(actual));
        match cells.iter_mut().find(|(known, _)| *known == key) {
            Some((_, sum)) => *sum += weight,
            None if weight > 0.0 => cells.push((key, weight)),
            None => {}
        }
    }
    for ((predicted, actual), weight) in cells {
        let labels = vec![
            ("predicted", Cow::Owned(predicted.to_owned())),
            ("actual", Cow::Owned(actual.to_owned())),
        ];
        samples.labelled(QualityFamily::Outcomes, labels, weight);
    }
}

/// Every bin, so that none is missing from a sum.
fn bins(samples: &mut Samples, scores: &Scores) {
    let mut below = 0.0;
    for (bin, name) in scores.bins.iter().zip(BINS) {
        let labels = |actual: &'static str| {
            vec![("bin", Cow::Borrowed(name)), ("actual", Cow::Borrowed(actual))]
        };
        samples.labelled(QualityFamily::Scores, labels("0"), bin[0]);
        samples.labelled(QualityFamily::Scores, labels("1"), bin[1]);
        samples.labelled(QualityFamily::ScoresBelow, labels("0"), below);
        below += bin[0];
    }
}

fn of_window(gauges: &mut Gauges<'_>, tally: &Tally, positive: Option<usize>) {
    let mut rows = 0.0;
    if let Some(classes) = &tally.classes {
        rows += classes.rows;
        gauges.estimate(QualityGauge::Accuracy, "", classes.accuracy());
        for of in classes.averages(positive) {
            let average = of.average.label();
            gauges.estimate(QualityGauge::Precision, average, of.precision);
            gauges.estimate(QualityGauge::Recall, average, of.recall);
            gauges.estimate(QualityGauge::F1, average, of.f1);
        }
        gauges.estimate(QualityGauge::LogLoss, "", classes.log_loss());
        gauges.estimate(QualityGauge::Brier, "", classes.brier());
        if let Some(error) = classes.calibration_error() {
            gauges.value(QualityGauge::CalibrationError, error);
        }
        if let Some(auc) = classes.auc() {
            gauges.estimate(QualityGauge::Auc, "", Some(auc.area));
            gauges.value(QualityGauge::AucError, auc.error);
        }
    }
    if let Some(errors) = &tally.errors {
        rows += errors.rows;
        let figures = errors.figures();
        gauges.estimate(QualityGauge::Mae, "", figures.mae);
        gauges.estimate(QualityGauge::Rmse, "", figures.rmse);
        gauges.estimate(QualityGauge::Bias, "", figures.bias);
    }
    if let Some(rewards) = &tally.rewards {
        rows += rewards.rows;
        gauges.estimate(QualityGauge::Reward, "", rewards.mean());
    }
    gauges.value(QualityGauge::Rows, rows);
    if let Some(delay) = tally.delays.mean() {
        gauges.value(QualityGauge::LabelDelay, delay);
    }
}

#[derive(Default)]
struct Samples(QualityReading);

impl Samples {
    fn put(&mut self, family: QualityFamily, value: f64) {
        self.labelled(family, Vec::new(), value);
    }

    fn sum(&mut self, family: QualityFamily, of: &Moments) {
        let (value, count) = (of.sum, Some(of.weight));
        self.add(family, QualitySample { labels: Vec::new(), value, count });
    }

    fn labelled(&mut self, family: QualityFamily, labels: QualityLabels, value: f64) {
        self.add(family, QualitySample { labels, value, count: None });
    }

    fn add(&mut self, family: QualityFamily, sample: QualitySample) {
        match self.0.iter_mut().rev().find(|(known, _)| *known == family) {
            Some((_, samples)) => samples.push(sample),
            None => self.0.push((family, vec![sample])),
        }
    }
}

/// The gauges of one window.
struct Gauges<'a> {
    samples: &'a mut Samples,
    window: Window,
}

impl Gauges<'_> {
    fn value(&mut self, gauge: QualityGauge, value: f64) {
        self.put(gauge, Bound::Value, "", value);
    }

    fn estimate(&mut self, gauge: QualityGauge, average: &'static str, of: Option<Estimate>) {
        let Some(Estimate { value, bounds }) = of else { return };
        self.put(gauge, Bound::Value, average, value);
        if let Some((lower, upper)) = bounds {
            self.put(gauge, Bound::Lower, average, lower);
            self.put(gauge, Bound::Upper, average, upper);
        }
    }

    fn put(&mut self, gauge: QualityGauge, bound: Bound, average: &'static str, value: f64) {
        let mut labels = vec![("window", Cow::Borrowed(self.window.name))];
        if !average.is_empty() {
            labels.push(("average", Cow::Borrowed(average)));
        }
        self.samples.labelled(QualityFamily::Gauge(gauge, bound), labels, value);
    }
}
