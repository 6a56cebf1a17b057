//! What people ask of routes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::check::{Known, check};
use super::plan::{ModelView, Stand};
use super::publish::asked as to_resolve;
use super::state::Pin;
use super::{Record, RouteState, counted};
use crate::control::decide::Content;
use crate::control::handle::{Asked, ControlError, Promotion, Reply};
use crate::control::lifecycle::Lifecycle;
use crate::control::model::Model;
use crate::control::report::unix_ms;
use crate::control::status::{AuditEntry, Hold, RouteChange, RouteStatus, TrafficChange};
use crate::control::waiting::give;
use crate::routing::{Problem, Route, RouteDocument, RouteSpec, lint, moved_units};
use crate::types::{ModelName, VariantName, Version, Weight};

/// Routes that there may be; more are refused.
pub(in crate::control) const ROUTES: usize = 20_000;

/// What was changed, to be answered once it is written down.
pub(in crate::control) enum Changed {
    Applied(Vec<RouteChange>, Reply<Vec<RouteChange>>),
    Deleted(Box<RouteChange>, Reply<RouteChange>),
    /// Answered with the route as it is then.
    Shown(ModelName, Reply<RouteStatus>),
}

/// A document that may be put into force.
struct Accepted {
    change: RouteChange,
    state: RouteState,
}

impl Lifecycle {
    /// Makes routes, or changes them: all, or none where one is refused.
    pub(in crate::control) fn apply_routes(
        &mut self,
        documents: Vec<RouteDocument>,
        dry_run: bool,
        by: &Asked,
    ) -> Result<Vec<RouteChange>, ControlError> {
        let mut names = BTreeSet::new();
        let mut accepted = Vec::with_capacity(documents.len());
        for document in documents {
            let name = document.name().clone();
            if !names.insert(name.clone()) {
                let message = "it is stated twice: each name may stand once".to_owned();
                return Err(bad(&name, Problem { path: "metadata.name".to_owned(), message }));
            }
            accepted.push(self.accept(document)?);
        }
        let new = accepted.iter().filter(|one| one.change.before.is_none()).count();
        if self.routes.by_name.len() + new > ROUTES {
            return Err(ControlError::Refused(format!(
                "there may be {ROUTES} routes, and there are {} already",
                self.routes.by_name.len()
            )));
        }
        let mut changes = Vec::with_capacity(accepted.len());
        for Accepted { change, state } in accepted {
            if !dry_run && change.outcome != UNCHANGED {
                let model = state.document.as_ref().map(|document| document.model().clone());
                let overtaken = self.routes.insert(&change.name, Arc::new(state), None);
                self.tell(by, "route", &change.name, model, None, &change.outcome);
                self.audit_overtaken(overtaken);
            }
            changes.push(change);
        }
        Ok(changes)
    }

    /// What a document would do, and the route's state with it; refuses what
    /// cannot work.
    fn accept(&self, document: RouteDocument) -> Result<Accepted, ControlError> {
        let name = document.name().clone();
        let record = self.routes.by_name.get(&name);
        if let Some(declared) = record.and_then(|record| record.declared.as_ref()) {
            return Err(ControlError::Refused(format!(
                "route '{name}' is stated by {}: change it there",
                declared.origin
            )));
        }
        let before = record.and_then(|record| record.state.document.clone());
        let mut state = record.map(|one| RouteState::clone(&one.state)).unwrap_or_default();
        state.document = Some(document.clone());
        let mut next = state.clone();
        let dropped = next.take_in(&document);
        let route =
            Route::compile(&document, next.weights()).map_err(|problem| bad(&name, problem))?;
        let model = self.models.get(document.model());
        let view = model.map(Model::view);
        let is_cached = |version: Version| {
            let stood = state.stood_for.get(&version).copied();
            let served = model.into_iter().flat_map(|model| &model.remembered.served);
            let served = served.filter(|one| one.version == version).map(|one| one.digest);
            stood.into_iter().chain(served).any(|digest| self.workshop.cache.contains(&digest))
        };
        let known = Known {
            model: view.as_ref(),
            is_a_model: self.models.contains_key(&name),
            is_cached: &is_cached,
        };
        let asked = to_resolve(&route, &document, next.champion.as_ref());
        let mut warnings =
            check(&document, &asked, &known).map_err(|problem| bad(&name, problem))?;
        warnings.extend(lint(&document));
        if let Some(traffic) = dropped.traffic {
            let names = told(&traffic.weights);
            warnings.push(format!("weights that {} set by hand end: {names}", traffic.actor));
        }
        if let Some(pin) = dropped.champion {
            let Hold { version, actor, .. } = pin.hold;
            warnings.push(format!("the champion is no longer kept at version {version} ({actor})"));
        }
        let outcome = match &before {
            None => "created",
            Some(before) if *before == document => UNCHANGED,
            Some(_) => "changed",
        };
        let change = RouteChange {
            outcome: outcome.to_owned(),
            revision: next.revision,
            moved_units: moved(&name, record, Some(&route)),
            name,
            warnings,
            before,
        };
        Ok(Accepted { change, state })
    }

