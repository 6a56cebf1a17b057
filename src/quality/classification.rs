//! Figures of classifiers, from sums that add up.
//!
//! Classes are places: [`OTHER`] stands for every class that has none of its
//! own. Definitions are scikit-learn's, but where a figure has no value there
//! (a precision where nothing was predicted) it is left out instead of 0.

use super::intervals::{Estimate, Z, logit_interval, proportion};
use super::moments::Moments;
use super::scores::{CALIBRATION_BINS, SCORE_BINS, calibration_bin, score_bin};
use super::window::Merge;

/// The place of classes that have none of their own.
pub const OTHER: usize = 0;

/// Classes with places of their own, which are 1 to this.
pub const MOST_CLASSES: usize = 20;

/// One labelled row, as the sums need it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// Places of the classes.
    pub predicted: usize,
    pub actual: usize,
    /// Known by the names of the classes, which `OTHER` has lost.
    pub correct: bool,
    pub probability: Option<Probability>,
}

/// What a row's probabilities say about its truth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probability {
    pub log_loss: f64,
    pub brier: f64,
    /// What is calibrated, and whether it came true: for two classes that the
    /// positive one does, for more that the likeliest one does.
    pub claimed: f64,
    pub came_true: bool,
    /// Whether there are two classes, so that `claimed` is the score of the positive one.
    pub is_binary: bool,
}

/// Sums over labelled rows. Mergeable.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Classification {
    pub rows: f64,
    /// Whether predictions were right, 1 or 0.
    pub right: Moments,
    pub confusion: Confusion,
    pub log_loss: Moments,
    pub brier: Moments,
    pub calibration: [Calibration; CALIBRATION_BINS],
    pub scores: Option<Box<Scores>>,
}

/// Weights by actual and predicted class, as large as the classes seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Confusion {
    side: usize,
    /// Row by row, an actual class each.
    cells: Vec<f64>,
}

/// One bin of claimed probabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Calibration {
    pub weight: f64,
    /// Weighted sums of what was claimed and of what came true.
    pub claimed: f64,
    pub came_true: f64,
}

/// Weights by bin of the positive class's score, of negatives and of positives.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    pub bins: [[f64; 2]; SCORE_BINS],
}

impl Default for Scores {
    fn default() -> Scores {
        Scores { bins: [[0.0; 2]; SCORE_BINS] }
    }
}

/// How figures of single classes become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Average {
    /// The positive class alone.
    Binary,
    /// The mean over the classes that were predicted or came true; a class
    /// without a value counts as 0.
    Macro,
    /// The same, weighted by how often the class came true.
    Weighted,
}

impl Average {
    pub fn label(self) -> &'static str {
        match self {
            Average::Binary => "binary",
            Average::Macro => "macro",
            Average::Weighted => "weighted",
        }
    }
}

/// Precision, recall and F1 under one average.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Averaged {
    pub average: Average,
    pub precision: Option<Estimate>,
    pub recall: Option<Estimate>,
    pub f1: Option<Estimate>,
}

/// Area under the curve of the binned scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Auc {
    pub area: Estimate,
    /// The area of the unbinned scores is off by this at most: within a bin
    /// every pair counts as a half, whichever way round it is.
    pub error: f64,
}

impl Classification {
    /// Enters a row; with a `sign` of -1 takes it out again.
    pub fn add(&mut self, row: &Judged, weight: f64, sign: f64) {
        self.rows += sign;
        self.right.add(f64::from(u8::from(row.correct)), weight, sign);
        *self.confusion.cell(row.actual, row.predicted) += sign * weight;
        let Some(probability) = &row.probability else { return };
        self.log_loss.add(probability.log_loss, weight, sign);
        self.brier.add(probability.brier, weight, sign);
        let bin = &mut self.calibration[calibration_bin(probability.claimed)];
        bin.weight += sign * weight;
        bin.claimed += sign * weight * probability.claimed;
        bin.came_true += sign * weight * f64::from(u8::from(probability.came_true));
        if probability.is_binary {
            let scores = self.scores.get_or_insert_default();
            let bin = &mut scores.bins[score_bin(probability.claimed)];
            bin[usize::from(probability.came_true)] += sign * weight;
        }
    }

    /// How many rows weigh as much as one: `Σw² / Σw`.
    fn spread(&self) -> f64 {
        if self.right.weight > 0.0 { self.right.weight_squares / self.right.weight } else { 0.0 }
    }

    /// By Wilson over the effective number of rows.
    pub fn accuracy(&self) -> Option<Estimate> {
        proportion(self.right.sum, self.right.weight, self.spread())
    }

