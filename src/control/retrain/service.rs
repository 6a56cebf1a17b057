//! The service: looks at every model now and then, and delivers what it asks for.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::alertmanager::{Alerts, HookError, Taken};
use super::books::{Books, Sending};
use super::decision::Verdict;
use super::deliver::Courier;
use super::event::{Context, Event, hash};
use super::evidence::{Evidence, Rule};
use super::facts::{Delivery, Facts};
use super::gather::{Sources, Versions};
use super::outbox::{Attempt, OutboxError};
use super::policy::Policy;
use super::status::{DeliveryStatus, RetrainStatus};
use crate::control::ModelStatus;
use crate::telemetry::AlertOutcome;
use crate::types::{ModelName, next_random};

/// How often the outbox is looked at without being told to.
const LOOK: Duration = Duration::from_secs(1);

/// What it works by.
pub struct RetrainOptions {
    /// Its own, within the data folder.
    pub folder: PathBuf,
    pub every: Duration,
    /// Requests a day, of all models.
    pub daily_budget: u32,
    /// Of a model; none where nothing is decided of it.
    pub policy: Arc<dyn Fn(&ModelName) -> Option<Policy> + Send + Sync>,
    /// Who gets events; none where all runs are dry.
    pub courier: Option<Courier>,
    /// Addresses that events name.
    pub dashboards: Vec<String>,
}

#[derive(Debug, Error)]
pub enum RetrainError {
    #[error("nothing is decided about retraining here: retrain.enabled is false")]
    Off,
    #[error("unknown model '{0}', or retraining is off for it")]
    UnknownModel(ModelName),
    #[error("there is nobody to send it to: retrain.deliver says whom")]
    NoTarget,
    #[error(transparent)]
    Hook(#[from] HookError),
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    #[error("the gateway is stopping")]
    Stopping,
}

/// The way to what is decided. Cheap to share.
pub struct Retrain {
    running: Option<Running>,
    shown: ArcSwap<RetrainStatus>,
    /// Events, as deliveries stand.
    sent: ArcSwap<Vec<DeliveryStatus>>,
}

struct Running {
    options: RetrainOptions,
    sources: Sources,
    /// Held while files are written, so by threads that may block alone.
    books: Mutex<Books>,
    alerts: Mutex<Alerts>,
    /// Told when there is something to deliver.
    sends: Notify,
}

impl Retrain {
    /// Decides nothing.
    pub fn off() -> Arc<Retrain> {
        Arc::new(Retrain::of(None))
    }

    /// Opens what was remembered. [`Retrain::run`] does the work.
    ///
    /// # Errors
    /// Where the folder cannot be used.
    pub fn open(options: RetrainOptions, sources: Sources) -> io::Result<Arc<Retrain>> {
        let books = Mutex::new(Books::open(&options.folder)?);
        let (alerts, sends) = (Mutex::default(), Notify::new());
        let running = Running { options, sources, books, alerts, sends };
        Ok(Arc::new(Retrain::of(Some(running))))
    }

    fn of(running: Option<Running>) -> Retrain {
        let enabled = running.is_some();
        let shown = RetrainStatus { enabled, ..RetrainStatus::default() };
        Retrain { running, shown: ArcSwap::from_pointee(shown), sent: ArcSwap::default() }
    }

    /// Evaluates and delivers for as long as it is polled.
    pub async fn run(self: Arc<Retrain>) {
        tokio::join!(Arc::clone(&self).evaluates(), self.delivers());
    }

    /// What was decided last, with how deliveries stand now.
    pub fn status(&self) -> RetrainStatus {
        RetrainStatus {
            outbox: self.sent.load().to_vec(),
            ..RetrainStatus::clone(&self.shown.load())
        }
    }

    /// Takes a notification of Alertmanager.
    ///
    /// # Errors
    /// Where it is none.
    pub fn alerts(&self, body: &[u8]) -> Result<Taken, RetrainError> {
        let running = self.running.as_ref().ok_or(RetrainError::Off)?;
        let status = running.sources.status();
        let is_model = |name: &ModelName| status.models.iter().any(|model| model.name == *name);
        let taken = locked(&running.alerts).take(body, now_us(), is_model)?;
        let metrics = running.sources.telemetry.retrain();
        metrics.alerts(AlertOutcome::Firing, taken.firing);
        metrics.alerts(AlertOutcome::Resolved, taken.resolved);
        metrics.alerts(AlertOutcome::Ignored, taken.ignored);
        Ok(taken)
    }

    /// Sends an event that is marked as a test; gives its id.
    ///
    /// # Errors
    /// Where there is no such model, or nobody to send it to.
    pub async fn test(self: &Arc<Retrain>, model: ModelName) -> Result<String, RetrainError> {
        let this = Arc::clone(self);
        let tested = tokio::task::spawn_blocking(move || this.put_test(&model));
        tested.await.unwrap_or(Err(RetrainError::Stopping))
    }

