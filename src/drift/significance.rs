//! Whether a difference of counts can be chance.

use serde::Serialize;

use super::gamma::chi_square_tail;

/// A two-sample Pearson test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Significance {
    pub chi2: f64,
    /// Bins that at least one side has counts in, less one.
    pub df: usize,
    /// Probability of so large a `chi2 / dispersion` without drift.
    pub p: f64,
    /// The same as deviations of a standard normal variable, by Wilson and
    /// Hilferty's cube root; needs no gamma function, so a rule of Prometheus
    /// can compute it.
    pub z: f64,
}

impl Default for Significance {
    /// No evidence.
    fn default() -> Significance {
        Significance { chi2: 0.0, df: 0, p: 1.0, z: 0.0 }
    }
}

/// A probability as people read it: `0.031`, `2.4e-12`, `<1e-300`.
pub fn readable(p: f64) -> String {
    match p {
        p if p < 1e-300 => "<1e-300".to_owned(),
        p if p < 0.001 => format!("{p:.1e}"),
        p => format!("{p:.3}"),
    }
}

/// Tests whether the two counts come from one distribution.
///
/// `chi2 = sum of (live sqrt(m/n) - reference sqrt(n/m))² / (live + reference)`
/// over the bins that are not empty on both sides. Both sides count as samples:
/// a reference taken as known exactly gives far too many false alarms.
///
/// `dispersion` is by how much counts vary more than those of independent rows
/// ([`dispersion`]); `chi2` is divided by it (Rao and Scott 1981). `p` is 1
/// and `z` 0 where one side is empty, or a single bin holds all of both.
pub fn pearson(reference: &[u64], live: &[u64], dispersion: f64) -> Significance {
    let m = reference.iter().sum::<u64>() as f64;
    let n = live.iter().sum::<u64>() as f64;
    let pairs = reference.iter().zip(live).filter(|(r, c)| **r + **c > 0);
    let df = pairs.clone().count().saturating_sub(1);
    if df == 0 || m == 0.0 || n == 0.0 {
        return Significance { df, ..Significance::default() };
    }
    let (up, down) = ((m / n).sqrt(), (n / m).sqrt());
    let term = |(r, c): (&u64, &u64)| {
        let (r, c) = (*r as f64, *c as f64);
        (c * up - r * down).powi(2) / (c + r)
    };
    let chi2: f64 = pairs.map(term).sum();
    let corrected = chi2 / dispersion;
    Significance { chi2, df, p: chi_square_tail(corrected, df), z: wilson_hilferty(corrected, df) }
}

/// `((chi2/df)^(1/3) - (1 - 2/(9 df))) / sqrt(2/(9 df))`: about standard
/// normal without drift (Wilson and Hilferty 1931).
pub fn wilson_hilferty(chi2: f64, df: usize) -> f64 {
    let df = df as f64;
    let variance = 2.0 / (9.0 * df);
    ((chi2 / df).cbrt() - (1.0 - variance)) / variance.sqrt()
}

/// By how much counts of consecutive blocks of rows vary more than those of
/// independent rows would: Pearson's statistic of the table of blocks by bins
/// over its degrees of freedom, not below 1. Blocks without rows, and bins
/// without counts, are left out; 1 where fewer than two of either remain.
pub fn dispersion(blocks: &[Vec<u64>]) -> f64 {
    let bins = blocks.first().map_or(0, Vec::len);
    let pooled: Vec<u64> =
        (0..bins).map(|bin| blocks.iter().map(|block| block[bin]).sum()).collect();
    let total = pooled.iter().sum::<u64>() as f64;
    let used_bins = pooled.iter().filter(|count| **count > 0).count();
    let sizes = blocks.iter().map(|block| block.iter().sum::<u64>() as f64);
    let used_blocks = sizes.clone().filter(|size| *size > 0.0).count();
    if used_bins < 2 || used_blocks < 2 {
        return 1.0;
    }
    let mut chi2 = 0.0;
    for (block, size) in blocks.iter().zip(sizes).filter(|(_, size)| *size > 0.0) {
        for (count, pooled) in block.iter().zip(&pooled).filter(|(_, pooled)| **pooled > 0) {
            let expected = size * *pooled as f64 / total;
            chi2 += (*count as f64 - expected).powi(2) / expected;
        }
    }
    (chi2 / ((used_bins - 1) * (used_blocks - 1)) as f64).max(1.0)
}

/// Deviations by which the share `live_hits / live` is above the share
/// `reference_hits / reference`, under one pooled share; 0 where one side is
/// empty, or all rows are hits, or none.
pub fn two_proportions(reference_hits: u64, reference: u64, live_hits: u64, live: u64) -> f64 {
    let (m, n) = (reference as f64, live as f64);
    let pooled = (reference_hits + live_hits) as f64 / (m + n);
    let variance = pooled * (1.0 - pooled) * (1.0 / m + 1.0 / n);
    if m == 0.0 || n == 0.0 || variance <= 0.0 {
        return 0.0;
    }
    (live_hits as f64 / n - reference_hits as f64 / m) / variance.sqrt()
}

