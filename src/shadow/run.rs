//! One mirrored request: the shadow's run, and the comparison.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::books::{Books, Compared, Ran, Turn, unix_ms};
use super::compare::{self, Rules};
use super::excerpt::Excerpts;
use super::observe::observe;
use super::record::{Ended, record};
use super::report::{MismatchSample, MismatchedOutput};
use super::watch::watch;
use super::{Held, Sample};
use crate::admission::{Failure, Passage};
use crate::engine::{EngineError, Input, RunOutputs};
use crate::routing::ShadowSpec;
use crate::serving::{Servable, Target, Wanted};
use crate::telemetry::{RunTimings, ShadowDrop, ShadowOutcome, Telemetry};
use crate::types::{Code, Signature, Tensor};

/// Longest request id that is kept of a mismatch.
const MOST_ID: usize = 256;

/// Runs a sample's shadow and enters what came of it.
pub(super) fn mirror(books: &Books, telemetry: &Telemetry, mut held: Box<Held>) {
    held.leave_the_queue();
    let sample = &held.sample;
    let served = &sample.route;
    let (Some(spec), Some(mirrored)) = (&served.route.shadow, &served.shadow) else { return };
    let target = &*mirrored.target;
    let (name, counts) = (&served.route.name, &served.metrics.shadow);
    if target.servable.breaker.passage(Instant::now()) == Passage::Shut {
        return counts.dropped(ShadowDrop::BreakerOpen);
    }
    let Some(turn) = books.begin(sample, spec, &target.servable) else {
        return counts.dropped(ShadowDrop::Stale);
    };
    let outcome = match run_shadow(sample, spec, target, telemetry) {
        Ok(answer) => {
            books.ran(name, &turn, Ran::Primary, sample.done.timings.ran);
            books.ran(name, &turn, Ran::Shadow, answer.took);
            let outputs = compare_all(sample, spec, &turn, &answer.outputs);
            for output in &outputs {
                let errors = output.difference.errors.map(|errors| errors.max_absolute);
                let agrees = output.difference.agrees;
                let overlap = output.difference.top_k_overlap;
                counts.output(&output.name).compared(agrees, errors, overlap);
            }
            books.compared(name, &turn, &outputs);
            let agrees = outputs.iter().all(|output| output.difference.agrees);
            record(sample, target, &Ended::Answered { answer: &answer, agrees });
            observe(sample, target, &answer);
            watch(sample, target, &answer, telemetry);
            if !agrees {
                keep_mismatch(books, sample, spec, target, &turn, &outputs, &answer.outputs);
            }
            ShadowOutcome::Compared
        }
        Err(outcome) => {
            record(sample, target, &Ended::Failed(code(outcome)));
            outcome
        }
    };
    counts.ended(outcome);
    books.ended(name, &turn, outcome);
    if turn.again {
        run_again(books, sample, spec, &turn);
    }
}

/// A shadow's answer.
pub(super) struct Answer {
    /// In the order in which the primary's outputs stand.
    pub(super) outputs: RunOutputs,
    /// Their places in the shadow's signature.
    pub(super) wanted: Wanted,
    pub(super) took: Duration,
}

/// What a run that gave nothing to compare is recorded as.
fn code(outcome: ShadowOutcome) -> Code {
    match outcome {
        ShadowOutcome::Timeout => Code::DeadlineExceeded,
        ShadowOutcome::Incompatible => Code::FailedPrecondition,
        ShadowOutcome::Compared | ShadowOutcome::Failed => Code::Internal,
    }
}

/// The shadow's answer, in the order in which the primary's outputs stand.
fn run_shadow(
    sample: &Sample,
    spec: &ShadowSpec,
    target: &Target,
    telemetry: &Telemetry,
) -> Result<Answer, ShadowOutcome> {
    let shadow = &target.servable;
    let bound = bind(sample.primary.signature(), shadow.signature(), sample);
    let (inputs, wanted) = bound.ok_or(ShadowOutcome::Incompatible)?;
    let timeout = Duration::from_millis(spec.timeout_ms);
    match attempt(shadow, &inputs, &wanted, timeout) {
        Attempt::Answered(outputs, took) => {
            shadow.breaker.succeeded(Instant::now());
            let timings = RunTimings { infer: took, ..RunTimings::default() };
            target.metrics(telemetry).executed(sample.work.rows(), 1, &timings);
            drop(inputs);
            Ok(Answer { outputs, wanted, took })
        }
        Attempt::Failed => {
            shadow.breaker.failed(Failure::Error, Instant::now());
            Err(ShadowOutcome::Failed)
        }
        Attempt::Stopped { used } => {
            // One that had no core to run on has not hung.
            if used * 2 >= timeout {
                shadow.breaker.failed(Failure::Hang, Instant::now());
            }
            Err(ShadowOutcome::Timeout)
        }
    }
}

/// Runs the primary once more and compares it with itself.
fn run_again(books: &Books, sample: &Sample, spec: &ShadowSpec, turn: &Turn) {
    let inputs: Inputs<'_> = sample.work.inputs.iter().map(input).collect();
    let timeout = Duration::from_millis(spec.timeout_ms);
    let attempt = attempt(&sample.primary, &inputs, &sample.work.wanted, timeout);
    if let Attempt::Answered(answer, took) = attempt {
        let name = &sample.route.route.name;
        let outputs = compare_all(sample, spec, turn, &answer);
        for output in &outputs {
            let counts = &sample.route.metrics.shadow;
            counts.output(&output.name).compared_noise(output.difference.agrees);
        }
        books.ran(name, turn, Ran::PrimaryAgain, took);
        books.compared_noise(name, turn, &outputs);
    }
}