    fn put_test(&self, model: &ModelName) -> Result<String, RetrainError> {
        let running = self.running.as_ref().ok_or(RetrainError::Off)?;
        if running.options.courier.is_none() {
            return Err(RetrainError::NoTarget);
        }
        let unknown = || RetrainError::UnknownModel(model.clone());
        let status = running.sources.status();
        let found = status.models.iter().find(|of| of.name == *model).ok_or_else(unknown)?;
        let version = found.versions.first().ok_or_else(unknown)?;
        let now = now_us();
        let random = next_random().to_string();
        let id = hash(&["test", model.as_str(), &now.to_string(), &random]);
        let evidence = Evidence::of_a_test(id, version.version, version.digest, now);
        let mut books = locked(&running.books);
        books.test(model, &evidence, now)?;
        self.tell_outbox(&books);
        running.sends.notify_one();
        Ok(evidence.id)
    }

    async fn evaluates(self: Arc<Retrain>) {
        let Some(running) = &self.running else { return };
        let mut every = tokio::time::interval(running.options.every);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let this = Arc::clone(&self);
            let evaluated = tokio::task::spawn_blocking(move || this.evaluate(now_us()));
            if let Err(error) = evaluated.await {
                tracing::error!(%error, "an evaluation did not end");
            }
            running.sends.notify_one();
        }
    }

    async fn delivers(self: Arc<Retrain>) {
        let Some(running) = &self.running else { return };
        let Some(courier) = &running.options.courier else { return };
        let mut tried = None;
        loop {
            let this = Arc::clone(&self);
            let next = tokio::task::spawn_blocking(move || this.settle(tried));
            tried = None;
            let Ok(Some(event)) = next.await else {
                let _ = tokio::time::timeout(LOOK, running.sends.notified()).await;
                continue;
            };
            let attempt = courier.deliver(&event, now_us() / 1_000_000).await;
            tracing::info!(id = event.id, ?attempt, "an event was sent");
            tried = Some((event.id, attempt));
        }
    }

    /// Notes how an attempt ended; gives the event that is due next.
    fn settle(&self, tried: Option<(String, Attempt)>) -> Option<Event> {
        let running = self.running.as_ref()?;
        let mut books = locked(&running.books);
        if let Some((id, attempt)) = tried {
            if let Err(error) = books.outbox.settle(&id, attempt, now_us(), next_random()) {
                tracing::error!(%error, "the outbox cannot be written");
            }
            self.tell_outbox(&books);
        }
        books.outbox.due(now_us()).map(|entry| entry.event.clone())
    }

    fn evaluate(&self, now: i64) {
        if let Some(running) = &self.running {
            let mut books = locked(&running.books);
            self.shown.store(Arc::new(running.evaluate(&mut books, now)));
            self.tell_outbox(&books);
        }
    }

    fn tell_outbox(&self, books: &Books) {
        let Some(running) = &self.running else { return };
        let count = |state| books.outbox.count(state);
        let metrics = running.sources.telemetry.retrain();
        metrics.set_outbox(count(Delivery::Pending), count(Delivery::Failed));
        self.sent.store(Arc::new(books.outbox.entries().map(Into::into).collect()));
    }
}

impl Running {
    /// Looks at every model, in the order of their names.
    fn evaluate(&self, books: &mut Books, now: i64) -> RetrainStatus {
        let status = self.sources.status();
        let metrics = self.sources.telemetry.retrain();
        let mut shown = RetrainStatus { enabled: true, ..RetrainStatus::default() };
        let mut states = BTreeMap::new();
        for model in &status.models {
            let Some(policy) = (self.options.policy)(&model.name) else { continue };
            let versions = self.sources.versions(model, &status);
            let facts = self.facts(books, model, &versions, now);
            let context = |of: &Evidence| self.context(model, &versions, of, &policy);
            let takes =
                |kind| self.options.courier.as_ref().is_some_and(|courier| courier.takes(kind));
            let sending = Sending { takes: &takes, context: &context };
            let (decision, is_new) = books.evaluate(&policy, &facts, &sending);
            match &decision.verdict {
                Verdict::Request(of) => {
                    metrics.requested(&model.name, of.rule.map_or("drift", Rule::reason));
                }
                Verdict::DryRun(_) if is_new => metrics.requested(&model.name, "dry_run"),
                _ => {}
            }
            states.insert(model.name.clone(), decision.verdict.label());
            shown.models.push(books.show(&model.name, &policy, &decision, now));
        }
        metrics.set_states(states);
        shown.budget_left = books.budget_left(self.options.daily_budget, now);
        if let Err(error) = books.save(now) {
            tracing::error!(%error, "what was decided about retraining cannot be written");
        }
        shown
    }

    fn facts(&self, books: &Books, model: &ModelStatus, versions: &Versions, now: i64) -> Facts {
        Facts {
            model: model.name.clone(),
            now,
            served: versions.served.clone(),
            alerts: locked(&self.alerts).of(&model.name, now),
            offered: versions.offered.clone(),
            delivery: books.delivery(&model.name),
            budget_left: books.budget_left(self.options.daily_budget, now),
        }
    }

    /// The range begins a whole long window before the evidence: a day has its
    /// cycle, and the rows that drift are in it.
    fn context(
        &self,
        model: &ModelStatus,
        versions: &Versions,
        of: &Evidence,
        policy: &Policy,
    ) -> Context {
        let range = (of.from.saturating_sub(policy.longest_window_us), of.to);
        let window_us = policy.guard.window_us;
        Context {
            dashboards: self.options.dashboards.clone(),
            ..self.sources.context(&model.name, versions, of.version, range, window_us)
        }
    }
}

/// What is locked changes as one, after all was decided: a panic leaves it whole.
fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Microseconds since 1970.
fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
