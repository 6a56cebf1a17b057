//! Resolves the routes that something happened to, for the next snapshot.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::plan::{Asked, ModelView, PinChange, Stand, resolve};
use super::state::{Pin, reference};
use super::{Overtaken, Record, Routes, status};
use crate::control::decide::Content;
use crate::control::lifecycle::Lifecycle;
use crate::control::model::Model;
use crate::control::report::{GATEWAY, unix_ms};
use crate::control::status::{AuditEntry, Hold};
use crate::routing::{Route, RouteDocument};
use crate::serving::{Mirrored, ModelEntry, Servable, ServedRoute, Snapshot, Target};
use crate::telemetry::{Telemetry, VersionLabels};
use crate::types::{ModelName, VariantName};

/// Routes by name; none of those that are gone.
pub(in crate::control) type RouteChanges = Vec<(ModelName, Option<Arc<ServedRoute>>)>;

/// Models by name, as they are to be published; none of those that are gone.
pub(in crate::control) type ModelChanges = HashMap<ModelName, Option<Arc<ModelEntry>>>;

/// What a route's model has for it.
struct Around<'a> {
    model: Option<&'a Model>,
    view: Option<ModelView<'a>>,
    entry: Arc<ModelEntry>,
    /// What requests find until now.
    before: &'a Snapshot,
    telemetry: &'a Telemetry,
}

impl Routes {
    /// Resolves the routes of all models that change, and those that changed
    /// themselves; adds what is to be told of them to `audit`.
    pub(in crate::control) fn resolve(
        &mut self,
        changes: &ModelChanges,
        models: &BTreeMap<ModelName, Model>,
        before: &Snapshot,
        telemetry: &Telemetry,
        audit: &mut Vec<AuditEntry>,
    ) -> RouteChanges {
        let mut names: BTreeSet<ModelName> = std::mem::take(&mut self.dirty);
        for model in changes.keys() {
            names.extend(self.by_model.get(model).into_iter().flatten().cloned());
            // It may hide the model.
            names.extend(self.by_name.get_key_value(model).map(|(name, _)| name.clone()));
        }
        let mut resolved = Vec::with_capacity(names.len());
        let mut by_model: BTreeMap<ModelName, Vec<ModelName>> = BTreeMap::new();
        for name in names {
            match self.by_name.get(&name).and_then(Record::model) {
                Some(model) => by_model.entry(model.clone()).or_default().push(name),
                None => resolved.push((name, None)),
            }
        }
        for (name, routes_of_it) in by_model {
            let entry = match changes.get(&name) {
                Some(entry) => entry.clone(),
                None => before.model(name.as_str()).cloned(),
            };
            let model = models.get(&name);
            let around = Around {
                model,
                view: model.map(Model::view),
                entry: entry.unwrap_or_default(),
                before,
                telemetry,
            };
            for route in routes_of_it {
                let Some(record) = self.by_name.get_mut(&route) else { continue };
                if let Some(entry) = record.resolve(&around) {
                    audit.push(entry);
                    self.needy.insert(name.clone());
                    self.changed = true;
                }
                self.changed |= record.remember(&around);
                if record.serve(&around) {
                    // What answered before may not be needed any more.
                    self.needy.insert(name.clone());
                }
                let hides_a_model = route != name && models.contains_key(&route);
                if record.show(hides_a_model) {
                    self.is_listed = false;
                }
                resolved.push((route, record.served.clone()));
            }
        }
        resolved
    }
}

impl Lifecycle {
    /// Tells which changes by hand a new document took with it.
    pub(in crate::control) fn audit_overtaken(&mut self, overtaken: Option<Overtaken>) {
        let Some(Overtaken { route, model, dropped }) = overtaken else { return };
        let of = |outcome: &str, content: Option<Content>| {
            let reason = "the route's document changed what it belongs to";
            by_gateway(&route, &model, content, outcome, reason)
        };
        let traffic = dropped.traffic.map(|_| of("weights_dropped", None));
        let champion = dropped.champion.map(|pin| of("champion_dropped", Some(pin.content())));
        self.unaudited.extend(traffic.into_iter().chain(champion));
    }
}

