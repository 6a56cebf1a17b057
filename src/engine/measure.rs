//! Whether a model's first dimension is a batch, and what a run costs: found out by
//! trying, because graphs do not say the first and cannot say the second.

use std::time::{Duration, Instant};

use super::generated::{self, Generated, Variant};
use super::rows::rows_are_independent;
use super::{Engine, EngineError, RunOutputs};

/// How long all tries of a model may take together: as long as `RUNS_WORTH` runs of
/// it, within these bounds. Slow models gain most from batching, so they get longer.
const SHORTEST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(20);
const RUNS_WORTH: u32 = 50;

/// Runs before the clock counts, and runs that it counts.
const WARM_RUNS: usize = 2;
const TIMED_RUNS: usize = 5;

/// Rows of the larger of the two measured batches.
const BATCH_ROWS: usize = 16;

/// What trying a model has shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Whether it ran on made-up inputs at all. If not, nothing else is known.
    pub runs: bool,
    /// Whether rows of different requests may run together: each row's answer was
    /// the same alone and among others.
    pub batchable: bool,
    /// Costs by rows, the smallest first: one row, and several where it batches.
    pub costs: Vec<Cost>,
}

/// The quickest of several runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    pub rows: usize,
    /// Bytes of all inputs.
    pub input_bytes: usize,
    pub nanos: u64,
}

/// Tries the model on made-up inputs: for two seconds at most, or twenty where its
/// runs take long. A batch is of at most `max_rows`.
pub fn measure(engine: &dyn Engine, max_rows: usize) -> Measured {
    let started = Instant::now();
    let Some(first) = first_run(engine, started + LONGEST) else {
        return Measured { runs: false, batchable: false, costs: Vec::new() };
    };
    let deadline = started + (first.taken * RUNS_WORTH).clamp(SHORTEST, LONGEST);
    let batchable = max_rows > 1
        && engine.signature().may_batch()
        && (1..=2).all(|seed| rows_are_independent(engine, first.variant, seed, deadline));
    let mut costs = vec![cost(engine, 1, &first.inputs, Some(first.taken), deadline)];
    if batchable {
        let rows = max_rows.min(BATCH_ROWS);
        let batch = generated::inputs(engine.signature(), rows, first.variant, 1);
        costs.push(batch.and_then(|batch| cost(engine, rows, &batch, None, deadline)));
    }
    Measured { runs: true, batchable, costs: costs.into_iter().flatten().collect() }
}

/// What a few runs of one made-up row have shown.
pub(super) struct Tried {
    pub(super) quickest: Duration,
    variant: Variant,
}

/// Runs the model on one made-up row, again and again for about `limit` once it has run.
///
/// # Errors
/// When it runs on no made-up input: the reason of the first try.
pub(super) fn try_one_row(engine: &dyn Engine, limit: Duration) -> Result<Tried, EngineError> {
    let wanted: Vec<usize> = (0..engine.signature().outputs.len()).collect();
    let mut refused = None;
    for variant in generated::variants(engine.signature()) {
        let Some(inputs) = generated::inputs(engine.signature(), 1, variant, 1) else { continue };
        let started = Instant::now();
        // No deadline: whoever asks has one for all of it.
        match engine.run(&generated::as_inputs(&inputs), &wanted, None) {
            Ok(_) => {
                let taken = started.elapsed();
                let timed = cost(engine, 1, &inputs, Some(taken), Instant::now() + limit);
                let quickest = timed.map_or(taken, |cost| Duration::from_nanos(cost.nanos));
                return Ok(Tried { quickest, variant });
            }
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    let too_large = || EngineError::Run("its inputs are too large to make up".to_owned());
    Err(refused.unwrap_or_else(too_large))
}

/// Runs one made-up batch of `max_rows`, or of as many rows as should take `limit`.
///
/// # Errors
/// When it fails, as every batch does of a model that takes none.
pub(super) fn try_batch(
    engine: &dyn Engine,
    tried: &Tried,
    max_rows: usize,
    limit: Duration,
) -> Result<(), EngineError> {
    let in_time = limit.as_nanos() / tried.quickest.as_nanos().max(1);
    let rows = max_rows.min(usize::try_from(in_time).unwrap_or(usize::MAX));
    match generated::inputs(engine.signature(), rows, tried.variant, 1) {
        // Some models take longer by the row the more rows there are.
        Some(inputs) if rows > 1 => run(engine, &inputs, Instant::now() + limit * 3).map(drop),
        _ => Ok(()),
    }
}

/// The first made-up input that ran.
struct FirstRun {
    inputs: Vec<Generated>,
    variant: Variant,
    taken: Duration,
}

fn first_run(engine: &dyn Engine, deadline: Instant) -> Option<FirstRun> {
    generated::variants(engine.signature()).into_iter().find_map(|variant| {
        let inputs = generated::inputs(engine.signature(), 1, variant, 1)?;
        let started = Instant::now();
        run(engine, &inputs, deadline).ok()?;
        Some(FirstRun { inputs, variant, taken: started.elapsed() })
    })
}

/// Times runs until the deadline; `known` is what a run is known to take already, and
/// the answer where there is no time for more.
fn cost(
    engine: &dyn Engine,
    rows: usize,
    inputs: &[Generated],
    known: Option<Duration>,
    deadline: Instant,
) -> Option<Cost> {
    let mut quickest = known;
    for index in 0..WARM_RUNS + TIMED_RUNS {
        let started = Instant::now();
        if started >= deadline || run(engine, inputs, deadline).is_err() {
            break;
        }
        let taken = started.elapsed();
        // The first runs count only until there are better ones.
        let before = quickest.filter(|_| index > WARM_RUNS);
        quickest = Some(before.map_or(taken, |before| before.min(taken)));
    }
    Some(Cost {
        rows,
        input_bytes: inputs.iter().map(|input| input.data.len()).sum(),
        nanos: u64::try_from(quickest?.as_nanos()).unwrap_or(u64::MAX),
    })
}

/// All outputs for made-up inputs.
pub(super) fn run(
    engine: &dyn Engine,
    inputs: &[Generated],
    deadline: Instant,
) -> Result<RunOutputs, EngineError> {
    let wanted: Vec<usize> = (0..engine.signature().outputs.len()).collect();
    engine.run(&generated::as_inputs(inputs), &wanted, Some(deadline))
}