    pub(in crate::control) fn delete_route(
        &mut self,
        name: &ModelName,
        by: &Asked,
    ) -> Result<RouteChange, ControlError> {
        let record = self.route(name)?;
        let Some(before) = record.state.document.clone() else {
            return Err(ControlError::Refused(format!(
                "route '{name}' is stated by {}: take it out there",
                record.origin()
            )));
        };
        let revision = record.state.revision + 1;
        let moved_units = match &record.declared {
            Some(_) => 0.0,
            None => moved(name, Some(record), None),
        };
        let model = before.model().clone();
        match record.declared.clone() {
            // What a file states stays.
            Some(declared) => {
                let state = RouteState { document: None, ..RouteState::clone(&record.state) };
                let overtaken = self.routes.insert(name, Arc::new(state), Some(declared));
                self.audit_overtaken(overtaken);
            }
            None => self.routes.remove(name),
        }
        self.tell(by, "route_delete", name, Some(model), None, "deleted");
        Ok(RouteChange {
            name: name.clone(),
            outcome: "deleted".to_owned(),
            revision,
            moved_units,
            warnings: Vec::new(),
            before: Some(before),
        })
    }

    /// Sets weights by hand, beside those that were set before; none at all go
    /// back to the document's.
    pub(in crate::control) fn set_traffic(
        &mut self,
        name: &ModelName,
        weights: BTreeMap<VariantName, Weight>,
        by: &Asked,
    ) -> Result<(), ControlError> {
        let record = self.route(name)?;
        let (document, _) = in_force(name, record)?;
        if weights.is_empty() {
            let mut state = RouteState::clone(&record.state);
            state.traffic = None;
            self.change(name, state, by, "traffic", None, "as stated");
            return Ok(());
        }
        let outcome = told(&weights);
        let mut all = record.state.weights().cloned().unwrap_or_default();
        all.extend(weights);
        Route::compile(document, Some(&all)).map_err(|problem| bad(name, problem))?;
        // It has the rest, whatever the others are set to later.
        all.remove(&VariantName::champion());
        let mut state = RouteState::clone(&record.state);
        state.traffic = Some(by_hand(all, by)).filter(|traffic| !traffic.weights.is_empty());
        self.change(name, state, by, "traffic", None, &outcome);
        Ok(())
    }

