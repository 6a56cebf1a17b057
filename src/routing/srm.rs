//! Whether units are distributed over the variants as the weights say.

use libm::lgamma;

/// How firmly the alternative stays near the expected shares.
const CONCENTRATION: f64 = 10_000.0;

/// Logarithm of the Bayes factor of other shares against the expected ones,
/// for distinct units by variant; 0 without units. The test may be looked at
/// at any time: its p-value is `min(1, exp(-ln BF))` at the greatest ln BF so
/// far, and 0.001 is where to raise the alarm.
///
/// A multinomial against a Dirichlet mixture around the expected shares
/// (Lindon and Malek 2020, arXiv 2011.03567), with `K = 10,000`:
/// `ln G(K) - ln G(K+n) + sum[ln G(K p_i + n_i) - ln G(K p_i)] - sum n_i ln p_i`.
///
/// `expected` are probabilities; variants that expect none are left out, and
/// so is what one of the two slices has more than the other.
pub fn ln_bayes_factor(counts: &[u64], expected: &[f64]) -> f64 {
    let arms = counts.iter().zip(expected).filter(|&(_, &share)| share > 0.0);
    let mut total = 0.0;
    let mut sum = 0.0;
    for (&count, &share) in arms {
        let count = count as f64;
        let prior = CONCENTRATION * share;
        total += count;
        sum += lgamma(prior + count) - lgamma(prior) - count * share.ln();
    }
    lgamma(CONCENTRATION) - lgamma(CONCENTRATION + total) + sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_vectors_hold() {
        let cases: [(&[u64], &[f64], f64); 6] = [
            (&[9_400, 600], &[0.95, 0.05], 4.713137),
            (&[50_000, 51_000], &[0.5, 0.5], 3.301111),
            (&[98_700, 1_300], &[0.99, 0.01], 36.721559),
            (&[9_500, 500], &[0.95, 0.05], -0.346657),
            (&[0, 0], &[0.95, 0.05], 0.0),
            // A variant without a share says nothing.
            (&[9_400, 77, 600], &[0.95, 0.0, 0.05], 4.713137),
        ];
        for (counts, expected, factor) in cases {
            let found = ln_bayes_factor(counts, expected);
            assert!((found - factor).abs() < 1e-6, "{counts:?} {expected:?}: {found}");
        }
    }

    #[test]
    fn one_variant_has_nothing_to_compare() {
        for count in [0, 1, 1_000_000] {
            assert!(ln_bayes_factor(&[count], &[1.0]).abs() < 1e-6);
        }
    }
}
