//! Runs requests, alone or as one batch, and gives each its own answer.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::batching::{NotRows, gather, scatter};
use super::job::{Done, Job, Timings, Wanted, Work};
use super::options::Execution;
use super::servable::Loaded;
use crate::engine::{EngineError, Input, RunOutputs};
use crate::telemetry::{RunTimings, VersionMetrics};
use crate::types::{Blame, Code, InferError, Reason, Shape};

thread_local! {
    /// Gathered inputs of the batch this thread runs; kept between batches.
    static SCRATCH: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A scratch buffer that one unusual batch made larger than this is given back.
const KEEP_SCRATCH_BYTES: usize = 4 << 20;

/// The longest that a network thread waits for one run, however cheap it was
/// expected to be. What takes longer is stopped there and started on a lane.
const NETWORK_THREAD_LIMIT: Duration = Duration::from_millis(100);

/// A run hangs that is stopped after so long, and after so many times what was
/// expected of it.
const LEAST_HANG: Duration = Duration::from_millis(100);
const HANG_TIMES: u32 = 10;

/// How long to wait for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// On a network thread by our own choice: up to [`NETWORK_THREAD_LIMIT`].
    Short,
    /// On a lane, or where the configuration says so.
    UntilDeadline,
}

impl Patience {
    /// For a run of `model` on a network thread.
    pub(super) fn on_network_thread(model: &Loaded) -> Patience {
        match model.options.execution {
            Execution::Auto => Patience::Short,
            _ => Patience::UntilDeadline,
        }
    }

    /// When a run that begins now and has until `deadline` is stopped.
    fn stop_at(self, now: Instant, deadline: Instant) -> Instant {
        match self {
            Patience::Short => deadline.min(now + NETWORK_THREAD_LIMIT),
            Patience::UntilDeadline => deadline,
        }
    }
}

