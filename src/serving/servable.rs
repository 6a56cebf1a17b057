//! One loaded version that answers requests.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use bytes::Bytes;

use super::cost::CostTable;
use super::execute::{Patience, deadline_passed, run_alone};
use super::job::{Done, Job, NotDone, Pending, Work};
use super::lane::{Lane, Refused};
use super::options::{Execution, ExecutionOptions};
use super::queue::longest_wait;
use super::turn;
use crate::admission::{Breaker, Limiter, LimiterOptions};
use crate::drift::live::Watch;
use crate::engine::Engine;
use crate::predictions::Recorder;
use crate::telemetry::{ModelMetrics, VersionMetrics};
use crate::types::{Blame, Code, InferError, ModelName, Priority, Reason, Signature, Version};

/// How much of a turn the runs of one model that does not batch may take, in
/// inline budgets; what comes on top goes to the lane. A model that batches
/// runs once a turn, and sending part of that batch to a lane would only make
/// two threads contend for what one does better.
const TURN_BUDGETS: u64 = 4;

/// What runs need; shared with the lane's threads.
pub struct Loaded {
    pub name: ModelName,
    pub version: Version,
    pub engine: Box<dyn Engine>,
    pub options: ExecutionOptions,
    pub metrics: Arc<VersionMetrics>,
    pub cost: CostTable,
    /// Whether rows of different requests may share a run.
    batches: AtomicBool,
}

impl Loaded {
    pub fn new(
        name: ModelName,
        version: Version,
        engine: Box<dyn Engine>,
        options: ExecutionOptions,
        metrics: Arc<VersionMetrics>,
    ) -> Loaded {
        let budget = u32::try_from(options.inline_budget.as_nanos()).unwrap_or(u32::MAX);
        let batches = AtomicBool::new(options.batching && engine.signature().may_batch());
        let cost = CostTable::new(budget);
        Loaded { name, version, engine, options, metrics, cost, batches }
    }

    /// Rows that a lane runs at a time.
    pub(super) fn rows_together(&self) -> usize {
        if self.may_batch() { self.options.max_batch_rows.max(1) } else { 1 }
    }

    /// Between what the limit of work for lanes may move: one more than run at
    /// a time, and what normal requests need to fill the queue.
    fn waiting_bounds(&self) -> LimiterOptions {
        let lanes = self.options.lanes.max(1);
        let all = self.options.queue_requests + lanes * self.rows_together();
        LimiterOptions { min: lanes + 1, max: all + all / 8 + 2, patience: self.options.queue_wait }
    }

    pub fn may_batch(&self) -> bool {
        self.batches.load(Ordering::Relaxed)
    }

    pub(super) fn queue_full(&self) -> InferError {
        let (name, queue) = (&self.name, self.options.queue_requests);
        let message = format!(
            "model '{name}' has {queue} requests waiting, which is its limit; try again later"
        );
        InferError::rejected(Code::Unavailable, Reason::QueueFull, message)
    }

    fn over_limit(&self, class: Priority) -> InferError {
        let (name, class) = (&self.name, class.label());
        let message = format!(
            "model '{name}' has more {class} requests than it can answer soon; try again later"
        );
        InferError::rejected(Code::Unavailable, Reason::Limit, message)
    }

    fn would_expire(&self) -> InferError {
        let message = format!(
            "model '{}' has so many requests waiting that the deadline would pass; try again later",
            self.name
        );
        InferError::rejected(Code::Unavailable, Reason::WouldExpire, message)
    }

    /// The model answered a batch with other rows than it was given: from now
    /// on every request runs alone.
    pub(super) fn forbid_batching(&self) {
        if self.batches.swap(false, Ordering::Relaxed) {
            tracing::warn!(
                model = %self.name, version = %self.version,
                "the model does not keep rows apart; batching is off for it"
            );
        }
    }
}

/// A version that is being served. Lives as long as a request holds it.
pub struct Servable {
    pub loaded: Arc<Loaded>,
    pub model_metrics: Arc<ModelMetrics>,
    /// The version as text, for answers.
    pub version_text: Bytes,
    /// Of the whole model, over all its versions.
    pub limiter: Arc<Limiter>,
    pub breaker: Breaker,
    /// What writes its records; none where nothing is recorded. A reload may
    /// change it while the version serves.
    pub recorder: ArcSwapOption<Recorder>,
    /// What its traffic is compared with; none where nothing is watched. May
    /// change as the recorder may.
    pub watch: ArcSwapOption<Watch>,
    /// Started when the first dear run comes.
    lane: OnceLock<Option<Lane>>,
}

impl Servable {
    pub fn new(
        loaded: Loaded,
        model_metrics: Arc<ModelMetrics>,
        limiter: Arc<Limiter>,
    ) -> Servable {
        let version_text = Bytes::from(loaded.version.to_string());
        limiter.set_bounds(loaded.waiting_bounds());
        let breaker = Breaker::new(Arc::clone(&loaded.metrics));
        Servable {
            loaded: Arc::new(loaded),
            model_metrics,
            version_text,
            limiter,
            breaker,
            recorder: ArcSwapOption::empty(),
            watch: ArcSwapOption::empty(),
            lane: OnceLock::new(),
        }
    }

    pub fn signature(&self) -> &Signature {
        self.loaded.engine.signature()
    }

    pub fn name(&self) -> &ModelName {
        &self.loaded.name
    }

    pub fn version(&self) -> Version {
        self.loaded.version
    }

    pub fn metrics(&self) -> &Arc<VersionMetrics> {
        &self.loaded.metrics
    }

