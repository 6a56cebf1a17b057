//! How good the predictions of the reference were, where it has labels.

use super::Failure;
use crate::cli::table::{Cells, Form, Rows};
use crate::drift::build::Value;
use crate::drift::profile::ReferenceQuality;
use crate::quality::classification::{Classification, Judged, OTHER, Probability};
use crate::quality::regression::Regression;

/// Rows of a chunk, at least and at most, and how many there are to be.
const LEAST_CHUNK: u64 = 100;
const MOST_CHUNK: u64 = 5000;
const CHUNKS: u64 = 20;

/// Standard deviations of chunks from their mean that are usual.
const USUAL: f64 = 3.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Metric {
    RocAuc,
    Accuracy,
    Mae,
}

impl Metric {
    fn label(self) -> &'static str {
        match self {
            Metric::RocAuc => "roc_auc",
            Metric::Accuracy => "accuracy",
            Metric::Mae => "mae",
        }
    }
}

/// Where the cells stand that quality is measured on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slots {
    pub(super) label: usize,
    pub(super) prediction: Option<usize>,
    pub(super) score: Option<usize>,
}

/// The label that a score is the probability of.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Positive {
    Number(f64),
    Text(String),
}

#[derive(Default)]
struct Sums {
    classes: Classification,
    numbers: Regression,
}

pub(super) struct Quality {
    slots: Slots,
    positive: Positive,
    chunk: u64,
    all: Sums,
    /// The chunk that is being filled, and its rows.
    current: (Sums, u64),
    /// Of whole chunks, by metric.
    chunks: Vec<[Option<f64>; 3]>,
}

impl Positive {
    /// In the form that labels have.
    pub(super) fn parse(text: &str, labels: Form) -> Result<Positive, Failure> {
        if labels == Form::Texts {
            return Ok(Positive::Text(text.to_owned()));
        }
        let number = match text {
            "true" | "True" => Some(1.0),
            "false" | "False" => Some(0.0),
            _ => text.parse().ok(),
        };
        number.map(Positive::Number).ok_or_else(|| {
            Failure::of(format!("--positive: labels are numbers, and '{text}' is none"))
        })
    }

    fn is(&self, label: Value<'_>) -> bool {
        match (self, label) {
            (Positive::Number(own), Value::Number(label)) => *own == label,
            (Positive::Text(own), Value::Text(label)) => own == label,
            _ => false,
        }
    }
}

impl Sums {
    fn value(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::RocAuc => self.classes.auc().map(|auc| auc.area.value),
            Metric::Accuracy => self.classes.accuracy().map(|accuracy| accuracy.value),
            Metric::Mae => self.numbers.figures().mae.map(|mae| mae.value),
        }
    }
}

impl Quality {
    pub(super) fn new(slots: Slots, positive: Positive, rows: u64) -> Quality {
        let chunk = (rows / CHUNKS).clamp(LEAST_CHUNK, MOST_CHUNK);
        let (all, current, chunks) = (Sums::default(), (Sums::default(), 0), Vec::new());
        Quality { slots, positive, chunk, all, current, chunks }
    }

    /// Rows without a label, or without what it is compared with, do not count.
    pub(super) fn see(&mut self, rows: &Rows) -> Result<(), Failure> {
        for row in 0..rows.count {
            let at = |slot: usize| known(&rows.cells[slot], row);
            let Some(label) = at(self.slots.label) else { continue };
            let prediction = self.slots.prediction.and_then(at);
            let score = match self.slots.score.and_then(at) {
                Some(Value::Number(score)) if (0.0..=1.0).contains(&score) => Some(score),
                None => None,
                Some(other) => {
                    return Err(Failure::of(format!(
                        "--score: expected probabilities from 0 to 1, found {other:?}; without \
                         --label any numbers will do"
                    )));
                }
            };
            self.add(label, prediction, score);
        }
        Ok(())
    }

    fn add(&mut self, label: Value<'_>, prediction: Option<Value<'_>>, score: Option<f64>) {
        let came_true = self.positive.is(label);
        let probability = score.map(|claimed| {
            let of_truth = if came_true { claimed } else { 1.0 - claimed };
            let (log_loss, brier) =
                (-of_truth.max(f64::MIN_POSITIVE).ln(), (1.0 - of_truth).powi(2));
            Probability { log_loss, brier, claimed, came_true, is_binary: true }
        });
        let correct = prediction == Some(label);
        let judged = Judged { predicted: OTHER, actual: OTHER, correct, probability };
        for sums in [&mut self.all, &mut self.current.0] {
            if prediction.is_some() || score.is_some() {
                sums.classes.add(&judged, 1.0, 1.0);
            }
            if let (Some(Value::Number(prediction)), Value::Number(label)) = (prediction, label) {
                sums.numbers.add(prediction - label, 1.0, 1.0);
            }
        }
        self.current.1 += 1;
        if self.current.1 == self.chunk {
            let metrics = [Metric::RocAuc, Metric::Accuracy, Metric::Mae];
            self.chunks.push(metrics.map(|metric| self.current.0.value(metric)));
            self.current = (Sums::default(), 0);
        }
    }

    /// None where there are fewer than two chunks to tell what is usual. What
    /// is left over is no chunk: few rows vary more.
    pub(super) fn finish(self, metric: Metric) -> Option<ReferenceQuality> {
        let value = self.all.value(metric)?;
        let values: Vec<f64> =
            self.chunks.iter().filter_map(|chunk| chunk[metric as usize]).collect();
        if values.len() < 2 {
            return None;
        }
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let apart = USUAL * (squares / (count - 1.0)).sqrt();
        let most = if metric == Metric::Mae { f64::INFINITY } else { 1.0 };
        Some(ReferenceQuality {
            metric: metric.label().to_owned(),
            value,
            lower: (mean - apart).max(0.0).min(value),
            upper: (mean + apart).min(most).max(value),
            chunk: self.chunk,
        })
    }
}

fn known(cells: &Cells, row: usize) -> Option<Value<'_>> {
    match cells.at(row) {
        Value::Missing | Value::Text("") => None,
        Value::Number(number) if !number.is_finite() => None,
        value => Some(value),
    }
}