    /// Makes another version the champion, whatever the document says.
    pub(in crate::control) fn promote(
        &mut self,
        name: &ModelName,
        promotion: Promotion,
        by: &Asked,
    ) -> Result<(), ControlError> {
        let record = self.route(name)?;
        let (document, _) = in_force(name, record)?;
        let Some(view) = self.models.get(document.model()).map(Model::view) else {
            return Err(ControlError::UnknownModel(document.model().to_string()));
        };
        let (content, variant) = promoted(name, record, &view, promotion)?;
        let champion = record.plan.variants.first().and_then(|stand| stand.content);
        if champion == Some(content) {
            let message =
                format!("version {} is the champion of '{name}' already", content.version);
            return Err(ControlError::Refused(message));
        }
        if let Some(reason) = champion.and_then(|champion| view.misfit(content, champion)) {
            let message = format!("version {} cannot be the champion: {reason}", content.version);
            return Err(ControlError::Refused(message));
        }
        let mut state = RouteState::clone(&record.state);
        let default = view.default.map_or(content.version, |default| default.version);
        let hold = Hold {
            version: content.version,
            digest: content.digest,
            actor: by.actor.clone(),
            reason: by.reason.clone(),
            since: unix_ms(),
        };
        state.champion = Some(Pin { hold, until_above: default.max(content.version) });
        if let Some(variant) = variant {
            let mut all = state.weights().cloned().unwrap_or_default();
            all.insert(variant, Weight::NONE);
            Route::compile(document, Some(&all)).map_err(|problem| bad(name, problem))?;
            state.traffic = Some(by_hand(all, by));
        }
        self.change(name, state, by, "promote", Some(content), "promoted");
        Ok(())
    }

    fn route(&self, name: &ModelName) -> Result<&Record, ControlError> {
        let record = self.routes.by_name.get(name);
        record.ok_or_else(|| ControlError::UnknownRoute(name.to_string()))
    }

    /// Puts what was changed by hand into force.
    fn change(
        &mut self,
        name: &ModelName,
        mut state: RouteState,
        by: &Asked,
        action: &str,
        content: Option<Content>,
        outcome: &str,
    ) {
        state.revision += 1;
        let record = self.routes.by_name.get(name);
        let declared = record.and_then(|record| record.declared.clone());
        let model = record.and_then(|record| record.model().cloned());
        self.routes.insert(name, Arc::new(state), declared);
        self.tell(by, action, name, model, content, outcome);
    }

    fn tell(
        &mut self,
        by: &Asked,
        action: &str,
        route: &ModelName,
        model: Option<ModelName>,
        content: Option<Content>,
        outcome: &str,
    ) {
        tracing::info!(
            %route, action, outcome, actor = by.actor, reason = by.reason, "a route changed"
        );
        self.unaudited.push(AuditEntry {
            at: unix_ms(),
            actor: by.actor.clone(),
            action: action.to_owned(),
            model,
            route: Some(route.clone()),
            version: content.map(|content| content.version),
            digest: content.map(|content| content.digest),
            outcome: outcome.to_owned(),
            reason: Some(by.reason.clone()).filter(|reason| !reason.is_empty()),
        });
    }

    /// Answers, now that it is in force and written down.
    pub(in crate::control) fn answer_changed(&self, changed: Changed) {
        match changed {
            Changed::Applied(changes, reply) => give(reply, self.written(changes)),
            Changed::Deleted(change, reply) => give(reply, self.written(*change)),
            Changed::Shown(name, reply) => {
                let shown = self.route(&name).and_then(|record| {
                    let unknown = || ControlError::UnknownRoute(name.to_string());
                    let status = record.status.as_deref().cloned().ok_or_else(unknown)?;
                    Ok(match &record.served {
                        Some(served) => counted(status, served),
                        None => status,
                    })
                });
                give(reply, shown.and_then(|status| self.written(status)));
            }
        }
    }
}

const UNCHANGED: &str = "unchanged";

impl Changed {
    pub(in crate::control) fn is_abandoned(&self) -> bool {
        match self {
            Changed::Applied(_, reply) => reply.is_closed(),
            Changed::Deleted(_, reply) => reply.is_closed(),
            Changed::Shown(_, reply) => reply.is_closed(),
        }
    }
}

