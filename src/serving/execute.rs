//! Runs requests, alone or as one batch, and gives each its own answer.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::batching::{NotRows, gather, scatter};
use super::job::{Done, Job, Wanted, Work};
use super::servable::Loaded;
use crate::engine::{EngineError, Input, RunOutputs};
use crate::telemetry::RunTimings;
use crate::types::{Code, InferError, Reason, Shape};

thread_local! {
    /// Gathered inputs of the batch this thread runs; kept between batches.
    static SCRATCH: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A scratch buffer that one unusual batch made larger than this is given back.
const KEEP_SCRATCH_BYTES: usize = 4 << 20;

/// Runs one request on this thread.
pub(super) fn run_alone(model: &Loaded, work: &Work) -> Result<Done, InferError> {
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
    let outputs = model
        .engine
        .run(&inputs, &work.wanted, Some(work.deadline))
        .map_err(|error| describe(&error))?;
    let infer = started.elapsed();
    learn(model, work.bytes(), infer);
    let timings = RunTimings { input: Duration::ZERO, infer, output: Duration::ZERO };
    model.metrics.executed(work.rows(), 1, &timings);
    Ok(Done { outputs })
}

/// Runs jobs that may share a run as one batch, and answers them all. Expired
/// and abandoned jobs are left out. A batch that fails is run again one by
/// one, so that a bad member fails alone.
///
/// A panic inside costs these jobs their answer, not the thread its life.
pub(super) fn run_together(model: &Loaded, jobs: Vec<Job>) {
    let run = AssertUnwindSafe(|| run_jobs(model, jobs));
    if std::panic::catch_unwind(run).is_err() {
        tracing::error!(model = %model.name, version = %model.version, "a run panicked");
    }
}

fn run_jobs(model: &Loaded, jobs: Vec<Job>) {
    let started = Instant::now();
    let live: Vec<Job> =
        jobs.into_iter().filter_map(|job| still_wanted(model, job, started)).collect();
    if live.len() > 1 {
        match run_batch(model, &live, started) {
            Ok(answers) => {
                for (job, outputs) in live.into_iter().zip(answers) {
                    job.answer(Ok(Done { outputs }));
                }
                return;
            }
            Err(BatchError::NotRows) => model.forbid_batching(),
            Err(BatchError::Engine(_)) => {}
        }
    }
    for job in live {
        let result = if job.is_abandoned() {
            continue;
        } else if job.work.deadline <= Instant::now() {
            Err(deadline_passed())
        } else {
            run_alone(model, &job.work)
        };
        job.answer(result);
    }
}

/// Passes on a job that somebody waits for and that still has time; answers the others.
fn still_wanted(model: &Loaded, job: Job, now: Instant) -> Option<Job> {
    if job.is_abandoned() {
        return None;
    }
    let wait = now.saturating_duration_since(job.queued_at);
    model.metrics.queued(wait);
    if job.work.deadline <= now {
        job.answer(Err(deadline_passed()));
    } else if model.options.queue_timeout.is_some_and(|limit| wait > limit) {
        job.answer(Err(waited_too_long()));
    } else {
        return Some(job);
    }
    None
}

enum BatchError {
    Engine(#[expect(dead_code, reason = "each member's own run reports its error")] EngineError),
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
) -> Result<Vec<RunOutputs>, BatchError> {
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
        let deadline = jobs.iter().map(|job| job.work.deadline).max();

        let run_started = Instant::now();
        let outputs = model.engine.run(&inputs, &wanted, deadline).map_err(BatchError::Engine)?;
        let run_ended = Instant::now();
        learn(model, bytes, run_ended - run_started);

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
        model.metrics.executed(total, jobs.len(), &timings);
        Ok(answers)
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

fn learn(model: &Loaded, bytes: usize, infer: Duration) {
    model.cost.observe(bytes, u64::try_from(infer.as_nanos()).unwrap_or(u64::MAX));
}

fn describe(error: &EngineError) -> InferError {
    match error {
        EngineError::Stopped => deadline_passed(),
        EngineError::Run(_) => InferError::new(Code::InvalidArgument, error.to_string()),
        EngineError::Library(_) | EngineError::Load(_) => InferError::internal(error.to_string()),
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
