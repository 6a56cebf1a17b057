//! Metrics of one route's shadow.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use super::shard::Counter;

/// Why a sample was not run; the `reason` label of `modelgate_shadow_dropped_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShadowDrop {
    /// As many wait for the route, or for all, as may.
    QueueFull,
    /// What waits holds as many bytes as it may.
    Memory,
    /// The primary has enough to do, or the shadow had its share of a core.
    Busy,
    /// It waited for too long, or the route has changed since.
    Stale,
    /// The shadow's version failed so often that it is left alone.
    BreakerOpen,
    /// The shadow's version does not answer yet.
    NotReady,
}

impl ShadowDrop {
    pub const ALL: [ShadowDrop; 6] = [
        ShadowDrop::QueueFull,
        ShadowDrop::Memory,
        ShadowDrop::Busy,
        ShadowDrop::Stale,
        ShadowDrop::BreakerOpen,
        ShadowDrop::NotReady,
    ];

    pub fn label(self) -> &'static str {
        match self {
            ShadowDrop::QueueFull => "queue_full",
            ShadowDrop::Memory => "memory",
            ShadowDrop::Busy => "busy",
            ShadowDrop::Stale => "stale",
            ShadowDrop::BreakerOpen => "breaker_open",
            ShadowDrop::NotReady => "not_ready",
        }
    }
}

/// What became of a sample that was not dropped; the `outcome` label of
/// `modelgate_shadow_requests_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShadowOutcome {
    Compared,
    /// The shadow's run failed or panicked.
    Failed,
    /// The shadow's run was stopped.
    Timeout,
    /// The shadow does not take these inputs, or has not these outputs.
    Incompatible,
}

impl ShadowOutcome {
    pub const ALL: [ShadowOutcome; 4] = [
        ShadowOutcome::Compared,
        ShadowOutcome::Failed,
        ShadowOutcome::Timeout,
        ShadowOutcome::Incompatible,
    ];

    pub fn label(self) -> &'static str {
        match self {
            ShadowOutcome::Compared => "compared",
            ShadowOutcome::Failed => "failed",
            ShadowOutcome::Timeout => "timeout",
            ShadowOutcome::Incompatible => "incompatible",
        }
    }
}

/// Counts by reason, in the order of [`ShadowDrop::ALL`].
pub type DropCounts = [u64; ShadowDrop::ALL.len()];

/// Outputs of a route that have series of their own; further ones share [`OTHER`].
const MOST_OUTPUTS: usize = 16;
const OTHER: &str = "_other";

/// Counts what became of mirrored requests, and how their answers compare.
/// Network threads count drops; all else is counted by the shadow's own threads.
#[derive(Debug, Default)]
pub struct ShadowMetrics {
    dropped: [Counter; ShadowDrop::ALL.len()],
    ended: [Counter; ShadowOutcome::ALL.len()],
    /// In the order in which they came; read without a lock, because those who
    /// count are threads that may stand still for long.
    outputs: ArcSwap<Vec<Arc<ShadowOutputMetrics>>>,
}

impl ShadowMetrics {
    pub fn dropped(&self, reason: ShadowDrop) {
        self.dropped[reason as usize].add(1);
    }

    pub fn ended(&self, outcome: ShadowOutcome) {
        self.ended[outcome as usize].add(1);
    }

    pub fn drops(&self) -> DropCounts {
        self.dropped.each_ref().map(Counter::get)
    }

    /// In the order of [`ShadowOutcome::ALL`].
    pub fn outcomes(&self) -> [u64; ShadowOutcome::ALL.len()] {
        self.ended.each_ref().map(Counter::get)
    }

    /// The handle of an output. Beyond the first so many, outputs share one.
    pub fn output(&self, name: &str) -> Arc<ShadowOutputMetrics> {
        loop {
            let known = self.outputs.load_full();
            let named = |wanted: &str| known.iter().find(|output| &*output.name == wanted);
            if let Some(output) = named(name) {
                return Arc::clone(output);
            }
            let name = if known.len() < MOST_OUTPUTS { name } else { OTHER };
            if let Some(output) = named(name) {
                return Arc::clone(output);
            }
            let output = Arc::new(ShadowOutputMetrics::new(name));
            let more = known.iter().cloned().chain([Arc::clone(&output)]).collect();
            let before = self.outputs.compare_and_swap(&known, Arc::new(more));
            if Arc::ptr_eq(&before, &known) {
                return output;
            }
        }
    }

    pub(super) fn outputs(&self) -> Arc<Vec<Arc<ShadowOutputMetrics>>> {
        self.outputs.load_full()
    }
}

