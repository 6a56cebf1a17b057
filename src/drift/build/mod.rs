//! A column of a profile from data. Data is read twice: once to find the bins
//! ([`Survey`]), once to count into them ([`Count`]). Both take one value at a
//! time, so a reader of files feeds any number of columns in two passes over
//! its row groups, in bounded memory. Rows that do not come in the order of
//! their time are put into blocks of it by [`Times`] and [`Blocks`]. Live rows
//! come once, so that others are counted than were surveyed ([`Running`]).

mod blocks;
mod count;
mod running;
mod sample;
mod survey;

use std::sync::Arc;

use thiserror::Error;

use super::derive::Derived;
use super::profile::{Column, Kind};

pub use blocks::{Blocks, Times};
pub use count::Count;
pub use running::Running;
pub use survey::Survey;

/// One value of a column, as data has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// So is NaN, and an empty text.
    Missing,
    Number(f64),
    Text(&'a str),
}

/// What a column is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnSpec {
    pub name: Arc<str>,
    pub tensor: Arc<str>,
    pub index: Vec<usize>,
    /// `Numeric` becomes `Values` where there are few enough of them, and all
    /// are frequent.
    pub kind: Kind,
    pub derived: Option<Derived>,
    /// The tensor holds 32-bit floats: values are rounded to them first, or
    /// equal ones would fall into different bins.
    pub is_single: bool,
    pub log: Option<String>,
}

impl ColumnSpec {
    /// Of a whole row's one value of 64 bits.
    pub fn new(name: &str, tensor: &str, kind: Kind) -> ColumnSpec {
        ColumnSpec {
            name: Arc::from(name),
            tensor: Arc::from(tensor),
            index: Vec::new(),
            kind,
            derived: None,
            is_single: false,
            log: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BuildOptions {
    /// Bins of equal share between edges.
    pub bins: usize,
    /// Values and categories rarer than this are counted as others: a bin
    /// that expects few rows makes every window wait for many.
    pub least_share: f64,
    /// Rows of a value or category with a bin of its own, at least.
    pub least_rows: u64,
    /// Values of a column up to which edges are exact; of more, a sample of
    /// so many gives them. Counts are exact in any case. 8 bytes each.
    pub most_values: usize,
    /// Different texts that are told apart. Those that come first once there
    /// are more have no bin: the frequent ones come early.
    pub most_texts: usize,
    /// Rows come in the order of their time, or [`Blocks`] tell it, so that
    /// blocks of them tell the dispersion.
    pub is_ordered: bool,
}

impl Default for BuildOptions {
    fn default() -> BuildOptions {
        BuildOptions {
            bins: 10,
            least_share: 0.005,
            least_rows: 5,
            most_values: 1 << 20,
            most_texts: 100_000,
            is_ordered: false,
        }
    }
}

/// Why a column cannot be profiled.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BuildError {
    #[error("'{0}' has no values: expected at least one that is not missing; leave the column out")]
    Empty(Arc<str>),
    #[error(
        "'{0}' has one value only: expected several to put edges between; leave the column out, \
         or give it the kind values"
    )]
    Constant(Arc<str>),
    #[error(
        "no value of '{0}' is frequent enough for a bin of its own; use more data, or derive a \
         number of it"
    )]
    Scattered(Arc<str>),
    #[error(
        "'{0}' has more than {1} different numbers, found {2} or more: its kind must be numeric"
    )]
    NotFew(Arc<str>, usize, usize),
    #[error("'{0}' changed between the passes: {1} values, then {2}; read the same data twice")]
    Changed(Arc<str>, u64, u64),
}

/// A column of values that can be gone through twice.
///
/// # Errors
/// Where the values do not make a column.
pub fn column<'a, I>(
    spec: ColumnSpec,
    options: BuildOptions,
    values: impl Fn() -> I,
) -> Result<Column, BuildError>
where
    I: Iterator<Item = Value<'a>>,
{
    let mut survey = Survey::new(spec, options);
    values().for_each(|value| survey.see(value));
    let mut count = survey.finish()?;
    values().for_each(|value| count.see(value));
    count.finish()
}

/// As the tensor would hold it.
fn rounded(spec: &ColumnSpec, value: f64) -> f64 {
    // Zero has one sign, so that it is one value.
    if spec.is_single { f64::from(value as f32) + 0.0 } else { value + 0.0 }
}

#[cfg(test)]
mod tests;
