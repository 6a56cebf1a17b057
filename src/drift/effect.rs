//! How far two distributions over the same bins are from each other.
//!
//! All of these grow with the difference, and not with the number of rows;
//! whether a difference can be chance is for [`super::significance`] to say.

/// Added to every bin of both sides (Jeffreys' prior), so that an empty bin is
/// neither infinite nor decided by an arbitrary small constant.
pub const JEFFREYS: f64 = 0.5;

/// The share of each bin: `(count + smoothing) / (total + smoothing * bins)`.
/// All 0 where nothing was counted and nothing is added.
pub fn shares(counts: &[u64], smoothing: f64) -> Vec<f64> {
    let total = counts.iter().sum::<u64>() as f64 + smoothing * counts.len() as f64;
    let whole = if total > 0.0 { total } else { 1.0 };
    counts.iter().map(|count| (*count as f64 + smoothing) / whole).collect()
}

/// Population stability index, in nats: `sum of (q - p) ln(q / p)`. Infinite
/// where one side alone has an empty bin.
pub fn psi(p: &[f64], q: &[f64]) -> f64 {
    kl(p, q) + kl(q, p)
}

/// Kullback-Leibler divergence of `p` from `q`, in nats: `sum of p ln(p / q)`.
/// Infinite where `q` alone has an empty bin.
pub fn kl(p: &[f64], q: &[f64]) -> f64 {
    p.iter().zip(q).filter(|(p, _)| **p > 0.0).map(|(p, q)| p * (p / q).ln()).sum()
}

/// Jensen-Shannon distance, the square root of the divergence in bits: 0 to 1.
pub fn js_distance(p: &[f64], q: &[f64]) -> f64 {
    let middle: Vec<f64> = p.iter().zip(q).map(|(p, q)| (p + q) / 2.0).collect();
    let nats = (kl(p, &middle) + kl(q, &middle)) / 2.0;
    (nats / std::f64::consts::LN_2).max(0.0).sqrt()
}

/// Hellinger distance: 0 to 1.
pub fn hellinger(p: &[f64], q: &[f64]) -> f64 {
    let squares: f64 = p.iter().zip(q).map(|(p, q)| (p.sqrt() - q.sqrt()).powi(2)).sum();
    (squares / 2.0).sqrt()
}

/// What chance alone adds to the index of samples of `m` and `n` rows:
/// `(bins - 1) (1/m + 1/n)` (Yurdakul and Naranjo 2020, Statistical properties
/// of the population stability index).
pub fn psi_bias(bins: usize, m: u64, n: u64) -> f64 {
    bins.saturating_sub(1) as f64 * (1.0 / m as f64 + 1.0 / n as f64)
}

/// The index of smoothed shares, less what chance adds; not below 0. 0 where
/// one side is empty.
pub fn psi_adjusted(reference: &[u64], live: &[u64]) -> f64 {
    let (m, n) = (reference.iter().sum(), live.iter().sum());
    if m == 0 || n == 0 {
        return 0.0;
    }
    let index = psi(&shares(reference, JEFFREYS), &shares(live, JEFFREYS));
    (index - psi_bias(reference.len(), m, n)).max(0.0)
}

/// Greatest difference of the two cumulative distributions at the edges of
/// ordered bins: at most the Kolmogorov-Smirnov statistic of the values.
pub fn kolmogorov_smirnov(reference: &[u64], live: &[u64]) -> f64 {
    differences(reference, live).iter().map(|gap| gap.abs()).fold(0.0, f64::max)
}

/// Wasserstein distance of values that lie evenly within bins. `bounds` are
/// the ends of the bins, one more than there are bins. Apart from the distance
/// of the values by at most the width of the widest bin, where all values are
/// within the bounds.
pub fn wasserstein(reference: &[u64], live: &[u64], bounds: &[f64]) -> f64 {
    let gaps = differences(reference, live);
    let mut left = 0.0f64;
    let mut area = 0.0;
    for (bin, right) in bounds.windows(2).zip(gaps) {
        area += (bin[1] - bin[0]) * mean_height(left, right);
        left = right;
    }
    area
}

/// Wasserstein distance over values that have a bin each, in ascending order.
pub fn wasserstein_of_values(reference: &[u64], live: &[u64], values: &[f64]) -> f64 {
    let gaps = differences(reference, live);
    values.windows(2).zip(gaps).map(|(pair, gap)| (pair[1] - pair[0]) * gap.abs()).sum()
}

/// Mean of `|y|` on the straight line from `left` to `right`.
fn mean_height(left: f64, right: f64) -> f64 {
    if left * right >= 0.0 {
        return (left + right).abs() / 2.0;
    }
    (left * left + right * right) / (2.0 * (left - right).abs())
}