type Inputs<'a> = SmallVec<[Input<'a>; 2]>;

enum Attempt {
    Answered(RunOutputs, Duration),
    Failed,
    /// At its timeout, after it had used so much of a core.
    Stopped {
        used: Duration,
    },
}

fn attempt(
    servable: &Servable,
    inputs: &[Input<'_>],
    wanted: &Wanted,
    timeout: Duration,
) -> Attempt {
    let (started, used_before) = (Instant::now(), cpu_time());
    let run = || servable.loaded.engine.run(inputs, wanted, Some(started + timeout));
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(outputs)) => Attempt::Answered(outputs, started.elapsed()),
        Ok(Err(EngineError::Stopped)) => {
            Attempt::Stopped { used: cpu_time().saturating_sub(used_before) }
        }
        Ok(Err(_)) | Err(_) => Attempt::Failed,
    }
}

/// The processor time of this thread.
pub(super) fn cpu_time() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The request's inputs and wanted outputs in the shadow's order; none where the
/// shadow has not an output, or could not have been asked: it lacks an input,
/// asks for another, or takes another type or shape.
fn bind<'a>(
    primary: &Signature,
    shadow: &Signature,
    sample: &'a Sample,
) -> Option<(Inputs<'a>, Wanted)> {
    let work = &sample.work;
    if shadow.inputs.len() != work.inputs.len() {
        return None;
    }
    let inputs = shadow.inputs.iter().map(|spec| {
        let place = primary.inputs.iter().position(|input| input.name == spec.name)?;
        let tensor = work.inputs.get(place)?;
        let fits = tensor.dtype() == spec.dtype && spec.accepts(tensor.shape().dims());
        fits.then(|| input(tensor))
    });
    let wanted = work.wanted.iter().map(|wanted| {
        let name = &primary.outputs.get(*wanted)?.name;
        shadow.outputs.iter().position(|output| output.name == *name)
    });
    Some((inputs.collect::<Option<_>>()?, wanted.collect::<Option<_>>()?))
}

fn input(tensor: &Tensor) -> Input<'_> {
    Input { dtype: tensor.dtype(), shape: tensor.shape().dims(), data: tensor.data() }
}

/// Compares each output of `answer` with the one that was sent.
fn compare_all(
    sample: &Sample,
    spec: &ShadowSpec,
    turn: &Turn,
    answer: &RunOutputs,
) -> Vec<Compared> {
    let signature = &sample.primary.signature().outputs;
    let names = sample.work.wanted.iter().filter_map(|wanted| signature.get(*wanted));
    let pairs = sample.done.outputs.iter().zip(answer);
    names
        .zip(&turn.kinds)
        .zip(pairs)
        .map(|((output, kind), (primary, shadow))| {
            let declared = spec.compare.outputs.get(&*output.name);
            let rules = Rules {
                kind: *kind,
                rtol: declared.and_then(|rules| rules.rtol).unwrap_or(spec.compare.rtol),
                atol: declared.and_then(|rules| rules.atol).unwrap_or(spec.compare.atol),
                top_k: spec.compare.top_k,
            };
            let difference = compare::compare(primary, shadow, &rules);
            Compared { name: output.name.clone(), kind: *kind, difference }
        })
        .collect()
}

/// Keeps what can be looked at of a sample on which the shadow disagreed.
fn keep_mismatch(
    books: &Books,
    sample: &Sample,
    spec: &ShadowSpec,
    target: &Target,
    turn: &Turn,
    compared: &[Compared],
    answer: &RunOutputs,
) {
    if sample.route.route.private || spec.compare.samples == 0 {
        return;
    }
    let mut excerpts = Excerpts::new();
    let mut outputs = Vec::new();
    for (output, (primary, shadow)) in compared.iter().zip(sample.done.outputs.iter().zip(answer)) {
        if output.difference.agrees || excerpts.is_full() {
            continue;
        }
        let errors = output.difference.errors.map(|errors| errors.max_absolute);
        outputs.push(MismatchedOutput {
            name: output.name.to_string(),
            kind: output.kind,
            mismatch: output.difference.mismatch,
            max_absolute: errors.filter(|error| error.is_finite()),
            primary: excerpts.take(&output.name, primary),
            shadow: excerpts.take(&output.name, shadow),
        });
    }
    let mut inputs = Vec::new();
    for (spec, tensor) in sample.primary.signature().inputs.iter().zip(&sample.work.inputs) {
        if !excerpts.is_full() {
            inputs.push(excerpts.take(&spec.name, tensor));
        }
    }
    let id = &sample.request_id[..sample.request_id.len().min(MOST_ID)];
    let kept = MismatchSample {
        request_id: String::from_utf8_lossy(id).into_owned(),
        at: unix_ms(),
        primary: sample.primary.version(),
        shadow: target.servable.version(),
        outputs,
        inputs,
    };
    books.keep(&sample.route.route.name, turn, spec.compare.samples, kept, excerpts.taken());
}
