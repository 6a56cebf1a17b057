//! `golden.json`: inputs of a version and the outputs expected for them, in the
//! protocol's JSON, and whether a model still answers so.

mod compare;
mod parse;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use thiserror::Error;

use super::{Engine, EngineError, Input};
use crate::types::Tensor;

/// Most bytes of a golden file.
pub const MOST_BYTES: u64 = 16 << 20;
/// Most cases of a golden file.
pub const MOST_CASES: usize = 1000;

/// Inputs and expected outputs of a model.
#[derive(Clone, Debug)]
pub struct Golden {
    cases: Vec<Case>,
    tolerance: Tolerance,
}

/// Floats agree when `|got - expected| <= absolute + relative * |expected|`; everything
/// else must be the same.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Tolerance {
    relative: f64,
    absolute: f64,
}

#[derive(Clone, Debug)]
struct Case {
    inputs: Vec<Named>,
    /// At least one; outputs that are not here may be anything.
    outputs: Vec<Named>,
}

#[derive(Clone, Debug)]
struct Named {
    name: String,
    tensor: Tensor,
}

#[derive(Clone, Debug, Error, PartialEq)]
pub enum GoldenError {
    /// The file cannot be read, or is not what a golden file is.
    #[error("golden.json: {0}")]
    Malformed(String),
    /// Its inputs or outputs are not those of the model.
    #[error("golden.json, case {case}: {why}")]
    Signature { case: usize, why: String },
    /// The model failed on golden inputs, or was stopped at the deadline.
    #[error("golden.json, case {case}: {source}")]
    Run { case: usize, source: EngineError },
    /// Type or shape of an output is another.
    #[error("golden.json, case {case}, output '{output}': expected {expected}, got {got}")]
    Kind { case: usize, output: String, expected: String, got: String },
    /// An element of an output is another.
    #[error(
        "golden.json, case {case}, output '{output}', element {index}: expected {expected}, got \
         {got} ({wrong} of {elements} elements are wrong)"
    )]
    Value {
        case: usize,
        output: String,
        index: usize,
        expected: String,
        got: String,
        wrong: usize,
        elements: usize,
    },
}

impl Golden {
    /// Reads the file at `path`; none where there is none.
    ///
    /// # Errors
    /// When it cannot be read, is larger than [`MOST_BYTES`] or has more than
    /// [`MOST_CASES`] cases, or is not in the protocol's form.
    pub fn read(path: &Path) -> Result<Option<Golden>, GoldenError> {
        let unreadable = |error: std::io::Error| GoldenError::Malformed(error.to_string());
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
        };
        let mut text = Vec::new();
        file.take(MOST_BYTES + 1).read_to_end(&mut text).map_err(unreadable)?;
        Golden::parse(&text).map(Some)
    }

    /// Reads the JSON of a golden file.
    ///
    /// # Errors
    /// As [`Golden::read`].
    pub fn parse(text: &[u8]) -> Result<Golden, GoldenError> {
        if text.len() as u64 > MOST_BYTES {
            let why = format!("it is larger than {MOST_BYTES} bytes; keep fewer cases");
            return Err(GoldenError::Malformed(why));
        }
        parse::parse(text).map_err(GoldenError::Malformed)
    }

    pub fn cases(&self) -> usize {
        self.cases.len()
    }
}

/// Runs every case on `engine` and compares what it answers; tells how many there are.
///
/// # Errors
/// At the first case that is not answered as expected, or at `deadline`.
pub fn check(
    engine: &dyn Engine,
    golden: &Golden,
    deadline: Option<Instant>,
) -> Result<usize, GoldenError> {
    for (index, case) in golden.cases.iter().enumerate() {
        case.check(index + 1, engine, golden.tolerance, deadline)?;
    }
    Ok(golden.cases.len())
}

impl Case {
    fn check(
        &self,
        case: usize,
        engine: &dyn Engine,
        tolerance: Tolerance,
        deadline: Option<Instant>,
    ) -> Result<(), GoldenError> {
        let inputs = self.inputs(engine).map_err(|why| GoldenError::Signature { case, why })?;
        let wanted = self.wanted(engine).map_err(|why| GoldenError::Signature { case, why })?;
        let answer = engine
            .run(&inputs, &wanted, deadline)
            .map_err(|source| GoldenError::Run { case, source })?;
        for (expected, got) in self.outputs.iter().zip(&answer) {
            compare::compare(case, expected, got, tolerance)?;
        }
        Ok(())
    }

    /// The inputs in the signature's order.
    fn inputs(&self, engine: &dyn Engine) -> Result<Vec<Input<'_>>, String> {
        let specs = &engine.signature().inputs;
        let names = || {
            let names: Vec<&str> = specs.iter().map(|spec| &*spec.name).collect();
            names.join("', '")
        };
        if let Some(unknown) =
            self.inputs.iter().find(|input| specs.iter().all(|spec| *spec.name != *input.name))
        {
            return Err(format!(
                "the model has no input '{}'; its inputs are '{}'",
                unknown.name,
                names()
            ));
        }
        let ordered = specs.iter().map(|spec| {
            let given = self.inputs.iter().find(|input| *input.name == *spec.name);
            let given = given.ok_or_else(|| format!("input '{}' is missing", spec.name))?;
            let (dtype, shape) = (given.tensor.dtype(), given.tensor.shape().dims());
            if dtype != spec.dtype || !spec.accepts(shape) {
                return Err(format!("input {spec} is given as {dtype} {}", given.tensor.shape()));
            }
            Ok(Input { dtype, shape, data: given.tensor.data() })
        });
        ordered.collect()
    }

    /// Indices of the expected outputs.
    fn wanted(&self, engine: &dyn Engine) -> Result<Vec<usize>, String> {
        let specs = &engine.signature().outputs;
        let index = |output: &Named| {
            specs.iter().position(|spec| *spec.name == *output.name).ok_or_else(|| {
                let names: Vec<&str> = specs.iter().map(|spec| &*spec.name).collect();
                format!(
                    "the model has no output '{}'; its outputs are '{}'",
                    output.name,
                    names.join("', '")
                )
            })
        };
        self.outputs.iter().map(index).collect()
    }
}

#[cfg(test)]
mod tests;
