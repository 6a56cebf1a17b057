//! What a model's first runs, on made-up inputs, teach about its outputs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::EngineError;
use super::generated::{self, Variant};
use super::outputs::{KnownShape, Output, OutputPlan, labels};
use super::session::OrtEngine;
use super::signature::Form;
use crate::types::{Dim, Shape, TensorSpec};

/// How long a model is tried while it is loaded.
const LIMIT: Duration = Duration::from_secs(10);

/// Different numbers of rows, so that a dimension which follows them shows.
const ROWS: [usize; 2] = [2, 3];

const SEED: u64 = 1;

/// Runs the new model on made-up inputs and keeps what shows: keys of maps, ranks
/// that were not declared, and which outputs' shapes are known before a run.
pub(super) fn learn(engine: &mut OrtEngine) {
    let deadline = Instant::now() + LIMIT;
    let variants = generated::variants(&engine.signature);
    // Some models take single rows only.
    let tries = [ROWS[0], 1].into_iter().flat_map(|rows| variants.iter().map(move |v| (rows, *v)));
    let ran = tries.into_iter().find_map(|(rows, variant)| {
        let outputs = run(engine, rows, variant, deadline).ok()?;
        Some((rows, variant, outputs))
    });
    let Some((rows, variant, first)) = ran else {
        tracing::debug!("the model does not run on made-up inputs");
        return;
    };
    let second = match rows == ROWS[0] {
        true => run(engine, ROWS[1], variant, deadline).unwrap_or_default(),
        false => Vec::new(),
    };
    let seconds = second.iter().map(Some).chain(std::iter::repeat(None));
    let plans = engine.outputs.iter_mut().zip(&mut engine.signature.outputs);
    for ((plan, spec), (first, second)) in plans.zip(first.iter().zip(seconds)) {
        learn_output(plan, spec, first, second);
    }
    check_own_buffers(engine, variant, &second, deadline);
}

/// Keeps own buffers only for outputs that ONNX Runtime really writes to them: it
/// leaves one alone whose output is an input or a constant itself.
fn check_own_buffers(
    engine: &mut OrtEngine,
    variant: Variant,
    expected: &[Output],
    deadline: Instant,
) {
    const UNWRITTEN: u8 = 0xa5;
    let wanted: Vec<usize> = (0..engine.outputs.len()).collect();
    let written = || {
        let inputs = generated::inputs(&engine.signature, ROWS[1], variant, SEED)?;
        let inputs = generated::as_inputs(&inputs);
        let mut buffers = engine.own_buffers(&inputs, &wanted, UNWRITTEN);
        let owns: Vec<bool> = buffers.iter().map(Option::is_some).collect();
        let mut outputs = Vec::new();
        let take = |output| outputs.push(output);
        engine.run_into(&inputs, &wanted, &mut buffers, Some(deadline), take).ok()?;
        let same =
            |(output, expected): (&Output, &Output)| output.tensor.data() == expected.tensor.data();
        let written = outputs.iter().zip(expected).map(same).zip(owns);
        Some(written.map(|(same, owns)| same && owns).collect::<Vec<bool>>())
    };
    let written = written().unwrap_or_default().into_iter().chain(std::iter::repeat(false));
    for (plan, written) in engine.outputs.iter_mut().zip(written) {
        if !written {
            plan.shape = KnownShape::Unknown;
        }
    }
}

fn run(
    engine: &OrtEngine,
    rows: usize,
    variant: Variant,
    deadline: Instant,
) -> Result<Vec<Output>, EngineError> {
    let too_large = || EngineError::Run("its inputs are too large to make up".to_owned());
    let inputs = generated::inputs(&engine.signature, rows, variant, SEED).ok_or_else(too_large)?;
    let wanted: Vec<usize> = (0..engine.outputs.len()).collect();
    let mut buffers = wanted.iter().map(|_| None).collect();
    let inputs = generated::as_inputs(&inputs);
    let mut outputs = Vec::new();
    engine
        .run_into(&inputs, &wanted, &mut buffers, Some(deadline), |output| outputs.push(output))?;
    Ok(outputs)
}

fn learn_output(
    plan: &mut OutputPlan,
    spec: &mut TensorSpec,
    first: &Output,
    second: Option<&Output>,
) {
    if let (Form::Map { key } | Form::Maps { key }, Some(keys)) = (plan.form, &first.keys) {
        let names = labels(key, keys);
        if let Some(columns) = spec.dims.last_mut() {
            *columns = Dim::Fixed(names.len());
        }
        spec.labels = names.into();
        plan.keys = Some(Arc::from(&**keys));
    }
    let shape = first.tensor.shape();
    if spec.dims.len() != shape.rank() {
        spec.dims = vec![Dim::Free(None); shape.rank()];
    }
    if plan.form == Form::Tensor
        && let Some(second) = second
    {
        plan.shape = known_shape(spec, shape, second.tensor.shape());
    }
}

/// The shape of an output, if both runs had the one that the graph declares.
fn known_shape(spec: &TensorSpec, first: &Shape, second: &Shape) -> KnownShape {
    let fixed = |dims: &[Dim]| {
        let sizes = dims.iter().map(|dim| match dim {
            Dim::Fixed(size) => i64::try_from(*size).ok(),
            Dim::Free(_) => None,
        });
        Shape::new(sizes.collect::<Option<Vec<_>>>()?).ok()
    };
    if let Some(shape) = fixed(&spec.dims) {
        return match shape == *first && shape == *second {
            true => KnownShape::Fixed(shape),
            false => KnownShape::Unknown,
        };
    }
    let one = match spec.dims.split_first() {
        Some((Dim::Free(_), row)) => {
            fixed(row).and_then(|row| Shape::new([1].into_iter().chain(row.dims().to_vec())).ok())
        }
        _ => None,
    };
    match one {
        Some(one)
            if one.with_rows(ROWS[0]).as_ref() == Ok(first)
                && one.with_rows(ROWS[1]).as_ref() == Ok(second) =>
        {
            KnownShape::Rows(one)
        }
        _ => KnownShape::Unknown,
    }
}