    /// Of the class at `positive`, or of all where there is none.
    pub fn averages(&self, positive: Option<usize>) -> Vec<Averaged> {
        match positive {
            Some(class) => vec![self.binary(class)],
            None => vec![self.over_classes(Average::Macro), self.over_classes(Average::Weighted)],
        }
    }

    /// Intervals are Wilson's. F1 is `2J / (1 + J)` of the Jaccard index
    /// `J = TP / (TP + FP + FN)`, a proportion, so its interval is that of J,
    /// transformed. Subsets are taken to weigh as the whole does.
    fn binary(&self, class: usize) -> Averaged {
        let (hits, actual, predicted) = self.confusion.of(class);
        let spread = self.spread();
        let f1 = |jaccard: f64| 2.0 * jaccard / (1.0 + jaccard);
        let jaccard = proportion(hits, actual + predicted - hits, spread);
        Averaged {
            average: Average::Binary,
            precision: proportion(hits, predicted, spread),
            recall: proportion(hits, actual, spread),
            f1: jaccard.map(|jaccard| Estimate {
                value: f1(jaccard.value),
                bounds: jaccard.bounds.map(|(lower, upper)| (f1(lower), f1(upper))),
            }),
        }
    }

    /// Intervals by the delta method over the cells of the confusion matrix as
    /// one multinomial sample.
    fn over_classes(&self, average: Average) -> Averaged {
        let of = |figure| self.delta(average, figure);
        Averaged {
            average,
            precision: of(Figure::Precision),
            recall: of(Figure::Recall),
            f1: of(Figure::F1),
        }
    }

    fn delta(&self, average: Average, figure: Figure) -> Option<Estimate> {
        let confusion = &self.confusion;
        let total: f64 = confusion.cells.iter().sum();
        // What was taken out again may leave a trace behind its last digit.
        let trace = total * 1e-12;
        let classes: Vec<(usize, PerClass)> = (0..confusion.side)
            .map(|class| (class, PerClass::of(figure, confusion.of(class))))
            .filter(|(_, class)| class.actual + class.predicted > trace)
            .collect();
        if classes.is_empty() || total <= 0.0 {
            return None;
        }
        let share = |class: &PerClass| match average {
            Average::Weighted => class.actual / total,
            _ => 1.0 / classes.len() as f64,
        };
        let value: f64 = classes.iter().map(|(_, class)| share(class) * class.value).sum();
        let (mut mean, mut square) = (0.0, 0.0);
        for (actual, predicted, weight) in confusion.entries() {
            let mut slope = 0.0;
            for (at, class) in &classes {
                slope += share(class) * class.slope(figure, actual == *at, predicted == *at);
                if average == Average::Weighted && actual == *at {
                    slope += (class.value - value) / total;
                }
            }
            // By weight; by share of all rows it is so many times that.
            let slope = slope * total;
            mean += weight / total * slope;
            square += weight / total * slope * slope;
        }
        let spread = self.spread();
        let bounds = (spread > 0.0).then(|| {
            let error = ((square - mean * mean).max(0.0) * spread / total).sqrt();
            ((value - Z * error).max(0.0), (value + Z * error).min(1.0))
        });
        Some(Estimate { value, bounds })
    }

    pub fn log_loss(&self) -> Option<Estimate> {
        self.log_loss.estimate()
    }

    pub fn brier(&self) -> Option<Estimate> {
        self.brier.estimate()
    }

    /// The expected calibration error: over 10 bins of equal width, the
    /// distance between what was claimed and how often it came true, weighted
    /// by the rows of the bin. It has no interval: chance alone makes it larger
    /// than 0.
    pub fn calibration_error(&self) -> Option<f64> {
        let total: f64 = self.calibration.iter().map(|bin| bin.weight).sum();
        let apart = |bin: &Calibration| (bin.claimed - bin.came_true).abs();
        (total > 0.0).then(|| self.calibration.iter().map(apart).sum::<f64>() / total)
    }