/// Live less reference share of all bins up to each one.
fn differences(reference: &[u64], live: &[u64]) -> Vec<f64> {
    let (p, q) = (shares(reference, 0.0), shares(live, 0.0));
    let steps = p.iter().zip(&q).scan(0.0, |gap, (p, q)| {
        *gap += q - p;
        Some(*gap)
    });
    steps.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_cases_by_hand() {
        let (p, q) = ([0.5, 0.5], [0.25, 0.75]);
        let by_hand = 0.25 * 2f64.ln() + 0.25 * 1.5f64.ln();
        assert!((psi(&p, &q) - by_hand).abs() < 1e-15);
        assert_eq!(js_distance(&[1.0, 0.0], &[0.0, 1.0]), 1.0);
        assert_eq!(hellinger(&[1.0, 0.0], &[0.0, 1.0]), 1.0);
        assert_eq!(psi(&[1.0, 0.0], &[0.5, 0.5]), f64::INFINITY);
        assert_eq!(kl(&[1.0, 0.0], &[0.5, 0.5]), 2f64.ln());
    }

    #[test]
    fn an_empty_side_has_no_effect() {
        assert_eq!(psi_adjusted(&[5, 5], &[0, 0]), 0.0);
        assert_eq!(psi_adjusted(&[0, 0], &[5, 5]), 0.0);
        assert_eq!(kolmogorov_smirnov(&[0, 0], &[0, 0]), 0.0);
    }

    /// All of one bin to all of another: the distance of the two bins' middles.
    #[test]
    fn mass_moves_from_middle_to_middle() {
        let bounds = [0.0, 1.0, 2.0, 10.0];
        assert_eq!(wasserstein(&[7, 0, 0], &[0, 3, 0], &bounds), 1.0);
        assert_eq!(wasserstein(&[7, 0, 0], &[0, 0, 3], &bounds), 5.5);
        assert_eq!(wasserstein_of_values(&[1, 0, 0], &[0, 0, 4], &[0.0, 1.0, 5.0]), 5.0);
        assert_eq!(kolmogorov_smirnov(&[1, 1, 2], &[2, 1, 1]), 0.25);
    }

    /// The cumulative shares cross in the middle of the second bin. Each bin has
    /// an area of 1/8.
    #[test]
    fn a_crossing_within_a_bin_counts_both_sides() {
        let bounds = [0.0, 1.0, 2.0, 3.0];
        let found = wasserstein(&[2, 0, 2], &[1, 2, 1], &bounds);
        assert!((found - 0.375).abs() < 1e-15, "{found}");
    }

    proptest! {
        #[test]
        fn equal_shares_have_no_effect(counts in proptest::collection::vec(0..1000u64, 2..30), times in 1..9u64) {
            prop_assume!(counts.iter().sum::<u64>() > 0);
            let more: Vec<u64> = counts.iter().map(|count| count * times).collect();
            let (p, q) = (shares(&counts, 0.0), shares(&more, 0.0));
            prop_assert!(psi(&p, &q) < 1e-12 && js_distance(&p, &q) < 1e-7);
            prop_assert!(hellinger(&p, &q) < 1e-7 && kolmogorov_smirnov(&counts, &more) < 1e-12);
            prop_assert_eq!(psi_adjusted(&counts, &counts), 0.0);
        }

        /// Only the pairs of counts matter, not their order.
        #[test]
        fn order_does_not_matter(mut pairs in proptest::collection::vec((0..1000u64, 0..1000u64), 2..30)) {
            let both = |pairs: &[(u64, u64)]| {
                let (reference, live): (Vec<u64>, Vec<u64>) = pairs.iter().copied().unzip();
                let (p, q) = (shares(&reference, JEFFREYS), shares(&live, JEFFREYS));
                [psi(&p, &q), js_distance(&p, &q), hellinger(&p, &q), psi_adjusted(&reference, &live)]
            };
            let before = both(&pairs);
            pairs.reverse();
            for (before, after) in before.into_iter().zip(both(&pairs)) {
                prop_assert!((before - after).abs() < 1e-9);
            }
        }

        #[test]
        fn distances_are_bounded_and_symmetric(pairs in proptest::collection::vec((0..1000u64, 0..1000u64), 2..30)) {
            let (reference, live): (Vec<u64>, Vec<u64>) = pairs.into_iter().unzip();
            let (p, q) = (shares(&reference, JEFFREYS), shares(&live, JEFFREYS));
            for distance in [js_distance, hellinger] {
                prop_assert!((0.0..=1.0).contains(&distance(&p, &q)));
                prop_assert!((distance(&p, &q) - distance(&q, &p)).abs() < 1e-9);
            }
            prop_assert!(psi(&p, &q) >= 0.0 && (psi(&p, &q) - psi(&q, &p)).abs() < 1e-9);
        }
    }
}
