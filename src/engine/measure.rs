//! Whether a model's first dimension is a batch, and what a run costs: found out by
//! trying, because graphs do not say the first and cannot say the second.

use std::time::{Duration, Instant};

use super::generated::{self, Generated};
use super::{Engine, EngineError, RunOutputs};
use crate::types::{DType, Tensor};

/// How long all tries of a model may take together: as long as `RUNS_WORTH` runs of
/// it, within these bounds. Slow models gain most from batching, so they get longer.
const SHORTEST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(20);
const RUNS_WORTH: u32 = 20;

/// Runs before the clock counts, and runs that it counts.
const WARM_RUNS: usize = 2;
const TIMED_RUNS: usize = 5;

/// Rows of the larger of the two measured batches.
const BATCH_ROWS: usize = 16;

/// How far floats of one row may lie apart between two batch sizes, whose kernels
/// add in different orders.
const RELATIVE: f64 = 1e-3;
const ABSOLUTE: f64 = 1e-4;

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
        && (1..=2).all(|seed| rows_are_independent(engine, first.size, seed, deadline));
    let mut costs = vec![cost(engine, 1, &first.inputs, Some(first.taken), deadline)];
    if batchable {
        let rows = max_rows.min(BATCH_ROWS);
        let batch = generated::inputs(engine.signature(), rows, first.size, 1);
        costs.push(batch.and_then(|batch| cost(engine, rows, &batch, None, deadline)));
    }
    Measured { runs: true, batchable, costs: costs.into_iter().flatten().collect() }
}

/// The first made-up input that ran.
struct FirstRun {
    inputs: Vec<Generated>,
    /// Of the free dimensions.
    size: usize,
    taken: Duration,
}

fn first_run(engine: &dyn Engine, deadline: Instant) -> Option<FirstRun> {
    generated::sizes(engine.signature()).iter().find_map(|size| {
        let inputs = generated::inputs(engine.signature(), 1, *size, 1)?;
        let started = Instant::now();
        run(engine, &inputs, deadline).ok()?;
        Some(FirstRun { inputs, size: *size, taken: started.elapsed() })
    })
}

/// Whether rows give the same answers together as apart.
fn rows_are_independent(engine: &dyn Engine, size: usize, seed: u64, deadline: Instant) -> bool {
    let part = |rows, seed| {
        let inputs = generated::inputs(engine.signature(), rows, size, seed)?;
        let outputs = run(engine, &inputs, deadline).ok()?;
        Some((inputs, outputs))
    };
    let (Some((first, first_out)), Some((second, second_out))) =
        (part(1, seed * 2), part(2, seed * 2 + 1))
    else {
        return false;
    };
    let joined: Vec<Generated> =
        first.iter().zip(&second).map(|(first, second)| first.followed_by(second)).collect();
    let Ok(together) = run(engine, &joined, deadline) else { return false };
    let parts = first_out.iter().zip(&second_out);
    parts.zip(&together).all(|((first, second), together)| is_joined(first, second, together))
}

/// Whether `together` holds the row of `first` and then the two of `second`.
fn is_joined(first: &Tensor, second: &Tensor, together: &Tensor) -> bool {
    let rows = |tensor: &Tensor| tensor.shape().rows();
    let row = |tensor: &Tensor| tensor.shape().dims().get(1..).map(<[i64]>::to_vec);
    if [rows(first), rows(second), rows(together)] != [Some(1), Some(2), Some(3)]
        || row(first) != row(together)
        || row(second) != row(together)
    {
        return false;
    }
    let apart = [first.data().as_ref(), second.data().as_ref()].concat();
    same(first.dtype(), &apart, together.data())
}

/// Whether two tensors' data mean the same: floats nearly, all else exactly.
fn same(dtype: DType, a: &[u8], b: &[u8]) -> bool {
    let near = |a: f64, b: f64| {
        let apart = (a - b).abs();
        a == b
            || (a.is_nan() && b.is_nan())
            || apart <= ABSOLUTE
            || apart <= RELATIVE * a.abs().max(b.abs())
    };
    if a.len() != b.len() {
        return false;
    }
    match dtype {
        DType::Fp32 => {
            let numbers = a.as_chunks::<4>().0.iter().zip(b.as_chunks::<4>().0);
            numbers
                .map(|(a, b)| (f32::from_le_bytes(*a), f32::from_le_bytes(*b)))
                .all(|(a, b)| near(a.into(), b.into()))
        }
        DType::Fp64 => {
            let numbers = a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0);
            numbers
                .map(|(a, b)| (f64::from_le_bytes(*a), f64::from_le_bytes(*b)))
                .all(|(a, b)| near(a, b))
        }
        DType::Fp16 => near_halves(a, b, half, 0.01),
        DType::Bf16 => near_halves(a, b, |bits| f32::from_bits(u32::from(bits) << 16), 0.05),
        _ => a == b,
    }
}

/// Two-byte floats, whose own steps are coarser than the tolerance of wider ones.
fn near_halves(a: &[u8], b: &[u8], read: impl Fn(u16) -> f32, tolerance: f32) -> bool {
    let numbers = a.as_chunks::<2>().0.iter().zip(b.as_chunks::<2>().0);
    numbers.map(|(a, b)| (read(u16::from_le_bytes(*a)), read(u16::from_le_bytes(*b)))).all(
        |(a, b)| {
            a == b
                || (a.is_nan() && b.is_nan())
                || (a - b).abs() <= tolerance * a.abs().max(b.abs()).max(tolerance)
        },
    )
}

/// The value of an IEEE half.
fn half(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let digits = f32::from(bits & 0x3ff);
    match (bits >> 10) & 0x1f {
        0 => sign * digits * 2f32.powi(-24),
        31 if digits == 0.0 => sign * f32::INFINITY,
        31 => f32::NAN,
        exponent => sign * (1.0 + digits / 1024.0) * 2f32.powi(i32::from(exponent) - 15),
    }
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

fn run(
    engine: &dyn Engine,
    inputs: &[Generated],
    deadline: Instant,
) -> Result<RunOutputs, EngineError> {
    let wanted: Vec<usize> = (0..engine.signature().outputs.len()).collect();
    engine.run(&generated::as_inputs(inputs), &wanted, Some(deadline))
}