    /// `Σ pos_b (neg_below_b + neg_b / 2) / (P N)`, where both classes came
    /// true. The interval is DeLong's over bins, on the scale of log odds.
    pub fn auc(&self) -> Option<Auc> {
        let bins = &self.scores.as_ref()?.bins;
        let total = |class: usize| bins.iter().map(|bin| bin[class]).sum::<f64>();
        let (negatives, positives) = (total(0), total(1));
        if negatives <= 0.0 || positives <= 0.0 {
            return None;
        }
        let pairs = negatives * positives;
        let (mut area, mut tied) = (0.0, 0.0);
        let (mut below, mut above) = ([0.0; SCORE_BINS], [0.0; SCORE_BINS]);
        let (mut negatives_below, mut positives_below) = (0.0, 0.0);
        for (at, [negative, positive]) in bins.iter().enumerate() {
            below[at] = (negatives_below + negative / 2.0) / negatives;
            above[at] = 1.0 - (positives_below + positive / 2.0) / positives;
            area += positive * below[at] / positives;
            tied += negative * positive / 2.0;
            negatives_below += negative;
            positives_below += positive;
        }
        let variance = |class: usize, parts: &[f64; SCORE_BINS], weight: f64| {
            let n = weight / self.spread();
            let squares =
                bins.iter().zip(parts).map(|(bin, part)| bin[class] * (part - area).powi(2));
            (n > 1.0).then(|| squares.sum::<f64>() / weight / (n - 1.0))
        };
        let error = variance(1, &below, positives).zip(variance(0, &above, negatives));
        let bounds = error.and_then(|(one, other)| logit_interval(area, (one + other).sqrt()));
        Some(Auc { area: Estimate { value: area, bounds }, error: tied / pairs })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Figure {
    Precision,
    Recall,
    F1,
}

/// A figure of one class.
struct PerClass {
    value: f64,
    /// What it is a share of: `value` is a multiple of hits over it.
    whole: f64,
    actual: f64,
    predicted: f64,
}

impl PerClass {
    fn of(figure: Figure, (hits, actual, predicted): (f64, f64, f64)) -> PerClass {
        let (part, whole) = match figure {
            Figure::Precision => (hits, predicted),
            Figure::Recall => (hits, actual),
            Figure::F1 => (2.0 * hits, actual + predicted),
        };
        let value = if whole > 0.0 { part / whole } else { 0.0 };
        PerClass { value, whole, actual, predicted }
    }

    /// The derivative by the weight of a cell that is of the class, or predicts it, or both.
    fn slope(&self, figure: Figure, is_actual: bool, is_predicted: bool) -> f64 {
        if self.whole <= 0.0 {
            return 0.0;
        }
        let one = |is: bool| f64::from(u8::from(is));
        let hit = one(is_actual && is_predicted);
        let (part, whole) = match figure {
            Figure::Precision => (hit, one(is_predicted)),
            Figure::Recall => (hit, one(is_actual)),
            Figure::F1 => (2.0 * hit, one(is_actual) + one(is_predicted)),
        };
        (part - self.value * whole) / self.whole
    }
}

impl Confusion {
    fn cell(&mut self, actual: usize, predicted: usize) -> &mut f64 {
        self.grow(actual.max(predicted) + 1);
        &mut self.cells[actual * self.side + predicted]
    }

    fn grow(&mut self, side: usize) {
        if side <= self.side {
            return;
        }
        let mut cells = vec![0.0; side * side];
        for (actual, predicted, weight) in self.entries() {
            cells[actual * side + predicted] = weight;
        }
        (self.side, self.cells) = (side, cells);
    }

    /// Actual and predicted class, and the weight of the rows.
    pub fn entries(&self) -> impl Iterator<Item = (usize, usize, f64)> {
        let side = self.side.max(1);
        self.cells.iter().enumerate().map(move |(at, weight)| (at / side, at % side, *weight))
    }

    /// Weights of a class: hits, rows that were it, rows that were predicted to be.
    fn of(&self, class: usize) -> (f64, f64, f64) {
        if class >= self.side {
            return (0.0, 0.0, 0.0);
        }
        let row = &self.cells[class * self.side..][..self.side];
        let column = self.cells.iter().skip(class).step_by(self.side);
        (row[class], row.iter().sum(), column.sum())
    }
}

impl Merge for Confusion {
    fn merge(&mut self, other: &Confusion) {
        self.grow(other.side);
        for (actual, predicted, weight) in other.entries() {
            self.cells[actual * self.side + predicted] += weight;
        }
    }
}

impl Merge for Classification {
    fn merge(&mut self, other: &Classification) {
        self.rows += other.rows;
        self.right.merge(&other.right);
        self.confusion.merge(&other.confusion);
        self.log_loss.merge(&other.log_loss);
        self.brier.merge(&other.brier);
        for (ours, theirs) in self.calibration.iter_mut().zip(&other.calibration) {
            ours.weight += theirs.weight;
            ours.claimed += theirs.claimed;
            ours.came_true += theirs.came_true;
        }
        if let Some(theirs) = &other.scores {
            let ours = self.scores.get_or_insert_default();
            for (ours, theirs) in ours.bins.iter_mut().zip(&theirs.bins) {
                ours[0] += theirs[0];
                ours[1] += theirs[1];
            }
        }
    }
}
