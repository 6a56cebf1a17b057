//! Buckets of durations and of rows. Only buckets are counted here; sums are
//! kept by whoever counts, because several families share them.

use super::shard::Counter;

/// Upper bounds of latency buckets: nanoseconds, and the `le` label in seconds.
pub(super) const LATENCY_BOUNDS: [(u64, &str); 20] = [
    (5_000, "0.000005"),
    (10_000, "0.00001"),
    (20_000, "0.00002"),
    (50_000, "0.00005"),
    (100_000, "0.0001"),
    (200_000, "0.0002"),
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_000_000, "0.002"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (20_000_000, "0.02"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (200_000_000, "0.2"),
    (500_000_000, "0.5"),
    (1_000_000_000, "1"),
    (2_000_000_000, "2"),
    (5_000_000_000, "5"),
    (10_000_000_000, "10"),
];

/// Upper bounds of row buckets, powers of two, as their `le` labels.
pub(super) const ROW_BOUNDS: [&str; 11] =
    ["1", "2", "4", "8", "16", "32", "64", "128", "256", "512", "1024"];

/// One more than there are bounds: the last takes what is above them all.
pub(super) const LATENCY_BUCKETS: usize = LATENCY_BOUNDS.len() + 1;
pub(super) const ROW_BUCKETS: usize = ROW_BOUNDS.len() + 1;

#[derive(Debug, Default)]
pub(super) struct LatencyBuckets([Counter; LATENCY_BUCKETS]);

impl LatencyBuckets {
    pub(super) fn count(&self, nanos: u64) {
        self.0[latency_bucket(nanos)].add(1);
    }

    pub(super) fn add_to(&self, totals: &mut [u64; LATENCY_BUCKETS]) {
        for (total, bucket) in totals.iter_mut().zip(&self.0) {
            *total += bucket.get();
        }
    }
}

/// A bound belongs to the bucket it closes, as Prometheus has it.
fn latency_bucket(nanos: u64) -> usize {
    LATENCY_BOUNDS.partition_point(|(bound, _)| *bound < nanos)
}

pub(super) fn row_bucket(rows: usize) -> usize {
    let power = usize::BITS - rows.saturating_sub(1).leading_zeros();
    (power as usize).min(ROW_BOUNDS.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_the_bounds_in_seconds() {
        for (nanos, label) in LATENCY_BOUNDS {
            let seconds: f64 = label.parse().expect("a number");
            assert!((seconds * 1e9 - nanos as f64).abs() < 0.5, "{label} is not {nanos} ns");
        }
        assert!(LATENCY_BOUNDS.is_sorted());
    }

    #[test]
    fn a_bound_falls_in_its_own_bucket_and_one_more_in_the_next() {
        for (index, (bound, _)) in LATENCY_BOUNDS.into_iter().enumerate() {
            assert_eq!(latency_bucket(bound), index);
            assert_eq!(latency_bucket(bound + 1), index + 1);
        }
        assert_eq!(latency_bucket(0), 0);
        assert_eq!(latency_bucket(u64::MAX), LATENCY_BUCKETS - 1);
    }

    #[test]
    fn rows_fall_in_powers_of_two() {
        for (index, label) in ROW_BOUNDS.into_iter().enumerate() {
            let bound: usize = label.parse().expect("a number");
            assert_eq!(row_bucket(bound), index);
            assert_eq!(row_bucket(bound + 1), index + 1);
        }
        assert_eq!(row_bucket(0), 0);
        assert_eq!(row_bucket(usize::MAX), ROW_BUCKETS - 1);
    }
}