impl Around<'_> {
    /// What can answer as the champion while that is not ready: what did so
    /// before, or the model that requests found under the route's name.
    fn stand_in(
        &self,
        route: &Route,
        before: Option<Content>,
    ) -> Option<(Content, &Arc<Servable>)> {
        let found_model = || self.before.route(route.name.as_str()).is_none();
        let own = || self.view.as_ref()?.default.filter(|_| route.name == route.model);
        let content = before.or_else(|| own().filter(|_| found_model()))?;
        Some((content, self.model?.loaded(content)?))
    }
}

impl Record {
    /// Decides what its variants stand for. Returns what to tell when that
    /// changed what the champion is kept at.
    fn resolve(&mut self, around: &Around<'_>) -> Option<AuditEntry> {
        let (route, document) = (self.compiled.as_ref().ok()?, self.document()?.clone());
        self.plan =
            resolve(&asked(route, &document, self.state.champion.as_ref()), around.view.as_ref());
        let (route, model) = (document.name(), document.model());
        let state = match self.plan.pin {
            PinChange::Keep => return None,
            PinChange::Set(_) | PinChange::Lift => Arc::make_mut(&mut self.state),
        };
        state.revision += 1;
        if let PinChange::Set(content) = self.plan.pin {
            let reason = "new versions wait for a promotion (onNewVersion)";
            let hold = Hold {
                version: content.version,
                digest: content.digest,
                actor: GATEWAY.to_owned(),
                reason: reason.to_owned(),
                since: unix_ms(),
            };
            state.champion = Some(Pin { hold, until_above: content.version });
            return Some(by_gateway(route, model, Some(content), "champion_kept", reason));
        }
        let pin = state.champion.take();
        let reason = "a newer version became the model's default";
        Some(by_gateway(route, model, pin.map(|pin| pin.content()), "champion_released", reason))
    }

    /// Remembers what the versions that it names stand for. Whether that
    /// changed anything.
    fn remember(&mut self, around: &Around<'_>) -> bool {
        // Before the model is known, so is not what the route needs of it.
        let Some(view) = &around.view else { return false };
        if self.state.stood_for.is_empty() && self.needs.versions.is_empty() {
            return false;
        }
        Arc::make_mut(&mut self.state).remember(&self.needs.versions, &view.answers)
    }