/// Runs one request on this thread; `None` when it was stopped for a lane to take over.
pub(super) fn run_alone(
    model: &Loaded,
    work: &Work,
    patience: Patience,
) -> Option<Result<Done, InferError>> {
    let inputs: SmallVec<[Input<'_>; 2]> = work
        .inputs
        .iter()
        .map(|tensor| Input {
            dtype: tensor.dtype(),
            shape: tensor.shape().dims(),
            data: tensor.data(),
        })
        .collect();
    let started = Instant::now();
    let stop_at = patience.stop_at(started, work.deadline);
    let result = model.engine.run(&inputs, &work.wanted, Some(stop_at));
    let infer = started.elapsed();
    match result {
        Ok(outputs) => {
            learn(model, work.bytes(), infer);
            let timings = RunTimings { input: Duration::ZERO, infer, output: Duration::ZERO };
            counted(model, work).executed(work.rows(), 1, &timings);
            let timings = Timings { waited: Duration::ZERO, ran: infer, rows: work.rows() };
            Some(Ok(Done { outputs, timings }))
        }
        Err(EngineError::Stopped) => {
            let in_vain = stop_at == work.deadline;
            learn_from_stop(model, work.bytes(), infer, in_vain.then_some(patience));
            in_vain.then(|| Err(deadline_passed()))
        }
        Err(error) => Some(Err(describe(&error))),
    }
}

/// Runs jobs that may share a run as one batch, and answers them all. Expired
/// and abandoned jobs are left out. A batch that fails is run again one by
/// one, so that a bad member fails alone.
///
/// A panic inside costs these jobs their answer, not the thread its life.
pub(super) fn run_together(model: &Loaded, jobs: Vec<Job>, patience: Patience) {
    let run = AssertUnwindSafe(|| run_jobs(model, jobs, patience));
    if std::panic::catch_unwind(run).is_err() {
        tracing::error!(model = %model.name, version = %model.version, "a run panicked");
    }
}

fn run_jobs(model: &Loaded, jobs: Vec<Job>, patience: Patience) {
    let started = Instant::now();
    let live: Vec<Job> =
        jobs.into_iter().filter_map(|job| still_wanted(model, job, started)).collect();
    if live.len() > 1 {
        match run_batch(model, &live, started, patience) {
            Ok((answers, ran)) => {
                let rows = live.iter().map(|job| job.work.rows()).sum();
                for (job, outputs) in live.into_iter().zip(answers) {
                    let waited = started.saturating_duration_since(job.queued_at);
                    job.answer(Ok(Done { outputs, timings: Timings { waited, ran, rows } }));
                }
                return;
            }
            Err(BatchError::NotRows) => model.forbid_batching(),
            Err(BatchError::TooDear) => return live.into_iter().for_each(Job::hand_back),
            // Each member's own run tells what is wrong with it.
            Err(BatchError::Failed) => {}
        }
    }
    for job in live {
        if job.is_abandoned() {
            continue;
        }
        if job.work.deadline <= Instant::now() {
            job.answer(Err(deadline_passed()));
            continue;
        }
        let waited = job.queued_at.elapsed();
        match run_alone(model, &job.work, patience) {
            Some(Ok(Done { outputs, timings })) => {
                job.answer(Ok(Done { outputs, timings: Timings { waited, ..timings } }));
            }
            Some(failed) => job.answer(failed),
            None => job.hand_back(),
        }
    }
}

/// Passes on a job that somebody waits for and that still has time; answers the others.
fn still_wanted(model: &Loaded, job: Job, now: Instant) -> Option<Job> {
    if job.is_abandoned() {
        return None;
    }
    let wait = now.saturating_duration_since(job.queued_at);
    counted(model, &job.work).queued(wait);
    if job.work.deadline <= now {
        job.answer(Err(deadline_passed()));
    } else if model.options.queue_timeout.is_some_and(|limit| wait > limit) {
        job.answer(Err(waited_too_long()));
    } else {
        return Some(job);
    }
    None
}

/// Answers a job whose turn came too late.
pub(super) fn answer_late(model: &Loaded, job: Job) {
    if !job.is_abandoned() {
        counted(model, &job.work).queued(job.queued_at.elapsed());
        job.answer(Err(deadline_passed()));
    }
}

enum BatchError {
    Failed,
    TooDear,
    NotRows,
}

impl From<NotRows> for BatchError {
    fn from(_: NotRows) -> BatchError {
        BatchError::NotRows
    }
}

fn run_batch(
    model: &Loaded,
    jobs: &[Job],
    started: Instant,
    patience: Patience,
) -> Result<(Vec<RunOutputs>, Duration), BatchError> {
    SCRATCH.with_borrow_mut(|scratch| {
        let rows = jobs.iter().map(|job| job.work.rows());
        let total: usize = rows.clone().sum();
        let first = &jobs[0].work;
        scratch.resize_with(first.inputs.len().max(scratch.len()), Vec::new);
        let mut shapes: SmallVec<[Shape; 2]> = SmallVec::new();
        for (i, input) in first.inputs.iter().enumerate() {
            scratch[i].clear();
            gather(jobs.iter().map(|job| &job.work.inputs[i]), &mut scratch[i]);
            shapes.push(input.shape().with_rows(total).map_err(|_| BatchError::NotRows)?);
        }
        let inputs: SmallVec<[Input<'_>; 2]> = first
            .inputs
            .iter()
            .zip(&shapes)
            .zip(scratch.iter())
            .map(|((tensor, shape), data)| Input {
                dtype: tensor.dtype(),
                shape: shape.dims(),
                data,
            })
            .collect();
        let bytes = inputs.iter().map(|input| input.data.len()).sum();
        let wanted = union(jobs);
        // The run may go on for as long as one member still has a use for it.
        let deadline = jobs.iter().map(|job| job.work.deadline).max().unwrap_or(started);

        let run_started = Instant::now();
        let stop_at = patience.stop_at(run_started, deadline);
        let result = model.engine.run(&inputs, &wanted, Some(stop_at));
        let run_ended = Instant::now();
        let ran = run_ended - run_started;
        match &result {
            Ok(_) => learn(model, bytes, ran),
            Err(EngineError::Stopped) => {
                let in_vain = stop_at >= deadline;
                learn_from_stop(model, bytes, ran, in_vain.then_some(patience));
            }
            Err(_) => {}
        }
        let outputs = result.map_err(|error| match error {
            EngineError::Stopped if stop_at < deadline => BatchError::TooDear,
            _ => BatchError::Failed,
        })?;

        drop(inputs);
        for buffer in scratch.iter_mut().filter(|buffer| buffer.capacity() > KEEP_SCRATCH_BYTES) {
            *buffer = Vec::new();
        }
        let answers = give_back(jobs, rows, &wanted, &outputs)?;
        let timings = RunTimings {
            input: run_started - started,
            infer: run_ended - run_started,
            output: run_ended.elapsed(),
        };
        // Of several variants that share a run the first stands for all.
        counted(model, first).executed(total, jobs.len(), &timings);
        Ok((answers, timings.infer))
    })
}

/// Cuts the outputs of a batch into what each job wanted, in its order.
fn give_back(
    jobs: &[Job],
    rows: impl Iterator<Item = usize> + Clone,
    wanted: &Wanted,
    outputs: &RunOutputs,
) -> Result<Vec<RunOutputs>, NotRows> {
    let mut parts: Vec<RunOutputs> = Vec::new();
    parts.resize_with(jobs.len(), RunOutputs::new);
    for output in outputs {
        let mut owners = parts.iter_mut();
        scatter(output, rows.clone(), |part| {
            if let Some(owner) = owners.next() {
                owner.push(part);
            }
        })?;
    }
    for (part, job) in parts.iter_mut().zip(jobs) {
        if job.work.wanted != *wanted {
            *part = job
                .work
                .wanted
                .iter()
                .filter_map(|index| {
                    let at = wanted.iter().position(|wanted| wanted == index)?;
                    part.get(at).cloned()
                })
                .collect();
        }
    }
    Ok(parts)
}

/// Every output that some job wants, each once.
fn union(jobs: &[Job]) -> Wanted {
    let mut union = jobs[0].work.wanted.clone();
    for job in &jobs[1..] {
        if job.work.wanted != union {
            for index in &job.work.wanted {
                if !union.contains(index) {
                    union.push(*index);
                }
            }
        }
    }
    union
}

/// Where a request's wait and run are counted.
fn counted<'a>(model: &'a Loaded, work: &'a Work) -> &'a VersionMetrics {
    work.variant.as_ref().unwrap_or(&model.metrics)
}

fn learn(model: &Loaded, bytes: usize, infer: Duration) {
    model.cost.observe(bytes, u64::try_from(infer.as_nanos()).unwrap_or(u64::MAX));
}

/// Learns from a run that was stopped; `in_vain` says how it was waited for
/// where that was at its deadline. The breaker does not hear of it: the input
/// may be the reason, and whoever sent that must shut nobody out.
fn learn_from_stop(model: &Loaded, bytes: usize, ran: Duration, in_vain: Option<Patience>) {
    let hangs = hangs(Duration::from_nanos(model.cost.predict(bytes)), ran);
    // What hangs where it belongs says nothing about what runs cost; what
    // holds up a network thread must not do so again.
    if !hangs || in_vain != Some(Patience::UntilDeadline) {
        learn(model, bytes, ran);
    }
}

/// Whether a run that was stopped had had far longer than expected.
fn hangs(expected: Duration, ran: Duration) -> bool {
    ran >= LEAST_HANG.max(expected.saturating_mul(HANG_TIMES))
}

fn describe(error: &EngineError) -> InferError {
    match error {
        EngineError::Stopped => deadline_passed(),
        EngineError::Run(_) => {
            InferError::new(Code::InvalidArgument, error.to_string()).blaming(Blame::Run)
        }
        EngineError::Library(_) | EngineError::Load(_) => {
            InferError::internal(error.to_string()).blaming(Blame::Broken)
        }
    }
}

pub(super) fn deadline_passed() -> InferError {
    InferError::rejected(
        Code::DeadlineExceeded,
        Reason::Deadline,
        "the request's deadline passed before it was answered",
    )
}

fn waited_too_long() -> InferError {
    InferError::rejected(
        Code::Unavailable,
        Reason::QueueTimeout,
        "the request waited longer than the model's queue_timeout_ms; try again later",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hang_takes_long_and_longer_than_expected() {
        let ms = Duration::from_millis;
        for (expected, ran, expected_hang) in [
            (ms(0), ms(99), false),
            (ms(0), ms(100), true),
            (ms(2), ms(100), true),
            (ms(20), ms(199), false),
            (ms(20), ms(200), true),
            (ms(500), ms(1_000), false),
        ] {
            assert_eq!(hangs(expected, ran), expected_hang, "{ran:?} of {expected:?}");
        }
    }
}