    /// Whether its next rows are compared with a profile, or teach one.
    pub fn is_watched(&self) -> bool {
        self.watch.load().as_ref().is_some_and(|watch| watch.wants_rows())
    }

    /// The version's text form, as it stands in answers.
    pub fn version_str(&self) -> &str {
        // Made from an integer in `new`.
        std::str::from_utf8(&self.version_text).unwrap_or_default()
    }

    /// Starts the work where its cost says.
    pub fn start(&self, work: Work) -> Running {
        if work.deadline <= Instant::now() {
            return Running::ended(Err(deadline_passed()));
        }
        match self.place(&work) {
            Execution::Inline => {
                work.variant.as_ref().unwrap_or(&self.loaded.metrics).queued(Duration::ZERO);
                let patience = Patience::on_network_thread(&self.loaded);
                // As in a batch, a panic costs the request its answer, not more.
                let run = AssertUnwindSafe(|| run_alone(&self.loaded, &work, patience));
                match catch_unwind(run) {
                    Ok(Some(result)) => Running::ended(result),
                    Ok(None) => self.start_on_lane(work),
                    Err(_) => Running::ended(Err(lost())),
                }
            }
            Execution::Lane => self.start_on_lane(work),
            Execution::Turn | Execution::Auto => {
                let (job, pending) = Job::new(work);
                turn::enqueue(&self.loaded, job);
                Running::InTurn(pending)
            }
        }
    }

    fn place(&self, work: &Work) -> Execution {
        let loaded = &self.loaded;
        match loaded.options.execution {
            Execution::Auto => {
                let bytes = work.bytes();
                if loaded.cost.is_dear(bytes) {
                    return Execution::Lane;
                }
                if !turn::is_worthwhile() {
                    return Execution::Inline;
                }
                if loaded.may_batch() {
                    return Execution::Turn;
                }
                let budget = loaded.options.inline_budget.as_nanos() as u64;
                let turn = loaded.cost.predict(turn::waiting_bytes(loaded) + bytes);
                if turn > budget.saturating_mul(TURN_BUDGETS) {
                    Execution::Lane
                } else {
                    Execution::Turn
                }
            }
            Execution::Turn if !turn::is_worthwhile() => Execution::Inline,
            set => set,
        }
    }

    /// Whether work for lanes of this class is welcome, for refusing a request
    /// before its body is read. Two loads; says yes where all runs are cheap.
    ///
    /// # Errors
    /// `Unavailable` with `Reason::Limit`.
    pub fn check_limit(&self, class: Priority) -> Result<(), InferError> {
        if self.limiter.is_full(class) { Err(self.loaded.over_limit(class)) } else { Ok(()) }
    }

    /// Whether a request that has so much time would wait for a lane for too
    /// long, for refusing it before its body is read. One load.
    ///
    /// # Errors
    /// `Unavailable` with `Reason::WouldExpire`.
    pub fn check_wait(&self, has: Duration) -> Result<(), InferError> {
        match self.lane.get() {
            Some(Some(lane)) if lane.expected_wait() > longest_wait(has) => {
                Err(self.loaded.would_expire())
            }
            _ => Ok(()),
        }
    }

    fn start_on_lane(&self, work: Work) -> Running {
        let now = Instant::now();
        let (deadline, class) = (work.deadline, work.priority);
        let Some(permit) = self.limiter.enter(class, now) else {
            return Running::ended(Err(self.loaded.over_limit(class)));
        };
        let lane = self.lane.get_or_init(|| match Lane::start(&self.loaded, &self.limiter) {
            Ok(lane) => Some(lane),
            Err(error) => {
                tracing::error!(model = %self.loaded.name, %error, "no thread for the lane");
                None
            }
        });
        let Some(lane) = lane else {
            let error = InferError::internal("the model's lane could not be started");
            return Running::ended(Err(error.blaming(Blame::Broken)));
        };
        let (job, pending) = Job::permitted(work, permit, now);
        match lane.submit(job) {
            Ok(()) => Running::OnLane(pending, deadline),
            Err(Refused::Full) => Running::ended(Err(self.loaded.queue_full())),
            Err(Refused::WouldExpire) => Running::ended(Err(self.loaded.would_expire())),
        }
    }
}

/// Work that was started. Dropping it tells a lane that nobody waits.
pub enum Running {
    /// `None` once the answer was taken.
    Ended(Option<Result<Done, InferError>>),
    InTurn(Pending),
    OnLane(Pending, Instant),
}

impl Running {
    fn ended(result: Result<Done, InferError>) -> Running {
        Running::Ended(Some(result))
    }

    /// Waits for the answer, on a lane no longer than until the deadline.
    /// `servable` is the one that the work was started on. To be called once.
    pub async fn answer(&mut self, servable: &Servable) -> Result<Done, InferError> {
        loop {
            let answer = match self {
                Running::Ended(result) => return result.take().unwrap_or_else(|| Err(lost())),
                Running::InTurn(pending) => pending.await,
                Running::OnLane(pending, deadline) => {
                    match tokio::time::timeout_at((*deadline).into(), pending).await {
                        Ok(answer) => answer,
                        Err(_) => return Err(deadline_passed()),
                    }
                }
            };
            match answer {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(NotDone::Failed(error))) => return Err(error),
                Ok(Err(NotDone::TooDear(work))) => *self = servable.start_on_lane(work),
                Err(_) => return Err(lost()),
            }
        }
    }
}

fn lost() -> InferError {
    let message = "the run that carried this request failed; the model keeps serving";
    InferError::internal(message).blaming(Blame::Broken)
}
