//! Metrics of a model as a whole.

use std::sync::Arc;

use super::Protocol;
use super::labels::{CODES, code_index};
use super::shard::{Counter, Level, Sharded};
use crate::types::{Code, Reason};

/// Counts what happens to a model's requests before a version is chosen, and
/// how many are under way.
#[derive(Debug)]
pub struct ModelMetrics {
    name: Arc<str>,
    shards: Sharded<Shard>,
}

/// Requests by protocol and by place in [`CODES`].
pub(super) type RequestCounters = [[Counter; CODES.len()]; Protocol::ALL.len()];
pub(super) type RequestTotals = [[u64; CODES.len()]; Protocol::ALL.len()];

#[derive(Debug, Default)]
struct Shard {
    requests: RequestCounters,
    rejected: [Counter; Reason::ALL.len()],
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
        ModelMetrics { name, shards: Sharded::new(shards) }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Counts a refusal by its reason, beside the request itself, which
    /// [`ModelMetrics::finished`] or the version's metrics count by its code.
    pub fn rejected(&self, reason: Reason) {
        self.shards.mine().rejected[reason as usize].add(1);
    }

    /// Counts a request that ended before a version was chosen, such as one
    /// for a version that does not exist. Every other request is counted by
    /// its version.
    pub fn finished(&self, protocol: Protocol, code: Code) {
        self.shards.mine().requests[protocol as usize][code_index(Some(code))].add(1);
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
