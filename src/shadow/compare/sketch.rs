//! Quantiles of errors in little memory.

use std::collections::BTreeMap;

/// How much greater the end of a bucket is than its beginning.
const RATIO: f64 = 1.02;

/// Errors below the least count as 0, above the greatest as the greatest: so
/// there are at most 2,800 buckets, and 0.
const LEAST: f64 = 1e-12;
const GREATEST: f64 = 1e12;

/// Counts of errors in buckets that grow by two percent. A quantile between
/// 1e-12 and 1e12 is within 1 % of the error at that rank: the middle of a
/// bucket is `2 / (1 + RATIO)` of its end, which is `(RATIO - 1) / (RATIO + 1)`,
/// 0.99 %, from both of its ends (Masson et al., DDSketch, VLDB 2019). Two
/// sketches merge by adding their counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sketch {
    zeros: u64,
    buckets: BTreeMap<i16, u64>,
    /// Errors that are infinite: no quantile counts them.
    not_finite: u64,
    max: f64,
}

impl Sketch {
    /// Adds an error, which is never negative.
    pub fn add(&mut self, error: f64) {
        if !error.is_finite() {
            self.not_finite += 1;
            return;
        }
        self.max = self.max.max(error);
        if error < LEAST {
            self.zeros += 1;
        } else {
            let bucket = (error.min(GREATEST).ln() / RATIO.ln()).ceil();
            // Within 1,400 of zero.
            *self.buckets.entry(bucket as i16).or_default() += 1;
        }
    }

    pub fn merge(&mut self, other: &Sketch) {
        self.zeros += other.zeros;
        self.not_finite += other.not_finite;
        self.max = self.max.max(other.max);
        for (bucket, count) in &other.buckets {
            *self.buckets.entry(*bucket).or_default() += count;
        }
    }

    /// Finite errors.
    pub fn count(&self) -> u64 {
        self.zeros + self.buckets.values().sum::<u64>()
    }

    pub fn not_finite(&self) -> u64 {
        self.not_finite
    }

    /// The greatest finite error, exactly; `None` without any.
    pub fn max(&self) -> Option<f64> {
        (self.count() > 0).then_some(self.max)
    }

    /// The finite error at rank `ceil(quantile * count)`; `None` without any.
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let count = self.count();
        // Ranks are below 2^53.
        let rank = ((quantile * count as f64).ceil() as u64).clamp(1, count.max(1));
        let mut below = self.zeros;
        if count == 0 || rank <= below {
            return (count > 0).then_some(0.0);
        }
        let bucket = self.buckets.iter().find_map(|(bucket, count)| {
            below += count;
            (rank <= below).then_some(*bucket)
        });
        bucket.map(|bucket| (RATIO.powi(i32::from(bucket)) * 2.0 / (1.0 + RATIO)).min(self.max))
    }
}
