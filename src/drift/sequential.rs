//! Drift between windows: an e-detector over the bins of one column.
//!
//! Every block of values is bet on by two players who know the past only. One
//! says that it comes from one distribution, as the reference and all that was
//! seen since; the other says that it comes from what was seen last. By how
//! much the second is ahead is evidence that may be looked at after every
//! block: without drift, the mean number of blocks to an alarm is at least the
//! threshold (Shin, Ramdas and Rinaldo 2023, E-detectors).
//!
//! The evidence is an e-process, whose mean over any number of gateways is one
//! again, however dependent they are.

use libm::lgamma;

use super::effect::{JEFFREYS, shares};

/// Weight of the reference in what the second player bets on, in rows.
const PRIOR_ROWS: f64 = 50.0;

/// What of its counts the second player keeps from block to block, so that it
/// remembers about ten of them.
const MEMORY: f64 = 0.9;

/// The greatest evidence that is told, as a power of ten: more is no news, and
/// its mean over gateways would overflow.
pub const MAX_EVIDENCE: f64 = 300.0;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DetectorOptions {
    /// Values of a block; above 0.
    pub block: u64,
    /// Blocks between false alarms, at least and in the mean.
    pub threshold: f64,
}

impl Default for DetectorOptions {
    fn default() -> DetectorOptions {
        DetectorOptions { block: 100, threshold: 1e5 }
    }
}

/// Shiryaev-Roberts' sum of the ratios of all moments at which drift may have
/// begun: `M_k = (M_(k-1) + 1) L_k`, with
/// `L_k = DM(c_k | 50 p0 + recent) / DM(c_k | reference + 1/2 + all so far)`,
/// where `DM` is the Dirichlet-multinomial probability of the block's counts.
/// The first player's weights grow with what was seen (a Polya urn), since the
/// reference is a sample, too: taken as known, it raises false alarms.
#[derive(Clone, Debug)]
pub struct Detector {
    options: DetectorOptions,
    /// `50 p0`.
    prior: Vec<f64>,
    /// Counts of the last blocks, fading.
    recent: Vec<f64>,
    /// Reference, prior and all blocks.
    urn: Vec<f64>,
    /// The block that is being filled.
    block: Vec<u64>,
    filled: u64,
    /// Logarithm of `M`.
    ln_evidence: f64,
}

impl Detector {
    /// For counts of the same bins as the reference's.
    pub fn new(reference: &[u64], options: DetectorOptions) -> Detector {
        Detector {
            options,
            prior: shares(reference, JEFFREYS).iter().map(|share| share * PRIOR_ROWS).collect(),
            recent: vec![0.0; reference.len()],
            urn: reference.iter().map(|count| *count as f64 + JEFFREYS).collect(),
            block: vec![0; reference.len()],
            filled: 0,
            ln_evidence: f64::NEG_INFINITY,
        }
    }

    /// Takes one value's bin. Says whether the evidence has changed: at the
    /// end of each block.
    pub fn add(&mut self, bin: usize) -> bool {
        self.block[bin] += 1;
        self.filled += 1;
        if self.filled < self.options.block {
            return false;
        }
        let mut block = std::mem::take(&mut self.block);
        self.observe(&block);
        block.fill(0);
        self.block = block;
        self.filled = 0;
        true
    }

    /// Takes a whole block. Its size may differ from the others', but must not
    /// depend on its values.
    pub fn observe(&mut self, counts: &[u64]) {
        let bets = self.prior.iter().zip(&self.recent).map(|(prior, recent)| prior + recent);
        let ln_ratio = ln_dirichlet_multinomial(counts, bets)
            - ln_dirichlet_multinomial(counts, self.urn.iter().copied());
        self.ln_evidence = ln_plus_one(self.ln_evidence) + ln_ratio;
        for ((recent, urn), count) in self.recent.iter_mut().zip(&mut self.urn).zip(counts) {
            *recent = *recent * MEMORY + *count as f64;
            *urn += *count as f64;
        }
    }

