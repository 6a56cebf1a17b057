//! What a run of a model costs, learnt from its runs, and where it should run.
//! Deciding is pure; the table is a few atomics that threads share.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Input sizes are told apart by powers of two of their bytes.
const BUCKETS: usize = 32;

/// Runs in a row over the budget before one believes them at once. A single
/// slow run is more often a thread that lost its core than a dear model.
const CONVINCING: u32 = 3;

/// A run so many times over the budget is believed alone: no thread loses its
/// core for that long by chance.
const SHOCKING: u32 = 100;

/// Expected run time by input size. Bytes stand for rows where a model
/// batches, and for the other free dimensions where it does not.
#[derive(Debug)]
pub struct CostTable {
    /// Nanoseconds, 0 where nothing was measured.
    expected: [AtomicU32; BUCKETS],
    /// Whether runs of this size have gone to a lane: the memory that hysteresis needs.
    dear: [AtomicBool; BUCKETS],
    over_budget_in_a_row: AtomicU32,
    budget_ns: u32,
}

impl CostTable {
    /// `budget_ns` is the longest run that may hold up a network thread.
    pub fn new(budget_ns: u32) -> CostTable {
        CostTable {
            expected: [const { AtomicU32::new(0) }; BUCKETS],
            dear: [const { AtomicBool::new(false) }; BUCKETS],
            over_budget_in_a_row: AtomicU32::new(0),
            budget_ns,
        }
    }

    /// Takes a measurement as the truth, as after the timed runs of a load.
    pub fn set(&self, input_bytes: usize, ns: u64) {
        let ns = saturate(ns).max(1);
        self.expected[bucket(input_bytes)].store(ns, Ordering::Relaxed);
    }

    /// Learns from one run.
    pub fn observe(&self, input_bytes: usize, ns: u64) {
        let cell = &self.expected[bucket(input_bytes)];
        let seen = saturate(ns);
        let streak = if seen > self.budget_ns {
            self.over_budget_in_a_row.fetch_add(1, Ordering::Relaxed) + 1
        } else {
            if self.over_budget_in_a_row.load(Ordering::Relaxed) != 0 {
                self.over_budget_in_a_row.store(0, Ordering::Relaxed);
            }
            0
        };
        let convinced = streak >= CONVINCING || seen / SHOCKING > self.budget_ns;
        let old = cell.load(Ordering::Relaxed);
        // Of what is dear already one slow run is no news: who waits for a
        // lane is refused by what runs take as a rule.
        let at_once = convinced && old <= self.budget_ns;
        cell.store(learn(old, seen, at_once), Ordering::Relaxed);
    }

    /// Expected nanoseconds for a run on this many bytes. Sizes never seen are
    /// scaled from the nearest smaller one that was, which errs on the dear side
    /// for models that gain from batching.
    pub fn predict(&self, input_bytes: usize) -> u64 {
        let wanted = bucket(input_bytes);
        let known = |i: usize| match self.expected[i].load(Ordering::Relaxed) {
            0 => None,
            ns => Some(u64::from(ns)),
        };
        if let Some(ns) = known(wanted) {
            return ns;
        }
        let smaller =
            (0..wanted).rev().find_map(|i| Some(known(i)?.saturating_mul(1 << (wanted - i))));
        smaller.or_else(|| (wanted + 1..BUCKETS).find_map(known)).unwrap_or(0)
    }

    /// Whether a run on this many bytes belongs on a lane.
    pub fn is_dear(&self, input_bytes: usize) -> bool {
        let cell = &self.dear[bucket(input_bytes)];
        let was = cell.load(Ordering::Relaxed);
        let is = is_dear(self.predict(input_bytes), u64::from(self.budget_ns), was);
        if is != was {
            cell.store(is, Ordering::Relaxed);
        }
        is
    }
}

/// Over the budget a run is dear; it stays so until it falls under three
/// fifths of it, so that a cost near the limit does not flap.
fn is_dear(predicted_ns: u64, budget_ns: u64, was: bool) -> bool {
    if was { predicted_ns > budget_ns / 5 * 3 } else { predicted_ns > budget_ns }
}

/// The next expectation: falls by an eighth of the difference, and rises by as
/// much, but at most a quarter a run, unless it is to rise `at_once`.
fn learn(old: u32, seen: u32, at_once: bool) -> u32 {
    if old == 0 || (at_once && seen > old) {
        return seen.max(1);
    }
    if seen >= old {
        let step = ((seen - old) / 8).min(old / 4 + 1);
        old.saturating_add(step)
    } else {
        (old - (old - seen).div_ceil(8)).max(1)
    }
}

fn bucket(input_bytes: usize) -> usize {
    (input_bytes.max(1).ilog2() as usize).min(BUCKETS - 1)
}

fn saturate(ns: u64) -> u32 {
    u32::try_from(ns).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_run_does_not_make_a_cheap_model_dear() {
        let table = CostTable::new(250_000);
        table.set(120, 2_000);
        table.observe(120, 4_000_000);
        table.observe(120, 2_000);
        assert!(!table.is_dear(120));
        assert!(table.predict(120) < 3_000, "{}", table.predict(120));
    }

    #[test]
    fn a_model_that_turns_slow_is_dear_after_three_runs() {
        let table = CostTable::new(250_000);
        table.set(120, 2_000);
        for _ in 0..3 {
            table.observe(120, 5_000_000);
        }
        assert!(table.is_dear(120));
    }

    #[test]
    fn one_slow_run_of_a_dear_model_is_no_news() {
        let table = CostTable::new(250_000);
        table.set(120, 2_000_000);
        for _ in 0..3 {
            table.observe(120, 2_000_000);
        }
        table.observe(120, 80_000_000);
        assert!(table.predict(120) <= 2_500_001, "{}", table.predict(120));
        for _ in 0..40 {
            table.observe(120, 80_000_000);
        }
        assert!(table.predict(120) > 60_000_000, "{}", table.predict(120));
    }

    #[test]
    fn a_run_that_would_have_gone_on_is_believed_at_once() {
        let table = CostTable::new(250_000);
        table.set(120, 2_000);
        table.observe(120, 100_000_000);
        assert!(table.is_dear(120));
    }

    #[test]
    fn a_cost_near_the_budget_does_not_flap() {
        let table = CostTable::new(1_000);
        table.set(8, 1_100);
        assert!(table.is_dear(8));
        table.set(8, 900);
        assert!(table.is_dear(8), "still above three fifths of the budget");
        table.set(8, 500);
        assert!(!table.is_dear(8));
        table.set(8, 900);
        assert!(!table.is_dear(8));
    }

    #[test]
    fn unseen_sizes_scale_from_smaller_ones() {
        let table = CostTable::new(1_000);
        table.set(128, 100);
        assert_eq!(table.predict(1_024), 800);
        assert_eq!(table.predict(130), 100);
        assert_eq!(table.predict(1), 100, "nothing smaller is known: the nearest larger");
        assert_eq!(CostTable::new(1).predict(64), 0);
    }
}
