//! Errors of predicted numbers, from sums that add up.

use super::intervals::Estimate;
use super::moments::Moments;
use super::window::Merge;

/// Sums over labelled rows; an error is prediction less truth. Mergeable.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Regression {
    pub rows: f64,
    /// Of the errors with their sign, without, and squared.
    pub signed: Moments,
    pub absolute: Moments,
    pub squared: Moments,
    /// Weighted sum of the errors above 0.
    pub over: f64,
}

/// Figures of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RegressionFigures {
    pub mae: Option<Estimate>,
    pub rmse: Option<Estimate>,
    /// Mean of prediction less truth.
    pub bias: Option<Estimate>,
}

impl Regression {
    /// Enters an error; with a `sign` of -1 takes it out again.
    pub fn add(&mut self, error: f64, weight: f64, sign: f64) {
        self.rows += sign;
        self.signed.add(error, weight, sign);
        self.absolute.add(error.abs(), weight, sign);
        self.squared.add(error * error, weight, sign);
        self.over += sign * weight * error.max(0.0);
    }

    /// The interval of the RMSE is that of the mean squared error, rooted.
    pub fn figures(&self) -> RegressionFigures {
        let root = |of: f64| of.max(0.0).sqrt();
        let rmse = self.squared.estimate().map(|squared| Estimate {
            value: root(squared.value),
            bounds: squared.bounds.map(|(lower, upper)| (root(lower), root(upper))),
        });
        RegressionFigures { mae: self.absolute.estimate(), rmse, bias: self.signed.estimate() }
    }
}

impl Merge for Regression {
    fn merge(&mut self, other: &Regression) {
        self.rows += other.rows;
        self.signed.merge(&other.signed);
        self.absolute.merge(&other.absolute);
        self.squared.merge(&other.squared);
        self.over += other.over;
    }
}
