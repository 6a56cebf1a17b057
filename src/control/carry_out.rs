//! Carries plans out: starts attempts, grants memory, publishes.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use super::bring_up::{BringUp, Happened, News};
use super::decide::{Content, InstanceId, Plan, decide};
use super::journal::Remembered;
use super::lifecycle::Lifecycle;
use super::memory::Share;
use super::model::{Instance, Ready};
use super::report::unix_ms;
use crate::engine::ProbeReport;
use crate::registry::Progress;
use crate::serving::{ModelEntry, Servable};
use crate::telemetry::VersionLabels;
use crate::types::{Digest, ModelName, RejectKind, Rejection, Stage};

/// Contents that answered, which are remembered of one model beyond those kept.
const SERVED: usize = 4;

impl Lifecycle {
    /// Takes in what happened to an attempt.
    pub(super) fn take_in(&mut self, News { model, attempt, what }: News) {
        let Some(model) = self.models.get_mut(&model) else { return };
        model.is_dirty = true;
        if let Happened::Gone = what {
            let Some(at) = model.draining.iter().position(|one| one.attempt == attempt) else {
                return;
            };
            let gone = model.draining.remove(at);
            gone.metrics.set_state(Stage::Gone.label());
            let (name, content) = (model.name.clone(), gone.content);
            self.audit_stage(&name, content, Stage::Gone, None);
            return;
        }
        let find = |(_, instance): &(&InstanceId, &mut Instance)| instance.attempt == attempt;
        let Some((id, instance)) = model.instances.iter_mut().find(find) else {
            // Whatever was called off has nothing more to say. A model is never freed here.
            self.workshop.loader.run(move || drop(what));
            return;
        };
        let (name, content) = (model.name.clone(), id.content);
        match what {
            Happened::Stage(stage) => {
                instance.trouble = None;
                self.enter(&name, content, attempt, stage, None);
            }
            Happened::Trouble(reason) => {
                if instance.trouble.as_ref() != Some(&reason) {
                    tracing::warn!(model = %name, version = %content.version, reason, "trying again");
                }
                instance.trouble = Some(reason);
            }
            Happened::Probed(outcome) => {
                let outcome = outcome.err().map_or("ok", RejectKind::label);
                model.metrics.probed(outcome);
            }
            Happened::Sound(report, asking) => {
                instance.report = Some(report);
                instance.asking = Some(asking);
            }
            Happened::Ready(servable, share) => {
                instance.ready = Some(Ready { servable, share });
                // The settings may have changed while it was loaded.
                model.renew_recorders(&self.workshop.recording);
                model.renew_watches(&self.workshop);
                self.enter(&name, content, attempt, Stage::Ready, None);
            }
            Happened::Rejected(rejection) => {
                instance.rejection = Some(rejection.clone());
                model.metrics.swapped("rejected", None);
                self.enter(&name, content, attempt, Stage::Rejected, Some(rejection.to_string()));
            }
            Happened::Gone => {}
        }
    }

    /// Moves an attempt to a stage, and tells everybody.
    fn enter(
        &mut self,
        name: &ModelName,
        content: Content,
        attempt: u64,
        stage: Stage,
        reason: Option<String>,
    ) {
        let Some(model) = self.models.get_mut(name) else { return };
        let own = model.instances.values_mut().find(|instance| instance.attempt == attempt);
        let Some(instance) = own.filter(|one| one.stage.may_become(stage)) else { return };
        instance.stage = stage;
        instance.since = unix_ms();
        instance.metrics.set_state(stage.label());
        let (version, digest) = (content.version, content.digest);
        match (stage, &instance.ready) {
            (Stage::Ready, Some(Ready { servable, .. })) => tracing::info!(
                model = %name, %version, %digest,
                after_ms = instance.started.elapsed().as_millis() as u64,
                run_us = servable.loaded.cost.predict(0) as f64 / 1e3,
                batching = servable.loaded.may_batch(),
                memory_bytes = servable.loaded.engine.memory_bytes(),
                "model ready"
            ),
            (Stage::Rejected, _) => {
                tracing::error!(model = %name, %version, %digest, reason, "model rejected");
            }
            _ => tracing::info!(model = %name, %version, stage = stage.label(), "model moves on"),
        }
        self.audit_stage(name, content, stage, reason);
    }

