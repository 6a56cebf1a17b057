//! Metrics of a model as a whole.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::labels::{CODES, code_index};
use super::prediction_log::RecordOutcome;
use super::shard::{Counter, Level, Sharded};
use super::{Protocol, locked};
use crate::types::{Code, Reason};

/// Counts what happens to a model's requests before a version is chosen, and
/// how many are under way.
#[derive(Debug)]
pub struct ModelMetrics {
    name: Arc<str>,
    shards: Sharded<Shard>,
    /// 0 before there is one.
    admission_limit: AtomicU64,
    /// Counted rarely, by the lifecycle alone.
    changes: Mutex<Changes>,
}

/// Bounds of `modelgate_swap_duration_seconds`, from the start of a version's
/// fetch until it answers.
pub(super) const SWAP_BOUNDS: [(f64, &str); 11] = [
    (0.1, "0.1"),
    (0.25, "0.25"),
    (0.5, "0.5"),
    (1.0, "1"),
    (2.5, "2.5"),
    (5.0, "5"),
    (10.0, "10"),
    (30.0, "30"),
    (60.0, "60"),
    (120.0, "120"),
    (300.0, "300"),
];

/// How often the model was probed and swapped, by outcome: closed sets of the
/// caller's.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes {
    pub(super) probes: BTreeMap<&'static str, u64>,
    pub(super) swaps: BTreeMap<&'static str, u64>,
    pub(super) swap_buckets: [u64; SWAP_BOUNDS.len() + 1],
    pub(super) swap_seconds: f64,
}

/// Requests by protocol and by place in [`CODES`].
pub(super) type RequestCounters = [[Counter; CODES.len()]; Protocol::ALL.len()];
pub(super) type RequestTotals = [[u64; CODES.len()]; Protocol::ALL.len()];

#[derive(Debug, Default)]
struct Shard {
    requests: RequestCounters,
    rejected: [Counter; Reason::ALL.len()],
    records: [Counter; RecordOutcome::ALL.len()],
    inflight: Level,
}

#[derive(Debug, Default)]
pub(super) struct ModelTotals {
    pub(super) requests: RequestTotals,
    pub(super) rejected: [u64; Reason::ALL.len()],
    pub(super) inflight: i64,
}

impl ModelMetrics {
    pub(super) fn new(name: Arc<str>, shards: usize) -> ModelMetrics {
        ModelMetrics {
            name,
            shards: Sharded::new(shards),
            admission_limit: AtomicU64::new(0),
            changes: Mutex::default(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Counts a refusal by its reason, beside the request itself, which
    /// [`ModelMetrics::finished`] or the version's metrics count by its code.
    pub fn rejected(&self, reason: Reason) {
        self.shards.mine().rejected[reason as usize].add(1);
    }

    /// Counts what became of a request's record.
    pub fn recorded(&self, outcome: RecordOutcome) {
        self.shards.mine().records[outcome as usize].add(1);
    }

    /// By place in [`RecordOutcome::ALL`].
    pub(super) fn records(&self) -> [u64; RecordOutcome::ALL.len()] {
        std::array::from_fn(|place| {
            self.shards.iter().map(|shard| shard.records[place].get()).sum()
        })
    }

    /// What became of records, by outcome.
    pub fn record_counts(&self) -> BTreeMap<&'static str, u64> {
        RecordOutcome::ALL.iter().map(|outcome| outcome.label()).zip(self.records()).collect()
    }

    /// Counts a request that ended before a version was chosen, such as one
    /// for a version that does not exist. Every other request is counted by
    /// its version.
    pub fn finished(&self, protocol: Protocol, code: Code) {
        self.shards.mine().requests[protocol as usize][code_index(Some(code))].add(1);
    }

    /// Sets how many requests may wait for the model's lanes, as learnt.
    pub fn set_admission_limit(&self, limit: u64) {
        self.admission_limit.store(limit, Ordering::Relaxed);
    }

    /// `None` where nothing limits, as for requests that name no model.
    pub(super) fn admission_limit(&self) -> Option<u64> {
        Some(self.admission_limit.load(Ordering::Relaxed)).filter(|limit| *limit > 0)
    }

    /// Counts a probe by its outcome, such as `ok`.
    pub fn probed(&self, outcome: &'static str) {
        *locked(&self.changes).probes.entry(outcome).or_default() += 1;
    }

    /// Counts a change of what answers by its outcome, such as `swapped`, and
    /// the time it took where a version was brought up for it.
    pub fn swapped(&self, outcome: &'static str, took: Option<Duration>) {
        let mut changes = locked(&self.changes);
        *changes.swaps.entry(outcome).or_default() += 1;
        if let Some(took) = took {
            let seconds = took.as_secs_f64();
            let bucket = SWAP_BOUNDS.iter().position(|(bound, _)| seconds <= *bound);
            changes.swap_buckets[bucket.unwrap_or(SWAP_BOUNDS.len())] += 1;
            changes.swap_seconds += seconds;
        }
    }

    pub(super) fn changes(&self) -> Changes {
        locked(&self.changes).clone()
    }

    /// Counts a request as being under way until the guard is dropped.
    #[must_use = "the request counts as finished when the guard is dropped"]
    pub fn enter(self: &Arc<Self>) -> InflightGuard {
        self.shards.mine().inflight.add(1);
        InflightGuard(Arc::clone(self))
    }

    /// Requests under way now.
    pub fn inflight(&self) -> u64 {
        let level: i64 = self.shards.iter().map(|shard| shard.inflight.get()).sum();
        // A sum taken while guards move between threads may dip below zero.
        u64::try_from(level).unwrap_or(0)
    }

    pub(super) fn totals(&self) -> ModelTotals {
        let mut totals = ModelTotals::default();
        for shard in self.shards.iter() {
            add_requests(&mut totals.requests, &shard.requests);
            for (total, counter) in totals.rejected.iter_mut().zip(&shard.rejected) {
                *total += counter.get();
            }
            totals.inflight += shard.inflight.get();
        }
        totals.inflight = totals.inflight.max(0);
        totals
    }
}

pub(super) fn add_requests(totals: &mut RequestTotals, counters: &RequestCounters) {
    for (total, counter) in totals.iter_mut().flatten().zip(counters.iter().flatten()) {
        *total += counter.get();
    }
}

/// A request under way; see [`ModelMetrics::enter`].
#[derive(Debug)]
pub struct InflightGuard(Arc<ModelMetrics>);

impl InflightGuard {
    /// Whose request it is.
    pub fn model(&self) -> &ModelMetrics {
        &self.0
    }
}

impl Drop for InflightGuard {
    fn drop(&mut self) {
        self.0.shards.mine().inflight.add(-1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_stand_in_the_order_of_their_numbers() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "arrays are indexed by reason");
        }
    }

    #[test]
    fn guards_may_be_dropped_on_another_thread() {
        let model = Arc::new(ModelMetrics::new(Arc::from("m"), 4));
        let guards: Vec<InflightGuard> = (0..10).map(|_| model.enter()).collect();
        assert_eq!(model.inflight(), 10);
        std::thread::scope(|scope| {
            for guard in guards {
                scope.spawn(move || drop(guard));
            }
        });
        assert_eq!(model.inflight(), 0);
    }
}
