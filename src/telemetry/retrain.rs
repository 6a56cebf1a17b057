//! Metrics of the decision to train models anew.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::exposition::{Kind, Page};
use super::locked;
use super::shard::Counter;
use crate::types::ModelName;

/// What may be decided of a model; the `state` label.
const STATES: [&str; 6] = ["nothing", "watching", "ticket", "page", "request", "dry_run"];

/// What became of alerts of Alertmanager; the `outcome` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertOutcome {
    Firing,
    Resolved,
    /// About nothing that is known here.
    Ignored,
}

impl AlertOutcome {
    pub const ALL: [AlertOutcome; 3] =
        [AlertOutcome::Firing, AlertOutcome::Resolved, AlertOutcome::Ignored];

    fn label(self) -> &'static str {
        match self {
            AlertOutcome::Firing => "firing",
            AlertOutcome::Resolved => "resolved",
            AlertOutcome::Ignored => "ignored",
        }
    }
}

/// Written once an evaluation.
#[derive(Debug, Default)]
pub struct RetrainMetrics {
    /// By model: the state, one of a closed set.
    states: Mutex<BTreeMap<ModelName, &'static str>>,
    /// By model and reason, one of a closed set.
    requests: Mutex<BTreeMap<(ModelName, &'static str), u64>>,
    pending: AtomicU64,
    failed: AtomicU64,
    alerts: [Counter; AlertOutcome::ALL.len()],
}

impl RetrainMetrics {
    /// Counts a request; `reason` is `dry_run` where nothing was sent.
    pub fn requested(&self, model: &ModelName, reason: &'static str) {
        *locked(&self.requests).entry((model.clone(), reason)).or_default() += 1;
    }

    /// What was decided of each model that is there. Those of others go.
    pub fn set_states(&self, states: BTreeMap<ModelName, &'static str>) {
        locked(&self.requests).retain(|(model, _), _| states.contains_key(model));
        *locked(&self.states) = states;
    }

    /// Sets how many events wait, and how many were given up.
    pub fn set_outbox(&self, pending: usize, failed: usize) {
        self.pending.store(pending as u64, Ordering::Relaxed);
        self.failed.store(failed as u64, Ordering::Relaxed);
    }

    pub fn alerts(&self, outcome: AlertOutcome, count: usize) {
        self.alerts[outcome as usize].add(count as u64);
    }
}

pub(super) fn render(page: &mut Page, metrics: &RetrainMetrics) {
    let help = "Requests to train a model anew; those of dry runs have the reason dry_run.";
    page.family("modelgate_retrain_requests_total", Kind::Counter, help);
    for ((model, reason), count) in &*locked(&metrics.requests) {
        page.sample(&[("model", model.as_str()), ("reason", reason)], count);
    }
    let help = "1 for what was decided of the model last: page is for data that broke.";
    page.family("modelgate_retrain_state", Kind::Gauge, help);
    for (model, now) in &*locked(&metrics.states) {
        for state in STATES {
            let labels = [("model", model.as_str()), ("state", state)];
            page.sample(&labels, u8::from(state == *now));
        }
    }
    let help = "Events on their way to whoever trains: pending, or given up.";
    page.family("modelgate_retrain_outbox_events", Kind::Gauge, help);
    page.sample(&[("state", "pending")], metrics.pending.load(Ordering::Relaxed));
    page.sample(&[("state", "failed")], metrics.failed.load(Ordering::Relaxed));
    let help = "Alerts that Alertmanager told of.";
    page.family("modelgate_retrain_alerts_total", Kind::Counter, help);
    for outcome in AlertOutcome::ALL {
        page.sample(&[("outcome", outcome.label())], metrics.alerts[outcome as usize].get());
    }
}
