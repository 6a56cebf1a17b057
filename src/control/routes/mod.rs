//! Routes: which are stated, what was changed by hand, and what their variants
//! stand for.
//!
//! - `state`: what is remembered of one route; pure
//! - `plan`: which content each variant stands for; pure
//! - this file: all routes, by name and by model
//! - `publish`: resolves those that something happened to, for the next snapshot
//! - `change`, `check`: what people ask for, and what is refused of it
//! - `ratio`: whether units are distributed as the weights say
//! - `status`: how they are told

mod change;
mod check;
mod plan;
mod publish;
mod ratio;
mod state;
mod status;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

pub(super) use change::Changed;
use plan::RoutePlan;
pub(super) use plan::{ModelView, Underway};
use ratio::Ratio;
use state::Dropped;
pub(super) use state::RouteState;
pub(super) use status::counted;

use super::decide::{Content, Needs};
use super::journal::RouteStates;
use super::settings::{DeclaredRoute, LabelTarget, ModelSettings};
use super::status::RouteStatus;
use crate::routing::{Problem, Route, RouteDocument, VersionRef};
use crate::serving::ServedRoute;
use crate::types::{ModelName, VariantName};

/// All routes, and which of them something happened to.
#[derive(Default)]
pub(super) struct Routes {
    by_name: BTreeMap<ModelName, Record>,
    by_model: HashMap<ModelName, BTreeSet<ModelName>>,
    dirty: BTreeSet<ModelName>,
    /// Models that routes need other versions of than before.
    needy: BTreeSet<ModelName>,
    /// Something of what is remembered is not written yet.
    pub(super) changed: bool,
    /// As the status shows them; made anew when one changed.
    list: Arc<Vec<Arc<RouteStatus>>>,
    is_listed: bool,
}

/// One route.
struct Record {
    /// Shared with whoever writes it down.
    state: Arc<RouteState>,
    /// What a file states; that wins over the document in `state`.
    declared: Option<DeclaredRoute>,
    /// With the weights in force; the error is of a document that an earlier
    /// version of the gateway took.
    compiled: Result<Arc<Route>, Problem>,
    /// What the model has to have loaded for it.
    needs: Needs,
    plan: RoutePlan,
    served: Option<Arc<ServedRoute>>,
    /// What answers as the champion. It goes on until what should is ready: a
    /// route that changes fails no request.
    answering: Option<Content>,
    /// Samples for its shadow that wait, whatever version that is.
    waiting: Arc<AtomicUsize>,
    ratio: Ratio,
    status: Option<Arc<RouteStatus>>,
}

/// Changes by hand that a document took with it.
pub(super) struct Overtaken {
    pub(super) route: ModelName,
    pub(super) model: ModelName,
    dropped: Dropped,
}

impl Record {
    /// What is in force; none once neither a file nor anybody states it.
    fn document(&self) -> Option<&RouteDocument> {
        let declared = self.declared.as_ref().map(|declared| &declared.document);
        declared.or(self.state.document.as_ref())
    }

    fn origin(&self) -> &str {
        self.declared.as_ref().map_or("api", |declared| &declared.origin)
    }

    fn model(&self) -> Option<&ModelName> {
        self.document().map(RouteDocument::model)
    }

    /// What answers as the champion until the version that the document names is ready.
    fn stands_in(&self) -> Option<Content> {
        let answering = self.answering?;
        let champion = VariantName::champion();
        match (&self.state.champion, state::reference(self.document()?, &champion)) {
            (Some(pin), _) => (pin.content() != answering).then_some(answering),
            (None, VersionRef::Number(version)) => {
                (version != answering.version).then_some(answering)
            }
            // Which version a label stands for may have changed.
            (None, VersionRef::Label(_)) => Some(answering),
            // The model itself goes on answering until the next one is ready.
            (None, VersionRef::Default | VersionRef::Latest) => None,
        }
    }