    /// Makes what requests find of it. Whether another content than before
    /// answers as the champion.
    fn serve(&mut self, around: &Around<'_>) -> bool {
        let Ok(route) = &self.compiled else {
            self.served = None;
            return false;
        };
        let before = self.served.take();
        let before = before.as_deref();
        let target = |variant: Arc<str>, stand: &Stand, before: Option<&Arc<Target>>| {
            let ready = stand.content.filter(|_| stand.is_ready());
            let servable = ready.and_then(|content| around.model?.loaded(content));
            let Some(servable) = servable else {
                return Err(Arc::from(stand.reason.as_deref().unwrap_or("it is not ready")));
            };
            Ok(target_of(route, variant, servable, before, around.telemetry))
        };
        let targets = route.variants.iter().zip(&self.plan.variants).map(|(variant, stand)| {
            let before = before.and_then(|before| {
                let mut names = before.route.variants.iter();
                let place = names.position(|one| one.name == variant.name)?;
                before.targets.get(place)?.as_ref().ok()
            });
            target(variant.name.shared(), stand, before)
        });
        let mut targets: Vec<_> = targets.collect();
        let answered = self.answering;
        if targets[Route::CHAMPION].is_ok() {
            self.answering = self.plan.variants.first().and_then(|stand| stand.content);
        } else if let Some((content, servable)) = around.stand_in(route, answered) {
            let before = before.and_then(|before| before.targets[Route::CHAMPION].as_ref().ok());
            let variant = Arc::from(VariantName::CHAMPION);
            let target = target_of(route, variant, servable, before, around.telemetry);
            targets[Route::CHAMPION] = Ok(target);
            self.answering = Some(content);
            let version = content.version;
            let problem = format!("champion: version {version} answers until the other is ready");
            self.plan.problems.push(problem);
        } else {
            self.answering = None;
        }
        let shadow = self.plan.shadow.as_ref().and_then(|stand| {
            let before = before.and_then(|before| Some(&before.shadow.as_ref()?.target));
            let target = target(Arc::from(VariantName::SHADOW), stand, before).ok()?;
            Some(Mirrored { target, waiting: Arc::clone(&self.waiting) })
        });
        let known = before.filter(|one| Arc::ptr_eq(&one.route, route));
        let metrics = match known {
            Some(before) => Arc::clone(&before.metrics),
            None => {
                let names: Vec<VariantName> =
                    route.variants.iter().map(|one| one.name.clone()).collect();
                let metrics = around.telemetry.route(&route.name, &names);
                metrics.set_weights(route.variants.iter().map(|one| one.weight).collect());
                metrics
            }
        };
        let pins = around.entry.ready.values().map(|servable| {
            let before = before.and_then(|before| {
                let same = |pin: &&Arc<Target>| pin.servable.version() == servable.version();
                before.pins.iter().find(same)
            });
            let variant = Arc::from(VariantName::PINNED);
            target_of(route, variant, servable, before, around.telemetry)
        });
        let pins = pins.collect();
        self.served = Some(Arc::new(ServedRoute {
            route: Arc::clone(route),
            revision: self.state.revision,
            model: Arc::clone(&around.entry),
            targets,
            pins,
            shadow,
            metrics,
            units: Arc::clone(self.ratio.units()),
        }));
        self.answering != answered
    }

    /// Makes its status. Whether it is another than before.
    fn show(&mut self, hides_a_model: bool) -> bool {
        let Some(status) = status::of(self, hides_a_model) else { return false };
        if self.status.as_deref() == Some(&status) {
            return false;
        }
        self.status = Some(Arc::new(status));
        true
    }
}

/// A variant's version, the same as before where it is the same.
fn target_of(
    route: &Route,
    variant: Arc<str>,
    servable: &Arc<Servable>,
    before: Option<&Arc<Target>>,
    telemetry: &Telemetry,
) -> Arc<Target> {
    if let Some(before) = before.filter(|one| Arc::ptr_eq(&one.servable, servable)) {
        return Arc::clone(before);
    }
    let own = servable.metrics().labels().clone();
    let target = Target::new(
        Arc::clone(servable),
        VersionLabels { route: route.name.clone(), variant, ..own },
    );
    Arc::new(match before {
        Some(before) => target.continuing(before, telemetry),
        None => target,
    })
}

/// What is to be resolved of a route.
pub(super) fn asked<'a>(
    route: &'a Route,
    document: &RouteDocument,
    pin: Option<&'a Pin>,
) -> Asked<'a> {
    Asked {
        variants: route
            .variants
            .iter()
            .map(|variant| (&variant.name, reference(document, &variant.name)))
            .collect(),
        shadow: route.shadow.as_ref().map(|shadow| &shadow.version),
        on_new_version: document.spec.on_new_version,
        pin,
    }
}

fn by_gateway(
    route: &ModelName,
    model: &ModelName,
    content: Option<Content>,
    outcome: &str,
    reason: &str,
) -> AuditEntry {
    tracing::info!(
        %route, version = content.map(|content| content.version.to_string()), outcome, reason,
        "a route changed"
    );
    AuditEntry {
        at: unix_ms(),
        actor: GATEWAY.to_owned(),
        action: "route".to_owned(),
        model: Some(model.clone()),
        route: Some(route.clone()),
        version: content.map(|content| content.version),
        digest: content.map(|content| content.digest),
        outcome: outcome.to_owned(),
        reason: Some(reason.to_owned()),
    }
}

#[cfg(test)]
#[path = "publish_tests.rs"]
mod tests;
