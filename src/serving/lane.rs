//! Lanes: a version's own threads for runs that would hold up a network
//! thread, with greedy batching. When a lane frees up it takes all compatible
//! work that waits; there is no timer unless one is configured.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::batching::may_share;
use super::execute::{Patience, answer_late, run_together};
use super::job::Job;
use super::queue::{Facts, Queue, Service, wait_behind, would_expire};
use super::servable::Loaded;
use crate::admission::Limiter;
use crate::types::Priority;

/// Jobs that a lane looks at in vain before it stops filling a batch.
const MAX_MISFITS: usize = 64;

/// How much nicer than network threads lanes are: with every core busy, the
/// thread that answers cheap requests and health checks goes first.
const NICENESS: i32 = 5;

/// Lane threads that run something, over all versions.
static AT_WORK: AtomicUsize = AtomicUsize::new(0);

/// Whether any lane runs something.
pub fn lanes_at_work() -> bool {
    AT_WORK.load(Ordering::Relaxed) > 0
}

/// The way into a version's lanes. Dropping it lets the threads finish what
/// waits and end.
pub(super) struct Lane(Arc<Shared>);

/// Why a job was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Full,
    WouldExpire,
}

/// What the lanes of a version share. The lock is held for moments only, never
/// during a run.
struct Shared {
    model: Arc<Loaded>,
    limiter: Arc<Limiter>,
    state: Mutex<State>,
    /// How long a normal request would wait behind the others, in nanoseconds.
    expected_wait: AtomicU64,
    /// Something waits, or nothing will any more.
    news: Condvar,
}

/// Jobs that run together.
#[derive(Default)]
struct Batch {
    jobs: Vec<Job>,
    /// How long they had waited, and those that were left waiting; `None`
    /// where all callers have left.
    waited: Option<Duration>,
}

struct State {
    queue: Queue<Job>,
    /// When each lane should be done with what it runs.
    busy_until: SmallVec<[Option<Instant>; 4]>,
    /// Threads that wait for news.
    listening: usize,
    is_closed: bool,
}

impl Lane {
    /// Starts the version's lane threads.
    pub(super) fn start(model: &Arc<Loaded>, limiter: &Arc<Limiter>) -> std::io::Result<Lane> {
        let lanes = model.options.lanes.max(1);
        let shared = Arc::new(Shared {
            model: Arc::clone(model),
            limiter: Arc::clone(limiter),
            state: Mutex::new(State {
                queue: Queue::new(model.options.queue_requests),
                busy_until: SmallVec::from_elem(None, lanes),
                listening: 0,
                is_closed: false,
            }),
            expected_wait: AtomicU64::new(0),
            news: Condvar::new(),
        });
        // Made first, so that the threads that did start end if one does not.
        let lane = Lane(Arc::clone(&shared));
        for number in 0..lanes {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name(format!("lane-{}-{number}", model.name))
                .spawn(move || shared.serve(number))?;
        }
        Ok(lane)
    }

    /// How long a normal request would wait behind those that wait now.
    pub(super) fn expected_wait(&self) -> Duration {
        Duration::from_nanos(self.0.expected_wait.load(Ordering::Relaxed))
    }

    /// Queues a job. Another one that it pushes out is answered.
    ///
    /// # Errors
    /// Says why it was not taken; the job is dropped.
    pub(super) fn submit(&self, job: Job) -> Result<(), Refused> {
        let shared = &*self.0;
        let facts = shared.facts(&job);
        let mut state = shared.locked();
        if shared.would_expire(&state, &facts) {
            return Err(Refused::WouldExpire);
        }
        let pushed_out = state.queue.push(facts, job).map_err(|_| Refused::Full)?;
        let listening = state.listening;
        shared.note_wait(&state);
        drop(state);
        if listening == 1 || (listening > 0 && shared.model.options.max_batch_delay.is_zero()) {
            shared.news.notify_one();
        } else if listening > 0 {
            // One that waits for company may not want it; another will.
            shared.news.notify_all();
        }
        if let Some(other) = pushed_out {
            other.answer(Err(shared.model.queue_full()));
        }
        Ok(())
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.0.locked().is_closed = true;
        self.0.news.notify_all();
    }
}

impl Shared {
    fn serve(&self, number: usize) {
        // Refused without the privilege to undo it later, which nobody needs.
        let _ = rustix::process::nice(NICENESS);
        let mut late = Vec::new();
        while let Some(batch) = self.next(number, &mut late) {
            late.drain(..).for_each(|job| answer_late(&self.model, job));
            if !batch.jobs.is_empty() {
                self.run(batch);
            }
        }
    }

