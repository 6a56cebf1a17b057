//! Tells what happens: the status, the audit log, and whether the start is over.

use std::time::{SystemTime, UNIX_EPOCH};

use super::decide::Content;
use super::journal::AUDIT_RECENT;
use super::lifecycle::{Lifecycle, Loads, START_PATIENCE};
use super::registries::Registry;
use super::status::{AuditEntry, Status};
use crate::types::{ModelName, Stage};

/// Audit entries that wait to be written; when a full disk makes them more, the
/// oldest go.
const UNAUDITED: usize = 10_000;

pub(super) const GATEWAY: &str = "gateway";

pub(super) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn stage_entry(
    model: &ModelName,
    content: Content,
    stage: Stage,
    reason: Option<String>,
) -> AuditEntry {
    AuditEntry {
        at: unix_ms(),
        actor: GATEWAY.to_owned(),
        action: "stage".to_owned(),
        model: Some(model.clone()),
        route: None,
        version: Some(content.version),
        digest: Some(content.digest),
        outcome: stage.label().to_owned(),
        reason,
    }
}

impl Lifecycle {
    pub(super) fn audit_stage(
        &mut self,
        model: &ModelName,
        content: Content,
        stage: Stage,
        reason: Option<String>,
    ) {
        self.unaudited.push(stage_entry(model, content, stage, reason));
    }

    pub(super) fn audit_swap(
        &mut self,
        model: &ModelName,
        from: Option<Content>,
        to: Option<Content>,
        outcome: &str,
    ) {
        let told = to.or(from);
        let from = from.map(|from| from.version.to_string());
        tracing::info!(
            %model, from, to = to.map(|to| to.version.to_string()), outcome, "what answers changed"
        );
        self.unaudited.push(AuditEntry {
            at: unix_ms(),
            actor: GATEWAY.to_owned(),
            action: "swap".to_owned(),
            model: Some(model.clone()),
            route: None,
            version: told.map(|content| content.version),
            digest: told.map(|content| content.digest),
            outcome: outcome.to_owned(),
            reason: from.filter(|_| to.is_some()).map(|from| format!("in place of version {from}")),
        });
    }

    /// Writes down what has to be remembered.
    pub(super) async fn write(&mut self) {
        if !self.state_changed && !self.routes.changed && self.unaudited.is_empty() {
            return;
        }
        for (name, model) in &self.models {
            if model.remembered != Default::default() {
                self.remembered.insert(name.clone(), model.remembered.clone());
            } else {
                self.remembered.remove(name);
            }
        }
        let excess = self.unaudited.len().saturating_sub(UNAUDITED);
        self.unaudited.drain(..excess);
        let state = self.state_changed.then(|| self.remembered.clone());
        let routes = self.routes.changed.then(|| self.routes.states());
        let entries = self.unaudited.clone();
        let written = self
            .with_journal(move |journal| {
                if let Some(state) = state {
                    journal.remember(&state)?;
                }
                if let Some(routes) = routes {
                    journal.remember_routes(&routes)?;
                }
                journal.audit(&entries)
            })
            .await;
        if written {
            self.state_changed = false;
            self.routes.changed = false;
            self.audited.extend(self.unaudited.drain(..));
            let excess = self.audited.len().saturating_sub(AUDIT_RECENT);
            self.audited.drain(..excess);
        }
    }

    /// Publishes the status, the sizes, and how far the start has come.
    pub(super) fn report(&mut self) {
        self.count_fetched();
        self.control.publish(Status {
            routes: self.routes.list(),
            registries: self.registries.iter().map(|registry| registry.status()).collect(),
            models: self.models.values().map(|model| model.status()).collect(),
        });
        self.workshop.telemetry.cache_bytes(self.workshop.cache.bytes());
        let instances = || self.models.values().flat_map(|model| model.instances.values());
        let is_coming = self.models.values().any(|model| {
            let has_default = model.plan.default.is_some();
            model.instances.iter().any(|(id, one)| {
                let is_underway = !matches!(one.stage, Stage::Ready | Stage::Rejected);
                // Where something answers, what takes long is not waited for.
                let answers = has_default && !model.pinned.contains(&id.content);
                is_underway && !(answers && one.started.elapsed() > START_PATIENCE)
            })
        });
        let loads = Loads {
            settled: !is_coming && self.registries.iter().all(Registry::is_settled),
            ready: instances().filter(|one| one.stage == Stage::Ready).count(),
            failed: instances().filter(|one| one.stage == Stage::Rejected).count(),
        };
        self.loads.send_if_modified(|before| std::mem::replace(before, loads) != loads);
    }

    fn count_fetched(&mut self) {
        let telemetry = &self.workshop.telemetry;
        for model in self.models.values_mut() {
            for instance in model.instances.values_mut() {
                let arrived = instance.progress.bytes();
                if arrived > instance.counted_bytes {
                    let more = arrived - instance.counted_bytes;
                    telemetry.registry(model.source.name()).fetched(more);
                    instance.counted_bytes = arrived;
                }
            }
        }
    }
}
