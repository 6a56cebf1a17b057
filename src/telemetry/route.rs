//! Metrics of one route.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::locked;
use super::shadow::ShadowMetrics;
use super::shard::{Counter, Sharded};
use crate::types::{ModelName, VariantName, Weight};

/// Counts what a route decides. Lives as long as the route keeps its variants.
#[derive(Debug)]
pub struct RouteMetrics {
    name: ModelName,
    /// In the order of the route's own.
    variants: Vec<VariantName>,
    shards: Sharded<Shard>,
    weights: Mutex<Vec<Weight>>,
    /// Bits of an `f64`.
    srm: AtomicU64,
    pub shadow: ShadowMetrics,
}

/// By variant; the first so many are told apart, which is more than a route may have.
#[derive(Debug, Default)]
struct Shard {
    assigned: [Counter; MAX_VARIANTS],
    fell_back: [Counter; MAX_VARIANTS],
}

/// Variants that a route may have.
pub const MAX_VARIANTS: usize = 16;

impl RouteMetrics {
    pub(super) fn new(name: ModelName, variants: Vec<VariantName>, shards: usize) -> RouteMetrics {
        RouteMetrics {
            name,
            variants,
            shards: Sharded::new(shards),
            weights: Mutex::default(),
            srm: AtomicU64::new(0),
            shadow: ShadowMetrics::default(),
        }
    }

    pub fn variants(&self) -> &[VariantName] {
        &self.variants
    }

    /// Counts that the split, or a rule, gave a request to the variant at a
    /// place; before anything can refuse it.
    pub fn assigned(&self, variant: usize) {
        if let Some(counter) = self.shards.mine().assigned.get(variant) {
            counter.add(1);
        }
    }

    /// Counts that the champion answered for the variant at a place.
    pub fn fell_back(&self, variant: usize) {
        if let Some(counter) = self.shards.mine().fell_back.get(variant) {
            counter.add(1);
        }
    }

    /// Sets the weights in force, in the order of the variants.
    pub fn set_weights(&self, weights: Vec<Weight>) {
        *locked(&self.weights) = weights;
    }

    /// Sets the logarithm of the Bayes factor against the configured ratio of units.
    pub fn set_srm(&self, log_bayes_factor: f64) {
        self.srm.store(log_bayes_factor.to_bits(), Ordering::Relaxed);
    }

    pub fn srm(&self) -> f64 {
        f64::from_bits(self.srm.load(Ordering::Relaxed))
    }

    pub(super) fn name(&self) -> &ModelName {
        &self.name
    }

    pub(super) fn weights(&self) -> Vec<Weight> {
        locked(&self.weights).clone()
    }

    /// Requests assigned, and those the champion answered in its stead, by variant.
    pub fn totals(&self) -> Vec<(VariantName, u64, u64)> {
        let sum = |of: fn(&Shard) -> &[Counter; MAX_VARIANTS], place: usize| {
            self.shards.iter().map(|shard| of(shard)[place].get()).sum()
        };
        let variants = self.variants.iter().take(MAX_VARIANTS).enumerate();
        variants
            .map(|(place, name)| {
                let assigned = sum(|shard| &shard.assigned, place);
                (name.clone(), assigned, sum(|shard| &shard.fell_back, place))
            })
            .collect()
    }
}

pub(super) type Routes = std::collections::BTreeMap<ModelName, std::sync::Weak<RouteMetrics>>;

/// The routes that are there.
pub(super) fn live(routes: &Mutex<Routes>) -> Vec<Arc<RouteMetrics>> {
    locked(routes).values().filter_map(std::sync::Weak::upgrade).collect()
}
