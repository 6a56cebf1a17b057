//! How one answer differs from another: tensors in, figures out; pure.
//!
//! Floats of all widths are compared as `f64`. NaN equals NaN, and an infinity
//! equals itself; any other pair with one of them differs by infinity.

mod classes;
mod elements;
mod kind;
mod sketch;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::routing::OutputKind;
use crate::types::Tensor;

pub(super) use elements::Elements;
pub use kind::{fitting, infer};
pub use sketch::Sketch;

/// How an output is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    pub kind: OutputKind,
    /// Numbers agree when they differ by at most `atol + rtol * |primary's|`, as
    /// `numpy.isclose` has it.
    pub rtol: f64,
    pub atol: f64,
    /// Class scores: how many of the best are compared.
    pub top_k: usize,
}

/// Why two tensors were not compared element by element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mismatch {
    Shape,
    Datatype,
}

/// How the shadow's tensor differs from the primary's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Difference {
    /// Class scores: the best class is the same in every row. Otherwise: every
    /// number is close, and everything that is no float is the same (integers
    /// only need to be close where they are declared a regression).
    pub agrees: bool,
    pub mismatch: Option<Mismatch>,
    /// Class scores: the share of the `k` best classes that both have, mean over rows.
    pub top_k_overlap: Option<f64>,
    /// None of strings, and of what does not match.
    pub errors: Option<Errors>,
    /// Absolute and relative differences: of a regression those of each row,
    /// otherwise the largest.
    pub absolute: Sketch,
    pub relative: Sketch,
}

/// Of all elements; 0 where there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Errors {
    pub max_absolute: f64,
    pub mean_absolute: f64,
    /// Of `|s - p| / |p|`; 0 where both are 0, infinite where only `p` is.
    pub max_relative: f64,
}

/// Compares the shadow's tensor with the primary's.
pub fn compare(primary: &Tensor, shadow: &Tensor, rules: &Rules) -> Difference {
    let mismatch = |mismatch| Difference { mismatch: Some(mismatch), ..Difference::default() };
    if primary.shape() != shadow.shape() {
        return mismatch(Mismatch::Shape);
    }
    let (p, s) = (Elements::of(primary), Elements::of(shadow));
    if primary.dtype() != shadow.dtype() && !(p.are_floats() && s.are_floats()) {
        return mismatch(Mismatch::Datatype);
    }
    if !p.are_numbers() {
        return Difference {
            agrees: primary.strings().eq(shadow.strings()),
            ..Difference::default()
        };
    }

    let mut difference = Difference::default();
    let mut errors = Errors::default();
    let each_row = rules.kind == OutputKind::Regression;
    let (mut is_close, mut sum) = (true, 0.0);
    let count = primary.shape().elements();
    for at in 0..count {
        let (absolute, relative) = p.error(&s, at);
        is_close &= match rules.kind {
            OutputKind::Values if !p.are_floats() => absolute == 0.0,
            _ => close(p.number(at), s.number(at), rules),
        };
        sum += absolute;
        errors.max_absolute = errors.max_absolute.max(absolute);
        errors.max_relative = errors.max_relative.max(relative);
        if each_row {
            difference.absolute.add(absolute);
            difference.relative.add(relative);
        }
    }
    errors.mean_absolute = if count == 0 { 0.0 } else { sum / count as f64 };
    if !each_row {
        difference.absolute.add(errors.max_absolute);
        difference.relative.add(errors.max_relative);
    }
    difference.errors = Some(errors);
    difference.agrees = is_close;
    if rules.kind == OutputKind::ClassScores {
        let classes = classes::compare(&p, &s, primary.shape(), rules.top_k);
        difference.agrees = classes.same_best;
        difference.top_k_overlap = classes.overlap;
    }
    difference
}

fn close(primary: f64, shadow: f64, rules: &Rules) -> bool {
    if primary == shadow || (primary.is_nan() && shadow.is_nan()) {
        return true;
    }
    primary.is_finite()
        && shadow.is_finite()
        && (shadow - primary).abs() <= rules.atol + rules.rtol * primary.abs()
}
