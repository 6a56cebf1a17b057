//! The loop that hears registries, attempts and people, decides, and acts.
//!
//! One task owns everything; others only send it news. Each pass takes in what
//! came, plans every model that it concerns ([`decide`](super::decide)),
//! publishes one snapshot, and writes down what has to be remembered.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::bring_up::{News, Workshop};
use super::champions;
use super::handle::{Command, Control};
use super::journal::{Journal, State};
use super::loader::Loader;
use super::memory::Memory;
use super::model::{Model, Settings};
use super::poll::{Heard, Poll};
use super::registries::Registry;
use super::routes::Routes;
use super::settings::Setup;
use super::status::AuditEntry;
use super::waiting::Waiting;
use super::wanted;
use crate::admission::Limiter;
use crate::drift::live::Drift;
use crate::engine::Library;
use crate::predictions::Recording;
use crate::registry::{Cache, ListedModel, Source};
use crate::serving::Catalog;
use crate::telemetry::Telemetry;
use crate::types::{ModelName, RejectKind};

/// News that wait to be taken in; who has more waits.
const NEWS: usize = 256;

/// How often progress is shown and what failed is looked at again.
const TICK: Duration = Duration::from_millis(500);

/// Plans in a row before news are taken in again.
const PASSES: usize = 4;

/// How long a registry may take to answer at the start before what it said
/// last is used, and a version to come up that another can answer for.
pub(super) const START_PATIENCE: Duration = Duration::from_secs(2);

/// What the lifecycle works with.
pub struct Parts {
    pub library: Library,
    pub cache: Cache,
    /// What has to be remembered.
    pub journal: Journal,
    pub catalog: Arc<Catalog>,
    pub telemetry: Arc<Telemetry>,
    pub recording: Arc<Recording>,
    pub drift: Arc<Drift>,
}

/// How far the start has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loads {
    /// Whether everything that was wanted at the start is ready or rejected.
    pub settled: bool,
    /// Versions.
    pub ready: usize,
    pub failed: usize,
}

pub(super) struct Lifecycle {
    pub(super) setup: Setup,
    /// Number of the configuration, so that answers to an earlier one are told apart.
    pub(super) round: u64,
    pub(super) workshop: Arc<Workshop>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) control: Control,
    /// Away while it is being written.
    pub(super) journal: Option<Journal>,
    pub(super) registries: Vec<Registry>,
    pub(super) models: BTreeMap<ModelName, Model>,
    pub(super) routes: Routes,
    pub(super) memory: Memory,
    pub(super) waiting: Vec<Waiting>,
    pub(super) next_attempt: u64,
    pub(super) news: mpsc::Sender<News>,
    pub(super) heard: mpsc::Sender<Heard>,
    /// What is remembered of models that are not there (yet).
    pub(super) remembered: State,
    /// What is to be written: whether the state changed, and audit entries.
    pub(super) state_changed: bool,
    pub(super) unaudited: Vec<AuditEntry>,
    pub(super) audited: VecDeque<AuditEntry>,
    /// Why the last write failed.
    pub(super) unwritten: Option<String>,
    pub(super) started: Instant,
    pub(super) loads: watch::Sender<Loads>,
}

/// Starts the lifecycle on this runtime.
///
/// # Errors
/// When the loading thread cannot be started.
pub fn start(parts: Parts, setup: Setup) -> io::Result<(Control, watch::Receiver<Loads>)> {
    let loader = Loader::start()?;
    let (control, commands) = Control::new(Some(Arc::clone(&parts.catalog)));
    let (news, incoming) = mpsc::channel(NEWS);
    let (heard, answers) = mpsc::channel(NEWS);
    let (loads, watching) = watch::channel(Loads::default());
    let Parts { library, cache, journal, catalog, telemetry, recording, drift } = parts;
    let (of, shards) = (Arc::clone(&catalog), drift.shards());
    drift.set_champions(Box::new(move || champions::tell(&of, shards)));
    let workshop = Arc::new(Workshop::new(library, cache, telemetry, loader, recording, drift));
    let mut lifecycle = Lifecycle {
        setup: setup.clone(),
        round: 0,
        workshop,
        catalog,
        control: control.clone(),
        registries: Vec::new(),
        models: BTreeMap::new(),
        routes: Routes::new(journal.routes()),
        memory: Memory::default(),
        waiting: Vec::new(),
        next_attempt: 0,
        news,
        heard,
        remembered: journal.state(),
        state_changed: false,
        unaudited: Vec::new(),
        audited: journal.audited(),
        unwritten: None,
        started: Instant::now(),
        loads,
        journal: Some(journal),
    };
    lifecycle.set_up(setup);
    tokio::spawn(lifecycle.run(commands, incoming, answers));
    Ok((control, watching))
}