/// Which of the hypotheses with these p-values are to be rejected, so that in
/// the mean at most a share `rate` of those rejected is true (Benjamini and
/// Hochberg 1995): the `k` smallest, for the greatest `k` with
/// `p(k) <= k/len * rate`.
pub fn false_discoveries(p: &[f64], rate: f64) -> Vec<bool> {
    let mut sorted = p.to_vec();
    sorted.sort_by(f64::total_cmp);
    let step = rate / p.len() as f64;
    let fits = |(at, p): (usize, &f64)| (*p <= (at + 1) as f64 * step).then_some(*p);
    let greatest = sorted.iter().enumerate().rev().find_map(fits);
    p.iter().map(|p| greatest.is_some_and(|greatest| *p <= greatest)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_table_of_two_by_two_by_hand() {
        // 30 of 100 against 45 of 100: 200 (30*55 - 70*45)² / (100*100*75*125).
        let found = pearson(&[30, 70], &[45, 55], 1.0);
        assert!((found.chi2 - 4.8).abs() < 1e-12 && found.df == 1, "{found:?}");
        let z = two_proportions(30, 100, 45, 100);
        assert!((z * z - 4.8).abs() < 1e-12 && z > 0.0);
        assert!((pearson(&[30, 70], &[45, 55], 2.0).p - chi_square_tail(2.4, 1)).abs() < 1e-15);
    }

    #[test]
    fn what_has_no_difference_is_no_evidence() {
        for (reference, live) in [
            (vec![0, 0], vec![5, 5]),
            (vec![5, 5], vec![0, 0]),
            (vec![5, 0], vec![9, 0]),
            (vec![], vec![]),
        ] {
            let found = pearson(&reference, &live, 1.0);
            assert_eq!((found.chi2, found.p, found.z), (0.0, 1.0, 0.0), "{reference:?} {live:?}");
        }
        assert_eq!(two_proportions(0, 10, 0, 10), 0.0);
        assert_eq!(two_proportions(0, 0, 1, 10), 0.0);
        assert_eq!(two_proportions(10, 10, 10, 10), 0.0);
    }

    #[test]
    fn probabilities_are_readable() {
        let shown = [1.0, 0.0314, 0.001, 9.99e-4, 2.44e-12, 0.0].map(readable);
        assert_eq!(shown, ["1.000", "0.031", "0.001", "1.0e-3", "2.4e-12", "<1e-300"]);
    }

    #[test]
    fn bins_that_both_sides_lack_change_nothing() {
        let lean = pearson(&[30, 70], &[45, 55], 1.0);
        assert_eq!(pearson(&[0, 30, 0, 70, 0], &[0, 45, 0, 55, 0], 1.0), lean);
    }

    #[test]
    fn rows_that_come_in_clumps_are_overdispersed() {
        let even = vec![vec![50, 50]; 10];
        assert_eq!(dispersion(&even), 1.0);
        let clumped: Vec<Vec<u64>> =
            (0..10).map(|block| if block % 2 == 0 { vec![80, 20] } else { vec![20, 80] }).collect();
        // Each block is 36 away from its expectation: (30² / 50) * 2; 9 degrees.
        assert!((dispersion(&clumped) - 40.0).abs() < 1e-12);
        for few in [vec![], vec![vec![1, 2]], vec![vec![0, 0], vec![1, 2]], vec![vec![1, 0]; 3]] {
            assert_eq!(dispersion(&few), 1.0);
        }
    }

    #[test]
    fn the_textbook_case_of_false_discoveries() {
        // Benjamini and Hochberg 1995, section 3.2: at 5 % the four smallest.
        let p = [
            0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262,
            0.5719, 0.6528, 0.7590, 1.0,
        ];
        let rejected = false_discoveries(&p, 0.05);
        assert_eq!(rejected.iter().filter(|rejected| **rejected).count(), 4);
        assert!(rejected[..4].iter().all(|rejected| *rejected));
        assert!(false_discoveries(&[], 0.05).is_empty());
        // A small one carries a greater one that alone would not pass.
        assert_eq!(false_discoveries(&[0.03, 0.04], 0.05), [true, true]);
        assert_eq!(false_discoveries(&[0.03, 0.06], 0.05), [false, false]);
    }

    proptest! {
        #[test]
        fn order_of_bins_does_not_matter(mut pairs in proptest::collection::vec((0..1000u64, 0..1000u64), 2..30)) {
            let both = |pairs: &[(u64, u64)]| {
                let (reference, live): (Vec<u64>, Vec<u64>) = pairs.iter().copied().unzip();
                pearson(&reference, &live, 1.0)
            };
            let before = both(&pairs);
            pairs.reverse();
            let after = both(&pairs);
            prop_assert!((before.chi2 - after.chi2).abs() <= 1e-9 * before.chi2.max(1.0));
            prop_assert_eq!(before.df, after.df);
        }

        #[test]
        fn equal_counts_have_no_evidence(counts in proptest::collection::vec(0..1000u64, 2..30)) {
            let found = pearson(&counts, &counts, 1.0);
            prop_assert!(found.chi2 == 0.0 && found.p == 1.0);
        }

        /// The stepwise definition, one by one.
        #[test]
        fn rejections_are_the_smallest(p in proptest::collection::vec(0.0..0.1f64, 1..40)) {
            let rejected = false_discoveries(&p, 0.05);
            let mut sorted = p.clone();
            sorted.sort_by(f64::total_cmp);
            let count = (1..=p.len()).rev().find(|k| sorted[k - 1] <= *k as f64 * (0.05 / p.len() as f64));
            prop_assert_eq!(rejected.iter().filter(|rejected| **rejected).count(), count.unwrap_or(0));
            let worst = p.iter().zip(&rejected).filter(|(_, r)| **r).map(|(p, _)| *p).fold(0.0, f64::max);
            prop_assert!(p.iter().zip(&rejected).all(|(p, rejected)| *rejected || *p > worst));
        }
    }
}
