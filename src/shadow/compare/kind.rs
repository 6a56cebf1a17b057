//! What the numbers of an output mean, where nobody says.

use super::elements::Elements;
use crate::routing::OutputKind;
use crate::types::{Shape, Tensor};

/// More columns than this are no classes, unless they are labelled.
const MOST_CLASSES: usize = 1000;

/// How far from 1 the scores of a row may add up to.
const SUM_TOLERANCE: f64 = 1e-3;

/// Guesses what an output means from what the primary answered: class scores
/// are floats with as many `labels` as columns, or rows of two to a thousand
/// that add up to one; a regression is a float a row; the rest are values.
pub fn infer(output: &Tensor, labels: usize) -> OutputKind {
    let elements = Elements::of(output);
    let shape = output.shape();
    if !elements.are_floats() {
        return OutputKind::Values;
    }
    let columns = columns(shape);
    let is_labelled = labels >= 2 && columns == labels && shape.rank() <= 2;
    if is_labelled || (shape.rank() == 2 && adds_up_to_one(&elements, shape, columns)) {
        return OutputKind::ClassScores;
    }
    match shape.rank() {
        0 | 1 => OutputKind::Regression,
        2 if columns == 1 => OutputKind::Regression,
        _ => OutputKind::Values,
    }
}

/// The declared kind, or values where the output cannot be of that kind:
/// there is nothing to choose from one class, and strings are no numbers.
pub fn fitting(declared: OutputKind, output: &Tensor) -> OutputKind {
    let fits = match declared {
        OutputKind::ClassScores => columns(output.shape()) >= 2,
        OutputKind::Regression | OutputKind::Values => true,
    };
    if fits && Elements::of(output).are_numbers() { declared } else { OutputKind::Values }
}

/// Size of the last dimension; of a scalar 1.
fn columns(shape: &Shape) -> usize {
    shape.dims().last().map_or(1, |last| usize::try_from(*last).unwrap_or(0))
}

fn adds_up_to_one(elements: &Elements<'_>, shape: &Shape, columns: usize) -> bool {
    if !(2..=MOST_CLASSES).contains(&columns) || shape.elements() == 0 {
        return false;
    }
    (0..shape.elements() / columns).all(|row| {
        let scores = (0..columns).map(|column| elements.number(row * columns + column));
        (scores.sum::<f64>() - 1.0).abs() <= SUM_TOLERANCE
    })
}