impl Lifecycle {
    async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut incoming: mpsc::Receiver<News>,
        mut answers: mpsc::Receiver<Heard>,
    ) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                Some(command) = commands.recv() => self.command(command),
                Some(news) = incoming.recv() => self.take_in(news),
                Some(heard) = answers.recv() => self.hear(heard).await,
                _ = tick.tick() => self.tick(),
            }
            // What came meanwhile belongs to the same snapshot.
            while let Ok(news) = incoming.try_recv() {
                self.take_in(news);
            }
            // Acting and answering may concern a model once more.
            for _ in 0..PASSES {
                self.settle();
                self.write().await;
                if !self.waiting.is_empty() {
                    // Who is answered finds in the status what was answered.
                    self.report();
                }
                self.answer();
                if self.routes.is_settled() && !self.models.values().any(|one| one.is_dirty) {
                    break;
                }
            }
            self.report();
        }
    }

    /// Puts a configuration into force.
    pub(super) fn set_up(&mut self, setup: Setup) {
        self.round += 1;
        let before = std::mem::take(&mut self.registries);
        for (place, source) in setup.sources.iter().enumerate() {
            let poll = Poll::start(source, self.round, place, self.heard.clone());
            let name = source.name();
            let listing = before.iter().find(|one| one.source.name() == name);
            let listing = listing.and_then(|one| one.listing.clone());
            self.registries.push(Registry::new(Arc::clone(source), poll, listing));
        }
        let other_rules = self.setup.probe != setup.probe
            || self.setup.allowed_domains != setup.allowed_domains
            || self.setup.memory_bytes != setup.memory_bytes;
        self.setup = setup;
        for model in self.models.values_mut() {
            model.is_dirty = true;
            if other_rules {
                model.forgive(&[
                    RejectKind::BadModel,
                    RejectKind::TimedOut,
                    RejectKind::OutOfMemory,
                ]);
            }
        }
        for overtaken in self.routes.declare(&self.setup.routes) {
            self.audit_overtaken(Some(overtaken));
        }
        self.want();
        self.models.values().for_each(|model| model.renew_watches(&self.workshop));
    }

    /// Reads the profiles anew that the configuration names.
    pub(super) fn read_profiles(&self) {
        let is_named = |model: &&Model| {
            let good = model.settings.good.as_ref();
            good.is_some_and(|good| good.drift.profile.is_some())
        };
        let models = self.models.values().filter(is_named);
        models.for_each(|model| model.renew_watches(&self.workshop));
    }

    fn tick(&mut self) {
        if self.started.elapsed() > START_PATIENCE {
            let slow: Vec<usize> = (0..self.registries.len())
                .filter(|place| self.registries[*place].listing.is_none())
                .collect();
            for place in slow {
                self.fall_back(place);
            }
        }
        self.routes.look_at_ratios();
        for model in self.models.values_mut() {
            // Memory may have come free elsewhere.
            model.is_dirty |= model.instances.values().any(|instance| instance.is_blocked);
        }
    }

    /// What the registry said before the last stop counts until it answers.
    fn fall_back(&mut self, place: usize) {
        let Some(registry) = self.registries.get_mut(place) else { return };
        if registry.fell_back || registry.listing.is_some() {
            return;
        }
        let Some(journal) = &self.journal else { return };
        registry.fell_back = true;
        registry.listing = journal.listing(registry.source.name());
        if registry.listing.is_some() {
            registry.set_stale(true, &self.workshop.telemetry);
            tracing::warn!(
                registry = registry.source.name(),
                "the registry does not answer; starting with what it stated last"
            );
            self.want();
        }
    }

    async fn hear(&mut self, heard: Heard) {
        if heard.round != self.round {
            return;
        }
        let Some(registry) = self.registries.get_mut(heard.place) else { return };
        registry.answers += 1;
        registry.is_settling = heard.is_settling;
        let listing = match heard.result {
            Err(error) => {
                registry.failed(&error, &self.workshop.telemetry);
                self.fall_back(heard.place);
                return;
            }
            Ok(listing) => listing,
        };
        registry.synced(&listing, &self.workshop.telemetry);
        // An empty registry retires nothing across a restart either.
        let before = match (&registry.listing, &self.journal) {
            (None, Some(journal)) => journal.listing(registry.source.name()),
            (listing, _) => listing.clone(),
        };
        let accepted = wanted::accept(before.as_ref(), listing);
        if accepted.was_emptied {
            registry.error =
                Some("it states no models at all; what it stated before remains".into());
            registry.set_stale(true, &self.workshop.telemetry);
        }
        if registry.listing.as_ref() != Some(&accepted.listing) {
            let (name, listing) = (registry.source.name().to_owned(), accepted.listing);
            registry.listing = Some(listing.clone());
            self.want();
            self.with_journal(move |journal| journal.remember_listing(&name, &listing)).await;
        }
    }

    /// Brings the models in line with what the registries state.
    fn want(&mut self) {
        let none = Default::default();
        let listings = self.registries.iter().map(|one| one.listing.as_ref().unwrap_or(&none));
        let listings: Vec<_> = listings.cloned().collect();
        let combined = wanted::combine(&listings);
        for (name, (place, listed)) in &combined {
            let source = Arc::clone(&self.setup.sources[*place]);
            self.adopt(name, source, (*listed).clone());
        }
        // What is held is served from the cache, whatever the registries state.
        let held: BTreeSet<ModelName> = self
            .remembered
            .iter()
            .filter(|(_, one)| one.hold.is_some())
            .map(|(name, _)| name)
            .chain(self.routes.pinned().map(|(name, _)| name))
            .filter(|name| !combined.contains_key(*name))
            .cloned()
            .collect();
        for name in held {
            if let (None, Some(source)) = (self.models.get(&name), self.setup.sources.first()) {
                self.adopt(&name, Arc::clone(source), ListedModel::default());
            }
        }
        for (name, model) in &mut self.models {
            if !combined.contains_key(name) {
                model.is_dirty = true;
                model.listed = ListedModel::default();
            }
        }
    }

    fn adopt(&mut self, name: &ModelName, source: Arc<dyn Source>, listed: ListedModel) {
        let settings = (self.setup.settings)(name, listed.options.as_deref());
        if let Some(model) = self.models.get_mut(name) {
            // Their settings follow from what is listed; those of a new configuration are
            // looked at anyway.
            model.is_dirty |= model.listed != listed || !Arc::ptr_eq(&model.source, &source);
            model.source = source;
            model.listed = listed;
            model.adopt(Settings::of(settings, Some(&model.settings)));
            model.renew_recorders(&self.workshop.recording);
            return;
        }
        let metrics = self.workshop.telemetry.model(name);
        let model = Model {
            name: name.clone(),
            limiter: Limiter::new(Arc::clone(&metrics)),
            metrics,
            source,
            listed,
            settings: Settings::of(settings, None),
            remembered: self.remembered.get(name).cloned().unwrap_or_default(),
            instances: BTreeMap::new(),
            draining: Vec::new(),
            plan: Default::default(),
            pinned: BTreeSet::new(),
            is_dirty: true,
        };
        if let Some(error) = &model.settings.error {
            tracing::error!(model = %name, error, "the model's options are wrong");
        }
        self.models.insert(name.clone(), model);
    }

    /// Runs `work` on the journal, off this thread. A failure is kept to be
    /// told; what is not written is tried again.
    pub(super) async fn with_journal(
        &mut self,
        work: impl FnOnce(&mut Journal) -> io::Result<()> + Send + 'static,
    ) -> bool {
        let Some(mut journal) = self.journal.take() else { return false };
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&mut journal);
            (journal, result)
        });
        let error = match done.await {
            Ok((journal, result)) => {
                self.journal = Some(journal);
                result.err().map(|error| error.to_string())
            }
            Err(error) => Some(error.to_string()),
        };
        if let Some(error) = &error
            && self.unwritten.is_none()
        {
            tracing::error!(error, "cannot write to the data folder; trying again");
        }
        self.unwritten = error;
        self.unwritten.is_none()
    }
}
