//! Weighted sums from which means and their spread are read.

use super::intervals::{Estimate, mean_interval};
use super::window::Merge;

/// Sums of `x`, each with a weight. Sums of two parts add up to those of the whole.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    pub weight: f64,
    /// Of the squares of the weights.
    pub weight_squares: f64,
    pub sum: f64,
    /// Of the squares of `x`.
    pub squares: f64,
}

impl Moments {
    /// Enters `x`; with a `sign` of -1 takes it out again.
    pub fn add(&mut self, x: f64, weight: f64, sign: f64) {
        self.weight += sign * weight;
        self.weight_squares += sign * weight * weight;
        self.sum += sign * weight * x;
        self.squares += sign * weight * x * x;
    }

    /// How many rows of equal weight would say as much (Kish): `(Σw)² / Σw²`.
    pub fn effective(&self) -> f64 {
        if self.weight_squares > 0.0 {
            self.weight * self.weight / self.weight_squares
        } else {
            0.0
        }
    }

    pub fn mean(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.sum / self.weight)
    }

    /// The mean with its 95 % interval, by Student's t over the effective number of rows.
    pub fn estimate(&self) -> Option<Estimate> {
        let mean = self.mean()?;
        let n = self.effective();
        let bounds = (n > 1.0).then(|| {
            let spread = (self.squares / self.weight - mean * mean).max(0.0);
            mean_interval(mean, spread * n / (n - 1.0), n)
        });
        Some(Estimate { value: mean, bounds })
    }
}

impl Merge for Moments {
    fn merge(&mut self, other: &Moments) {
        self.weight += other.weight;
        self.weight_squares += other.weight_squares;
        self.sum += other.sum;
        self.squares += other.squares;
    }
}