    /// Whether the model may have to load other versions for it than for `before`.
    fn needs_others_than(&self, before: Option<&Record>) -> bool {
        let wants = |one: &Record| {
            let references = one.document().into_iter().flat_map(state::versions);
            let explicit =
                |one: &&VersionRef| matches!(one, VersionRef::Number(_) | VersionRef::Label(_));
            let explicit: BTreeSet<VersionRef> = references.filter(explicit).cloned().collect();
            (one.model().cloned(), explicit, one.state.champion.as_ref().map(state::Pin::content))
        };
        let (model, explicit, pin) = wants(self);
        let none = (model.clone(), BTreeSet::new(), None);
        (model, explicit, pin) != before.map_or(none, wants)
    }
}

impl Routes {
    pub(super) fn new(states: RouteStates) -> Routes {
        let mut routes = Routes::default();
        for (name, state) in states {
            routes.insert(&name, state, None);
        }
        routes
    }

    /// Puts the routes of a configuration in the place of those of the one
    /// before. Tells which changes by hand went.
    pub(super) fn declare(&mut self, declared: &[DeclaredRoute]) -> Vec<Overtaken> {
        let mut stated: BTreeMap<&ModelName, &DeclaredRoute> = BTreeMap::new();
        for route in declared {
            stated.entry(route.document.name()).or_insert(route);
        }
        let left: Vec<ModelName> = self
            .by_name
            .iter()
            .filter(|(name, one)| one.declared.is_some() && !stated.contains_key(*name))
            .map(|(name, _)| name.clone())
            .collect();
        let none = left.into_iter().map(|name| (name, None));
        let some = stated.into_iter().map(|(name, one)| (name.clone(), Some(one.clone())));
        let mut overtaken = Vec::new();
        for (name, declared) in none.chain(some).collect::<Vec<_>>() {
            let known = self.by_name.get(&name);
            if known.is_some_and(|one| one.declared == declared) {
                continue;
            }
            let state = known.map(|one| Arc::clone(&one.state)).unwrap_or_default();
            overtaken.extend(self.insert(&name, state, declared));
        }
        // What was remembered of a file's route goes with it.
        let homeless = self.by_name.iter().filter(|(_, one)| one.document().is_none());
        for name in homeless.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.remove(&name);
        }
        overtaken
    }

    /// Makes a route, or changes it. Tells which changes by hand went.
    fn insert(
        &mut self,
        name: &ModelName,
        mut state: Arc<RouteState>,
        declared: Option<DeclaredRoute>,
    ) -> Option<Overtaken> {
        let before = self.by_name.remove(name);
        let document = declared.as_ref().map(|one| &one.document).or(state.document.as_ref());
        let mut dropped = Dropped::default();
        if let Some(document) = document.cloned() {
            dropped = Arc::make_mut(&mut state).take_in(&document);
        }
        self.changed |= before.as_ref().is_none_or(|one| one.state != state);
        if let Some(before) = &before {
            self.unlink(name, before);
        }
        let mut record = Record {
            state,
            declared,
            compiled: Err(Problem { path: String::new(), message: "nobody states it".to_owned() }),
            needs: before.as_ref().map(|one| one.needs.clone()).unwrap_or_default(),
            plan: RoutePlan::default(),
            served: before.as_ref().and_then(|one| one.served.clone()),
            answering: before.as_ref().and_then(|one| one.answering),
            waiting: before.as_ref().map(|one| Arc::clone(&one.waiting)).unwrap_or_default(),
            ratio: Ratio::default(),
            status: None,
        };
        if let Some(document) = record.document() {
            record.compiled = Route::compile(document, record.state.weights()).map(Arc::new);
            if let Err(problem) = &record.compiled {
                tracing::error!(route = %name, %problem, "a route cannot be served");
            }
        }
        if let (Ok(route), Some(document)) = (&record.compiled, record.document()) {
            let ratio = before.as_ref().map(|before| &before.ratio);
            record.ratio = Ratio::of(route, document, ratio);
        }
        if record.model() != before.as_ref().and_then(Record::model) {
            record.answering = None;
        }
        let model = record.model().cloned();
        if let Some(model) = &model {
            self.by_model.entry(model.clone()).or_default().insert(name.clone());
            if record.needs_others_than(before.as_ref()) {
                self.needy.insert(model.clone());
            }
        }
        self.by_name.insert(name.clone(), record);
        self.touch(name);
        let something = dropped != Dropped::default();
        model.filter(|_| something).map(|model| Overtaken { route: name.clone(), model, dropped })
    }

    /// Forgets a route altogether.
    fn remove(&mut self, name: &ModelName) {
        if let Some(record) = self.by_name.remove(name) {
            self.unlink(name, &record);
        }
        self.changed = true;
        self.touch(name);
    }

    fn unlink(&mut self, name: &ModelName, record: &Record) {
        let Some(model) = record.model() else { return };
        if let Some(routes) = self.by_model.get_mut(model) {
            routes.remove(name);
            if routes.is_empty() {
                self.by_model.remove(model);
            }
        }
        // What it needed may go, unless it is put back with the same needs.
        if record.needs != Needs::default() {
            self.needy.insert(model.clone());
        }
    }

    /// Something happened to a route.
    fn touch(&mut self, name: &ModelName) {
        self.dirty.insert(name.clone());
        self.is_listed = false;
    }

    /// What the routes of a model need of it; `settings` are the model's.
    pub(super) fn needs(&mut self, model: &ModelName, settings: Option<&ModelSettings>) -> Needs {
        let label = |name: &str| match settings?.version_labels.get(name) {
            Some(LabelTarget::Version(version)) => Some(*version),
            _ => None,
        };
        let mut all = Needs::default();
        for name in self.by_model.get(model).into_iter().flatten() {
            let Some(record) = self.by_name.get_mut(name) else { continue };
            let mut own = Needs::default();
            if let Some(document) = record.document() {
                record.state.add_needs(document, label, &mut own);
                let makes_room = settings.is_some_and(|good| good.resource_preserving);
                own.pinned.extend(record.stands_in().filter(|_| !makes_room));
            }
            all.pinned.extend(&own.pinned);
            all.versions.extend(&own.versions);
            all.known.extend(&own.known);
            record.needs = own;
        }
        all
    }

    /// Models that have to be planned anew because of their routes.
    pub(super) fn take_needy(&mut self) -> BTreeSet<ModelName> {
        std::mem::take(&mut self.needy)
    }

    pub(super) fn is_settled(&self) -> bool {
        self.dirty.is_empty() && self.needy.is_empty()
    }

    /// Contents that routes keep champions at, by model.
    pub(super) fn pinned(&self) -> impl Iterator<Item = (&ModelName, Content)> {
        self.by_name.values().filter_map(|one| {
            Some((one.document()?.model(), one.state.champion.as_ref()?.content()))
        })
    }

    /// What the cache must not lose for them.
    pub(super) fn contents(&self) -> impl Iterator<Item = Content> + '_ {
        self.by_name.values().flat_map(|one| {
            let pinned = one.state.champion.as_ref().map(state::Pin::content);
            let stood = one.state.stood_for.iter();
            let stood =
                stood.map(|(version, digest)| Content { version: *version, digest: *digest });
            pinned.into_iter().chain(stood)
        })
    }

    pub(super) fn states(&self) -> RouteStates {
        self.by_name.iter().map(|(name, one)| (name.clone(), Arc::clone(&one.state))).collect()
    }

    /// Looks at the ratio of units of every route that is served.
    pub(super) fn look_at_ratios(&self) {
        for record in self.by_name.values() {
            if let (Some(log), Some(served)) = (record.ratio.look(), &record.served) {
                served.metrics.set_srm(log);
            }
        }
    }

    /// As the status shows them.
    pub(super) fn list(&mut self) -> Arc<Vec<Arc<RouteStatus>>> {
        if !self.is_listed {
            self.is_listed = true;
            self.list =
                Arc::new(self.by_name.values().filter_map(|one| one.status.clone()).collect());
        }
        Arc::clone(&self.list)
    }
}
