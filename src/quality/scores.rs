//! The bins of probabilities: the same in every gateway, so that counts of
//! several add up.

use std::sync::LazyLock;

/// Bins of the score of the positive class, from which the area under the
/// curve is computed.
pub const SCORE_BINS: usize = 50;

/// Bins of the calibration error.
pub const CALIBRATION_BINS: usize = 10;

/// Upper edges of all score bins but the last: `sin²(π k / 100)`. Bins are
/// narrow at both ends (the first is 0.001 wide), where the scores of rare
/// classes crowd, and 0.03 wide in the middle.
static EDGES: LazyLock<[f64; SCORE_BINS - 1]> = LazyLock::new(|| {
    std::array::from_fn(|at| {
        let angle = std::f64::consts::PI * (at + 1) as f64 / (2 * SCORE_BINS) as f64;
        angle.sin().powi(2)
    })
});

/// The bin of a score between 0 and 1; an edge belongs to the bin above it.
pub fn score_bin(score: f64) -> usize {
    EDGES.partition_point(|edge| *edge <= score)
}

/// The bin of a probability: ten of equal width, 1 in the last.
pub fn calibration_bin(probability: f64) -> usize {
    ((probability * CALIBRATION_BINS as f64) as usize).min(CALIBRATION_BINS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_probability_has_its_bin() {
        assert_eq!([0.0, 1.0, f64::MIN_POSITIVE].map(score_bin), [0, SCORE_BINS - 1, 0]);
        assert!(EDGES.is_sorted() && EDGES[0] < 0.001 && (EDGES[24] - 0.5).abs() < 1e-12);
        for (at, edge) in EDGES.iter().enumerate() {
            assert_eq!(score_bin(*edge), at + 1);
            assert_eq!(score_bin(edge - 1e-9), at);
        }
        assert_eq!([0.0, 0.0999, 0.1, 0.999, 1.0].map(calibration_bin), [0, 0, 1, 9, 9]);
    }
}