    /// Plans every model that something happened to, and acts.
    pub(super) fn settle(&mut self) {
        for name in self.routes.take_needy() {
            if let Some(model) = self.models.get_mut(&name) {
                model.is_dirty = true;
            }
        }
        let spare_kept = self.models.values().any(|model| {
            let asks = |(id, one): (&InstanceId, &Instance)| {
                one.is_blocked && !model.plan.kept.contains(id)
            };
            model.instances.iter().any(asks)
        });
        let dirty: Vec<ModelName> = self
            .models
            .values()
            .filter(|model| model.is_dirty)
            .map(|model| model.name.clone())
            .collect();
        if dirty.is_empty() && self.routes.is_settled() {
            return;
        }
        let mut changes: HashMap<ModelName, Option<Arc<ModelEntry>>> = HashMap::new();
        let mut leaving: Vec<(ModelName, InstanceId, Instance)> = Vec::new();
        for name in dirty {
            self.plan(&name, spare_kept, &mut leaving);
            let Some(model) = self.models.get_mut(&name) else { continue };
            let entry = model.entry();
            let is_there = !model.listed.versions.is_empty() || model.remembered.hold.is_some();
            let is_shown = is_there || entry.default.is_some() || !entry.known.is_empty();
            changes.insert(name.clone(), is_shown.then(|| Arc::new(entry)));
            if model.is_gone() && leaving.iter().all(|(leaver, ..)| *leaver != name) {
                self.models.remove(&name);
                self.state_changed |= self.remembered.remove(&name).is_some();
            }
        }
        let Lifecycle { routes, models, catalog, workshop, unaudited, .. } = self;
        let before = catalog.load();
        let routes = routes.resolve(&changes, models, &before, &workshop.telemetry, unaudited);
        drop(before);
        let some_went = routes.iter().any(|(_, route)| route.is_none());
        // Readers that still hold the snapshot before it free their part of it.
        drop(self.catalog.publish(changes, routes));
        if some_went {
            self.workshop.telemetry.forget_routes();
        }
        for (name, id, instance) in leaving {
            self.drain(&name, id, instance);
        }
        self.keep_cached();
    }

    fn plan(
        &mut self,
        name: &ModelName,
        spare_kept: bool,
        leaving: &mut Vec<(ModelName, InstanceId, Instance)>,
    ) {
        let Some(model) = self.models.get_mut(name) else { return };
        model.is_dirty = false;
        let cache = &self.workshop.cache;
        let needs = self.routes.needs(name, model.settings.good.as_deref());
        model.pinned.clone_from(&needs.pinned);
        let plan = decide(&model.facts(spare_kept, needs, |digest| cache.contains(digest)));
        for id in plan.drain.iter().chain(&plan.cancel).chain(&plan.forget) {
            let Some(instance) = model.instances.remove(id) else { continue };
            if instance.ready.is_some() {
                leaving.push((name.clone(), *id, instance));
            } else {
                instance.call_off();
                if instance.rejection.is_none() {
                    let reason = Some("not wanted any more".to_owned());
                    self.unaudited.push(super::report::stage_entry(
                        name,
                        id.content,
                        Stage::Gone,
                        reason,
                    ));
                }
            }
        }
        let before = std::mem::replace(&mut model.plan, plan.clone());
        for id in &plan.start {
            self.begin(name, *id);
        }
        if before.default.map(|id| id.content) != plan.default.map(|id| id.content) {
            self.swapped(name, &before, &plan);
        }
        self.grant(name, &plan);
    }

    /// Starts an attempt.
    fn begin(&mut self, name: &ModelName, id: InstanceId) {
        self.next_attempt += 1;
        let attempt = self.next_attempt;
        let Some(model) = self.models.get_mut(name) else { return };
        let listed = model.listed.versions.get(&id.content.version);
        let listed = listed.filter(|listed| listed.digest == id.content.digest).cloned();
        let labels = VersionLabels::champion(name.clone(), id.content.version);
        let metrics = self.workshop.telemetry.version(VersionLabels {
            digest: Arc::from(id.content.digest.to_string()),
            source: Arc::from(model.source.name()),
            ..labels
        });
        let progress = Arc::new(Progress::default());
        let cancelled = Arc::new(AtomicBool::new(false));
        let mut instance = Instance {
            attempt,
            stage: Stage::Fetching,
            since: unix_ms(),
            started: Instant::now(),
            listed: listed.clone(),
            trouble: None,
            rejection: None,
            report: None,
            asking: None,
            is_blocked: false,
            ready: None,
            progress: Arc::clone(&progress),
            counted_bytes: 0,
            cancelled: Arc::clone(&cancelled),
            task: None,
            metrics: Arc::clone(&metrics),
        };
        metrics.set_state(Stage::Fetching.label());
        if let Some(settings) = &model.settings.good {
            let attempt = BringUp {
                model: name.clone(),
                content: id.content,
                attempt,
                listed,
                source: Arc::clone(&model.source),
                settings: Arc::clone(settings),
                limits: self.setup.probe,
                limiter: Arc::clone(&model.limiter),
                allowed_domains: self.setup.allowed_domains.clone(),
                progress,
                cancelled,
                metrics,
                workshop: Arc::clone(&self.workshop),
                news: self.news.clone(),
            };
            instance.task = Some(tokio::spawn(attempt.run()).abort_handle());
            model.instances.insert(id, instance);
            self.audit_stage(name, id.content, Stage::Fetching, None);
            return;
        }
        let reason = model.settings.error.clone().unwrap_or_default();
        instance.rejection = Some(Rejection::new(RejectKind::BadOptions, reason.clone()));
        model.instances.insert(id, instance);
        self.enter(name, id.content, attempt, Stage::Rejected, Some(reason));
    }

