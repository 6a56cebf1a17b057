//! Runs of a model by batch size, in a table that cannot grow.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::RunTimings;
use super::histogram::{ROW_BUCKETS, row_bucket};
use super::shard::Counter;
use super::version::nanos;

/// Batch sizes told apart; the sizes 1 to 64 always find their place when no
/// others were seen before them.
const SIZES: usize = 64;
/// Places looked at before a size is counted among the rest.
const PROBES: usize = 8;

/// Sums over runs.
#[derive(Debug, Default)]
struct Runs {
    count: Counter,
    input_ns: Counter,
    infer_ns: Counter,
    output_ns: Counter,
}

#[derive(Debug, Default)]
struct Size {
    /// Rows of the batches counted here; 0 while the place is free.
    rows: AtomicUsize,
    runs: Runs,
}

/// Counts runs by their number of rows. When no place is left near a size's
/// own, its runs are counted together with others: totals and histogram stay
/// right, that size is missing in the list of sizes.
#[derive(Debug)]
pub(super) struct Batches {
    sizes: [Size; SIZES],
    rest: Runs,
    rest_rows: Counter,
    rest_buckets: [Counter; ROW_BUCKETS],
}

impl Default for Batches {
    fn default() -> Batches {
        Batches {
            sizes: std::array::from_fn(|_| Size::default()),
            rest: Runs::default(),
            rest_rows: Counter::default(),
            rest_buckets: Default::default(),
        }
    }
}

impl Batches {
    pub(super) fn count(&self, rows: usize, timings: &RunTimings) {
        let runs = match self.place(rows) {
            Some(runs) => runs,
            None => {
                self.rest_rows.add(rows as u64);
                self.rest_buckets[row_bucket(rows)].add(1);
                &self.rest
            }
        };
        runs.count.add(1);
        runs.input_ns.add(nanos(timings.input));
        runs.infer_ns.add(nanos(timings.infer));
        runs.output_ns.add(nanos(timings.output));
    }

    fn place(&self, rows: usize) -> Option<&Runs> {
        if rows == 0 {
            return None;
        }
        for probe in 0..PROBES {
            let size = &self.sizes[(rows - 1).wrapping_add(probe) % SIZES];
            let seen = match size.rows.load(Ordering::Relaxed) {
                0 => size
                    .rows
                    .compare_exchange(0, rows, Ordering::Relaxed, Ordering::Relaxed)
                    .map_or_else(|taken| taken, |_| rows),
                taken => taken,
            };
            if seen == rows {
                return Some(&size.runs);
            }
        }
        None
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RunTotals {
    pub(super) count: u64,
    pub(super) input_ns: u64,
    pub(super) infer_ns: u64,
    pub(super) output_ns: u64,
}

impl RunTotals {
    fn add(&mut self, runs: &Runs) {
        self.count += runs.count.get();
        self.input_ns += runs.input_ns.get();
        self.infer_ns += runs.infer_ns.get();
        self.output_ns += runs.output_ns.get();
    }
}

#[derive(Debug, Default)]
pub(super) struct BatchTotals {
    pub(super) runs: RunTotals,
    pub(super) rows: u64,
    pub(super) row_buckets: [u64; ROW_BUCKETS],
    pub(super) by_size: BTreeMap<usize, RunTotals>,
}

impl BatchTotals {
    pub(super) fn add(&mut self, batches: &Batches) {
        for size in &batches.sizes {
            let rows = size.rows.load(Ordering::Relaxed);
            // The count is read once, so that buckets and total agree.
            let mut runs = RunTotals::default();
            runs.add(&size.runs);
            if runs.count == 0 {
                continue;
            }
            self.rows += rows as u64 * runs.count;
            self.row_buckets[row_bucket(rows)] += runs.count;
            let listed = self.by_size.entry(rows).or_default();
            for total in [listed, &mut self.runs] {
                total.count += runs.count;
                total.input_ns += runs.input_ns;
                total.infer_ns += runs.infer_ns;
                total.output_ns += runs.output_ns;
            }
        }
        self.runs.add(&batches.rest);
        self.rows += batches.rest_rows.get();
        for (total, bucket) in self.row_buckets.iter_mut().zip(&batches.rest_buckets) {
            *total += bucket.get();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn run(batches: &Batches, rows: usize) {
        let timings = RunTimings {
            input: Duration::from_nanos(1),
            infer: Duration::from_nanos(10),
            output: Duration::from_nanos(100),
        };
        batches.count(rows, &timings);
    }

    #[test]
    fn sizes_are_told_apart() {
        let batches = Batches::default();
        for rows in (1..=64).chain([64, 64]) {
            run(&batches, rows);
        }
        let mut totals = BatchTotals::default();
        totals.add(&batches);
        assert_eq!(totals.by_size.len(), 64);
        assert_eq!(totals.by_size[&64].count, 3);
        assert_eq!(totals.by_size[&64].output_ns, 300);
        assert_eq!(totals.rows, (1..=64).sum::<u64>() + 128);
    }

    #[test]
    fn any_number_of_sizes_keeps_the_totals_right_and_the_list_short() {
        let batches = Batches::default();
        (0..10_000).for_each(|rows| run(&batches, rows));
        let mut totals = BatchTotals::default();
        totals.add(&batches);
        assert_eq!(totals.by_size.len(), SIZES);
        assert_eq!(totals.runs.count, 10_000);
        assert_eq!(totals.runs.infer_ns, 100_000);
        assert_eq!(totals.rows, (0..10_000).sum::<u64>());
        assert_eq!(totals.row_buckets.iter().sum::<u64>(), 10_000);
        assert_eq!(totals.row_buckets[4], 8, "9 to 16 rows");
    }
}