/// Upper bounds of the buckets of differences: none, and decades; with their
/// `le` labels.
pub(super) const DIFFERENCE_BOUNDS: [(f64, &str); 14] = [
    (0.0, "0"),
    (1e-9, "1e-09"),
    (1e-8, "1e-08"),
    (1e-7, "1e-07"),
    (1e-6, "1e-06"),
    (1e-5, "1e-05"),
    (1e-4, "0.0001"),
    (1e-3, "0.001"),
    (1e-2, "0.01"),
    (1e-1, "0.1"),
    (1.0, "1"),
    (1e1, "10"),
    (1e2, "100"),
    (1e3, "1000"),
];

/// How one output of the shadow compares with the primary's.
#[derive(Debug)]
pub struct ShadowOutputMetrics {
    pub(super) name: Box<str>,
    pub(super) comparisons: Counter,
    pub(super) disagreements: Counter,
    pub(super) noise_comparisons: Counter,
    pub(super) noise_disagreements: Counter,
    pub(super) differences: [Counter; DIFFERENCE_BOUNDS.len() + 1],
    pub(super) difference_sum: Sum,
    pub(super) overlaps: Counter,
    pub(super) overlap_sum: Sum,
}

impl ShadowOutputMetrics {
    fn new(name: &str) -> ShadowOutputMetrics {
        ShadowOutputMetrics {
            name: Box::from(name),
            comparisons: Counter::default(),
            disagreements: Counter::default(),
            noise_comparisons: Counter::default(),
            noise_disagreements: Counter::default(),
            differences: Default::default(),
            difference_sum: Sum::default(),
            overlaps: Counter::default(),
            overlap_sum: Sum::default(),
        }
    }

    /// Counts one comparison of the shadow's answer with the primary's.
    pub fn compared(&self, agrees: bool, max_difference: Option<f64>, overlap: Option<f64>) {
        self.comparisons.add(1);
        self.disagreements.add(u64::from(!agrees));
        if let Some(difference) = max_difference {
            let bucket = DIFFERENCE_BOUNDS.partition_point(|(bound, _)| *bound < difference);
            self.differences[bucket].add(1);
            self.difference_sum.add(difference);
        }
        if let Some(overlap) = overlap {
            self.overlaps.add(1);
            self.overlap_sum.add(overlap);
        }
    }

    /// Counts one comparison of the primary's answer with its own, run again.
    pub fn compared_noise(&self, agrees: bool) {
        self.noise_comparisons.add(1);
        self.noise_disagreements.add(u64::from(!agrees));
    }
}

/// A sum of finite numbers; others are left out, because nothing could be
/// read of the sum after the first of them.
#[derive(Debug, Default)]
pub(super) struct Sum(AtomicU64);

impl Sum {
    fn add(&self, amount: f64) {
        if amount.is_finite() {
            let add = |bits| Some((f64::from_bits(bits) + amount).to_bits());
            // Never refused, because there is always a sum.
            let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        }
    }

    pub(super) fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_the_bounds() {
        for (bound, label) in DIFFERENCE_BOUNDS {
            assert_eq!(label.parse::<f64>().expect("a number"), bound);
        }
        assert!(DIFFERENCE_BOUNDS.is_sorted());
    }

    #[test]
    fn differences_fall_in_the_bucket_that_their_bound_closes() {
        let output = ShadowOutputMetrics::new("y");
        for difference in [0.0, 1e-12, 1e-9, 2e-9, 1e3, 1e4, f64::INFINITY] {
            output.compared(true, Some(difference), None);
        }
        let counts = output.differences.each_ref().map(Counter::get);
        let mut expected = [0; DIFFERENCE_BOUNDS.len() + 1];
        (expected[0], expected[1], expected[2], expected[13], expected[14]) = (1, 2, 1, 1, 2);
        assert_eq!(counts, expected);
        assert!((output.difference_sum.get() - 11_000.0).abs() < 1e-3);
    }

    #[test]
    fn further_outputs_share_one_handle() {
        let metrics = ShadowMetrics::default();
        for number in 0..100 {
            metrics.output(&format!("y{number}")).compared(number % 2 == 0, None, Some(0.5));
        }
        let outputs = metrics.outputs();
        assert_eq!(outputs.len(), MOST_OUTPUTS + 1);
        assert!(Arc::ptr_eq(&outputs[3], &metrics.output("y3")));
        let other = metrics.output("y99");
        assert_eq!((&*other.name, other.comparisons.get()), (OTHER, 84));
        assert_eq!((other.disagreements.get(), other.overlap_sum.get()), (42, 42.0));
    }
}