    /// What answers changed: remembers and tells it.
    fn swapped(&mut self, name: &ModelName, before: &Plan, plan: &Plan) {
        let Some(model) = self.models.get_mut(name) else { return };
        let Some(id) = plan.default else {
            self.audit_swap(name, before.default.map(|id| id.content), None, "retired");
            return;
        };
        let served = &mut model.remembered.served;
        let is_back = before.default.is_some() && served.contains(&id.content);
        served.retain(|content| *content != id.content);
        served.insert(0, id.content);
        let keep = model.settings.good.as_ref().map_or(0, |good| good.keep_previous);
        served.truncate(SERVED.max(keep + 1));
        self.state_changed = true;
        let outcome = match (before.default, is_back) {
            (None, _) => "first",
            (Some(_), true) => "rolled_back",
            (Some(_), false) => "swapped",
        };
        let took = model.instances.get(&id).filter(|_| !is_back).map(|one| one.started.elapsed());
        model.metrics.swapped(outcome, took);
        self.audit_swap(name, before.default.map(|id| id.content), Some(id.content), outcome);
    }

    /// Answers the attempts of a model that ask for memory, as far as there is some.
    fn grant(&mut self, name: &ModelName, plan: &Plan) {
        let budget = self.setup.memory_bytes;
        let Some(model) = self.models.get_mut(name) else { return };
        let in_place = plan.default.and_then(|id| model.servable(&id).cloned());
        let any_signature = model.settings.good.as_ref().is_some_and(|good| good.any_signature);
        let Remembered { hold, served, .. } = &model.remembered;
        for (id, instance) in &mut model.instances {
            let (Some(report), Some(_)) = (&instance.report, &instance.asking) else { continue };
            // What answered before, or was asked for, has callers already. What is newer counts
            // also while a hold keeps it back: the release would let it answer.
            let has_callers = served.contains(&id.content)
                || model.pinned.contains(&id.content)
                || hold.as_ref().is_some_and(|hold| hold.digest == id.content.digest);
            let may_answer =
                |old: &Servable| plan.target == Some(*id) || id.content.version >= old.version();
            let incompatible = in_place
                .as_ref()
                .filter(|old| !any_signature && !has_callers && may_answer(old))
                .and_then(|old| report.signature.may_replace(old.signature()).err());
            let answer = if let Some(error) = incompatible {
                let reason = format!(
                    "{error}; set `signature: any` in model.yaml to swap it in all the same"
                );
                Err(Rejection::new(RejectKind::Incompatible, reason))
            } else if report.peak_bytes > budget {
                Err(too_large(report, budget))
            } else if let Some(share) = self.memory.take(report.peak_bytes, budget) {
                Ok(share)
            } else {
                // Plans from now on may make room for it.
                model.is_dirty |= !instance.is_blocked;
                instance.is_blocked = true;
                instance.trouble = Some(format!(
                    "it waits for memory: it needs {} MiB, and {} of {} MiB are taken",
                    report.peak_bytes >> 20,
                    self.memory.held() >> 20,
                    budget >> 20
                ));
                continue;
            };
            instance.trouble = None;
            instance.is_blocked = false;
            if let Some(asking) = instance.asking.take() {
                give(asking, answer);
            }
        }
    }

    /// Tells the cache what it must not lose.
    fn keep_cached(&self) {
        let mut keep: HashSet<Digest> = HashSet::new();
        for model in self.models.values() {
            keep.extend(model.instances.keys().map(|id| id.content.digest));
            keep.extend(model.draining.iter().map(|draining| draining.content.digest));
            let previous = model.settings.good.as_ref().map_or(1, |good| good.keep_previous);
            let served = model.remembered.served.iter().take(1 + previous);
            keep.extend(served.map(|content| content.digest));
            keep.extend(model.remembered.hold.iter().map(|hold| hold.digest));
        }
        keep.extend(self.routes.contents().map(|content| content.digest));
        *self.workshop.keep.lock().unwrap_or_else(PoisonError::into_inner) = keep;
    }
}

fn give(asking: oneshot::Sender<Result<Share, Rejection>>, answer: Result<Share, Rejection>) {
    // An attempt that was called off does not listen; its share comes back.
    let _ = asking.send(answer);
}

fn too_large(report: &ProbeReport, budget: u64) -> Rejection {
    let reason = format!(
        "it needs {} MiB of memory, and all models together may take {} MiB (models.memory_bytes)",
        report.peak_bytes >> 20,
        budget >> 20
    );
    Rejection::new(RejectKind::OutOfMemory, reason)
}