    /// Logarithm of `M` to the base of 10, at most [`MAX_EVIDENCE`]; minus
    /// infinity before the first block.
    pub fn evidence_log10(&self) -> f64 {
        (self.ln_evidence / std::f64::consts::LN_10).min(MAX_EVIDENCE)
    }

    /// Whether the evidence has reached the threshold.
    pub fn is_alarmed(&self) -> bool {
        self.ln_evidence >= self.options.threshold.ln()
    }

    /// Back to the reference alone.
    pub fn reset(&mut self, reference: &[u64]) {
        *self = Detector::new(reference, self.options);
    }
}

/// `ln(exp(x) + 1)`.
fn ln_plus_one(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// Logarithm of the probability of counts under weights, but for the number of
/// their orders, which cancels in a ratio.
fn ln_dirichlet_multinomial(counts: &[u64], weights: impl Iterator<Item = f64>) -> f64 {
    let (mut total, mut weight, mut sum) = (0.0, 0.0, 0.0);
    for (count, own) in counts.iter().zip(weights) {
        let count = *count as f64;
        total += count;
        weight += own;
        if count > 0.0 {
            sum += lgamma(own + count) - lgamma(own);
        }
    }
    lgamma(weight) - lgamma(weight + total) + sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_predictions_of_the_next_value() {
        let ln = ln_dirichlet_multinomial(&[1, 0], [3.0, 1.0].into_iter());
        assert!((ln - 0.75f64.ln()).abs() < 1e-14);
        // Two of one kind: 3/4 of the first draw, 4/5 of the second.
        let ln = ln_dirichlet_multinomial(&[2, 0], [3.0, 1.0].into_iter());
        assert!((ln - 0.6f64.ln()).abs() < 1e-14);
    }

    #[test]
    fn one_more_is_exact_at_both_ends() {
        assert_eq!(ln_plus_one(f64::NEG_INFINITY), 0.0);
        assert_eq!(ln_plus_one(800.0), 800.0);
        assert!((ln_plus_one(0.0) - 2f64.ln()).abs() < 1e-15);
        assert!((ln_plus_one(-1.0) - (1.0 + (-1f64).exp()).ln()).abs() < 1e-15);
    }

    #[test]
    fn values_one_by_one_are_blocks() {
        let reference = [500, 300, 200];
        let options = DetectorOptions { block: 10, threshold: 100.0 };
        let mut single = Detector::new(&reference, options);
        let mut whole = Detector::new(&reference, options);
        let changes = (0..25).filter(|at| single.add(at % 3)).count();
        whole.observe(&[4, 3, 3]);
        whole.observe(&[3, 4, 3]);
        assert_eq!((changes, single.evidence_log10()), (2, whole.evidence_log10()));
    }

    #[test]
    fn drift_is_found_and_forgotten_on_reset() {
        let reference = [1000, 1000];
        let mut detector = Detector::new(&reference, DetectorOptions::default());
        assert!(!detector.is_alarmed());
        for _ in 0..50 {
            detector.observe(&[50, 50]);
        }
        assert!(!detector.is_alarmed(), "{}", detector.evidence_log10());
        let blocks = (1..20).find(|_| {
            detector.observe(&[80, 20]);
            detector.is_alarmed()
        });
        assert!(blocks.is_some_and(|blocks| blocks <= 3), "{blocks:?}");
        detector.reset(&reference);
        assert_eq!(detector.evidence_log10(), f64::NEG_INFINITY);
    }

    #[test]
    fn evidence_ends_somewhere() {
        let mut detector = Detector::new(&[1_000_000, 0], DetectorOptions::default());
        for _ in 0..30 {
            detector.observe(&[0, 10_000]);
        }
        assert!(detector.evidence_log10() <= MAX_EVIDENCE);
    }
}