/// The content that a promotion means, and the variant that it comes from.
fn promoted(
    name: &ModelName,
    record: &Record,
    view: &ModelView<'_>,
    promotion: Promotion,
) -> Result<(Content, Option<VariantName>), ControlError> {
    let refused = |message: String| Err(ControlError::Refused(message));
    let Ok(route) = &record.compiled else {
        return refused(format!("route '{name}' is not served"));
    };
    let others = || route.variants.iter().map(|one| &one.name).zip(&record.plan.variants).skip(1);
    let describe = |stand: &Stand| match (&stand.content, &stand.reason) {
        (_, Some(reason)) => reason.clone(),
        (Some(content), None) => format!("version {}", content.version),
        (None, None) => "nothing".to_owned(),
    };
    match promotion {
        Promotion::Version(version) => match view.answers.get(&version) {
            Some(content) => Ok((*content, None)),
            None => {
                let ready: Vec<String> = view.answers.keys().map(ToString::to_string).collect();
                refused(format!(
                    "version {version} is not ready; of '{}' there is {}",
                    route.model,
                    if ready.is_empty() { "nothing".to_owned() } else { ready.join(", ") }
                ))
            }
        },
        Promotion::Variant(variant) => match others().find(|(one, _)| **one == variant) {
            Some((_, stand)) => match stand.content.filter(|_| stand.is_ready()) {
                Some(content) => Ok((content, Some(variant))),
                None => refused(format!(
                    "variant '{variant}' of '{name}' is not ready: {}",
                    describe(stand)
                )),
            },
            None if variant.is_champion() => {
                refused("the champion cannot be promoted: name another variant".to_owned())
            }
            None => {
                let known: Vec<&str> = others().map(|(one, _)| one.as_str()).collect();
                refused(format!(
                    "route '{name}' has no variant '{variant}'; it has {}",
                    if known.is_empty() {
                        "none but the champion".to_owned()
                    } else {
                        known.join(", ")
                    }
                ))
            }
        },
        Promotion::Next => {
            let held_back = record.plan.held_back.and_then(|version| view.answers.get(&version));
            if let Some(content) = held_back {
                return Ok((*content, None));
            }
            let mut ready = others().filter_map(|(one, stand)| {
                Some((stand.content.filter(|_| stand.is_ready())?, Some(one.clone())))
            });
            match (ready.next(), ready.next()) {
                (Some(only), None) => Ok(only),
                _ => {
                    let there: Vec<String> = others()
                        .map(|(one, stand)| format!("{one} ({})", describe(stand)))
                        .collect();
                    refused(format!(
                        "it is not obvious what to promote of '{name}': no version is held back, \
                         and beside the champion there is {}; name a variant or a version",
                        if there.is_empty() { "nothing".to_owned() } else { there.join(", ") }
                    ))
                }
            }
        }
    }
}

/// Percent of the units that change their variant; without a route all have
/// the champion.
fn moved(name: &ModelName, before: Option<&Record>, after: Option<&Route>) -> f64 {
    let none = Route::compile(&RouteDocument::new(name.clone(), RouteSpec::default()), None).ok();
    let before = before.and_then(|record| record.compiled.as_deref().ok());
    match (before.or(none.as_ref()), after.or(none.as_ref())) {
        (Some(before), Some(after)) => moved_units(before, after),
        _ => 0.0,
    }
}

fn in_force<'a>(
    name: &ModelName,
    record: &'a Record,
) -> Result<(&'a RouteDocument, &'a Route), ControlError> {
    let document = record.document().ok_or_else(|| ControlError::UnknownRoute(name.to_string()))?;
    match &record.compiled {
        Ok(route) => Ok((document, route)),
        Err(problem) => Err(bad(name, problem.clone())),
    }
}

fn by_hand(weights: BTreeMap<VariantName, Weight>, by: &Asked) -> TrafficChange {
    let (actor, reason) = (by.actor.clone(), by.reason.clone());
    TrafficChange { weights, actor, reason, since: unix_ms() }
}

/// Weights for people, such as `candidate 5 %`.
fn told(weights: &BTreeMap<VariantName, Weight>) -> String {
    let each: Vec<String> =
        weights.iter().map(|(variant, weight)| format!("{variant} {weight} %")).collect();
    each.join(", ")
}

fn bad(route: &ModelName, Problem { path, message }: Problem) -> ControlError {
    ControlError::BadRoute { route: route.clone(), path, message }
}
