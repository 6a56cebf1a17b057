//! Metrics of registries and of the cache of model files.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use super::exposition::{Kind, Page};
use super::locked;

/// Counts what happens to one registry. Written rarely.
#[derive(Debug, Default)]
pub struct RegistryMetrics {
    state: Mutex<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    synced_at: f64,
    stale: bool,
    fetched_bytes: u64,
    errors: BTreeMap<&'static str, u64>,
}

impl RegistryMetrics {
    /// It was listed with success, now.
    pub fn synced(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        locked(&self.state).synced_at = now.as_secs_f64();
    }

    /// Counts a failure by its reason: one of a closed set of the caller's.
    pub fn failed(&self, reason: &'static str) {
        *locked(&self.state).errors.entry(reason).or_default() += 1;
    }

    /// Says whether what is served rests on an older listing.
    pub fn stale(&self, stale: bool) {
        locked(&self.state).stale = stale;
    }

    /// Counts bytes of model files that have arrived.
    pub fn fetched(&self, bytes: u64) {
        locked(&self.state).fetched_bytes += bytes;
    }
}

/// `registries` in the order of their names.
pub(super) fn render(
    page: &mut Page,
    registries: &[(String, Arc<RegistryMetrics>)],
    cache_bytes: u64,
) {
    let states: Vec<(&str, State)> = registries
        .iter()
        .map(|(name, metrics)| (name.as_str(), locked(&metrics.state).clone()))
        .collect();

    let help = "Unix time at which the registry was last listed with success.";
    page.family("modelgate_registry_sync_timestamp_seconds", Kind::Gauge, help);
    for (name, state) in &states {
        page.sample(&[("registry", name)], state.synced_at);
    }
    let help = "1 while what is served rests on an older listing of the registry.";
    page.family("modelgate_registry_stale", Kind::Gauge, help);
    for (name, state) in &states {
        page.sample(&[("registry", name)], u8::from(state.stale));
    }
    let help = "Bytes of model files that have arrived from the registry.";
    page.family("modelgate_registry_fetched_bytes_total", Kind::Counter, help);
    for (name, state) in &states {
        page.sample(&[("registry", name)], state.fetched_bytes);
    }
    let help = "Attempts to read the registry that failed.";
    page.family("modelgate_registry_errors_total", Kind::Counter, help);
    for (name, state) in &states {
        for (reason, count) in &state.errors {
            page.sample(&[("registry", name), ("reason", reason)], count);
        }
    }
    let help = "Bytes of model files in the local cache.";
    page.family("modelgate_registry_cache_bytes", Kind::Gauge, help);
    page.sample(&[], cache_bytes);
}