    fn run(&self, batch: Batch) {
        AT_WORK.fetch_add(1, Ordering::Relaxed);
        let started = Instant::now();
        run_together(&self.model, batch.jobs, Patience::UntilDeadline);
        if let Some(waited) = batch.waited {
            let ended = Instant::now();
            self.limiter.observe(waited, ended - started, ended);
        }
        AT_WORK.fetch_sub(1, Ordering::Relaxed);
    }

    /// Waits for the next batch; `None` when no more will come. It is empty
    /// where there are only `late` jobs to be answered.
    fn next(&self, number: usize, late: &mut Vec<Job>) -> Option<Batch> {
        let mut state = self.locked();
        state.busy_until[number] = None;
        let first = loop {
            if let Some(job) = state.queue.pop(Instant::now(), Job::is_abandoned, late) {
                break job;
            }
            // All that was left may have been late: now nothing waits any more.
            self.note_wait(&state);
            if !late.is_empty() {
                return Some(Batch::default());
            }
            if state.is_closed {
                return None;
            }
            state = self.listen(state, None);
        };
        let (mut state, jobs) = self.fill(state, first);
        self.note_wait(&state);
        let now = Instant::now();
        let bytes = jobs.iter().map(|job| job.work.bytes()).sum();
        state.busy_until[number] = Some(now + self.expected(bytes));
        // Who goes first because it came last has not waited; the others have.
        let waited = mean_wait(&jobs, now).map(|wait| wait.max(state.queue.longest_wait(now)));
        // Waiting for company is no sign of too much of it.
        let company = self.model.options.max_batch_delay;
        Some(Batch { jobs, waited: waited.map(|waited| waited.saturating_sub(company)) })
    }

    /// The batch that starts with `first`: everything compatible that waits, up
    /// to `max_batch_rows`.
    fn fill<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        first: Job,
    ) -> (MutexGuard<'a, State>, Vec<Job>) {
        let options = &self.model.options;
        if !self.model.may_batch() || !first.work.is_even() {
            return (state, vec![first]);
        }
        let mut rows = first.work.rows();
        let pattern = first.work.clone();
        let mut batch = vec![first];
        let company_until = Instant::now() + options.max_batch_delay;
        loop {
            let now = Instant::now();
            let fits = |job: &Job| {
                let fits = rows + job.work.rows() <= options.max_batch_rows
                    && may_share(&pattern, &job.work);
                rows += if fits { job.work.rows() } else { 0 };
                fits
            };
            state.queue.take_fitting(now, MAX_MISFITS, fits, &mut batch);
            let is_full = rows >= options.max_batch_rows || state.queue.len() >= MAX_MISFITS;
            if now >= company_until || is_full || state.is_closed {
                return (state, batch);
            }
            let left = company_until.saturating_duration_since(now);
            state = self.listen(state, Some(left));
        }
    }

    fn listen<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        most: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        state.listening += 1;
        let mut state = match most {
            None => self.news.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(most) => {
                self.news.wait_timeout(state, most).unwrap_or_else(PoisonError::into_inner).0
            }
        };
        state.listening -= 1;
        state
    }

    fn facts(&self, job: &Job) -> Facts {
        let bytes = job.work.bytes();
        Facts {
            class: job.work.priority,
            queued_at: job.queued_at,
            deadline: job.work.deadline,
            rows: job.work.rows(),
            bytes,
            expected: self.expected(bytes),
        }
    }

    fn would_expire(&self, state: &State, job: &Facts) -> bool {
        let now = job.queued_at;
        let left = |end: &Option<Instant>| end.unwrap_or(now).saturating_duration_since(now);
        let free_in = state.busy_until.iter().map(left).min().unwrap_or_default();
        let ahead = state.queue.ahead_of(job.class);
        self.with_service(state, free_in, |service| would_expire(job, ahead, service))
    }

    fn note_wait(&self, state: &State) {
        let ahead = state.queue.ahead_of(Priority::Normal);
        let wait = self.with_service(state, Duration::ZERO, |service| wait_behind(ahead, service));
        let nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        self.expected_wait.store(nanos, Ordering::Relaxed);
    }

    fn with_service<T>(
        &self,
        state: &State,
        free_in: Duration,
        judge: impl FnOnce(&Service<'_>) -> T,
    ) -> T {
        judge(&Service {
            lanes: state.busy_until.len(),
            rows_together: self.model.rows_together(),
            free_in,
            predict: &|bytes| self.expected(bytes),
        })
    }

    fn expected(&self, bytes: usize) -> Duration {
        Duration::from_nanos(self.model.cost.predict(bytes))
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of the jobs that somebody waits for; `None` where nobody does.
fn mean_wait(batch: &[Job], now: Instant) -> Option<Duration> {
    let mut count = 0;
    let mut sum = Duration::ZERO;
    for job in batch.iter().filter(|job| !job.is_abandoned()) {
        sum += now.saturating_duration_since(job.queued_at);
        count += 1;
    }
    sum.checked_div(count)
}
