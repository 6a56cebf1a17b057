//! Which columns of a file become which columns of a profile.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::ValueEnum;

use super::Failure;
use super::model::Model;
use crate::cli::table::{Form, Header, Holds, Table, Wanted, suggestion};
use crate::drift::build::ColumnSpec;
use crate::drift::{Derived, Kind};
use crate::predictions::features::{MAX_COLUMNS, column_names, table_width};
use crate::types::{DType, TensorSpec};

/// What stands for a text that has too many values to be categories.
const OF_TEXTS: [Derived; 3] = [Derived::Chars, Derived::Words, Derived::NonAsciiRatio];

/// A kind that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Asked {
    /// Numbers between edges, or with a bin each where they are few
    Numeric,
    /// A few numbers, with a bin each
    Values,
    /// Texts, with a bin for each of the most frequent
    Categorical,
    /// Texts by their length, words and characters
    Text,
}

/// One column of the file, and what it may become: of several ways the first
/// that tells most rows apart.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) wanted: Wanted,
    pub(super) ways: Vec<Vec<ColumnSpec>>,
    /// Of the tensor, which holds the values rounded to it.
    pub(super) dtype: DType,
}

/// What is asked for beside the file and the model.
pub(super) struct Choice<'a> {
    pub(super) kinds: BTreeMap<&'a str, Asked>,
    pub(super) leave_out: &'a [String],
    /// Columns that are no inputs.
    pub(super) others: Vec<&'a str>,
}

/// The inputs, and what was left out of them.
///
/// # Errors
/// Every column that is missing or holds something else.
pub(super) fn inputs(
    table: &Table,
    model: Option<&Model>,
    choice: &Choice<'_>,
) -> Result<(Vec<Part>, Vec<String>), Failure> {
    let (mut parts, mut notes, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    let is_left_out = |name: &str| choice.leave_out.iter().any(|out| out == name);
    let mut known: Vec<String> = Vec::new();
    match model {
        Some(model) => {
            let mut room = MAX_COLUMNS;
            for spec in &model.signature.inputs {
                let Some(width) = table_width(spec).filter(|width| *width <= room) else {
                    notes.push(format!("input {spec} is left out: it is no table of columns"));
                    continue;
                };
                room -= width;
                let named = model.options.features.get(&*spec.name).map(Vec::as_slice);
                for (place, name) in column_names(spec, width, named).into_iter().enumerate() {
                    if !is_left_out(&name) {
                        let index = if width == 1 { Vec::new() } else { vec![place] };
                        match of_tensor(table, spec, &name, index, choice) {
                            Ok(part) => parts.push(part),
                            Err(Failure(_, reason)) => wrong.push(reason),
                        }
                    }
                    known.push(name);
                }
            }
        }
        None => {
            let is_input = |header: &&Header| !choice.others.contains(&header.name.as_str());
            for header in table.columns().iter().filter(is_input) {
                known.push(header.name.clone());
                if is_left_out(&header.name) {
                    continue;
                }
                match of_column(table, header, choice) {
                    Ok(Some(part)) => parts.push(part),
                    Ok(None) => {
                        let holds = header.holds.describe();
                        notes.push(format!("column '{}' of {holds} is left out", header.name));
                    }
                    Err(Failure(_, reason)) => wrong.push(reason),
                }
            }
        }
    }
    let asked = choice.kinds.keys().copied().chain(choice.leave_out.iter().map(String::as_str));
    for name in asked.filter(|name| !known.iter().any(|known| known == name)) {
        let near = suggestion(name, known.iter().map(String::as_str));
        wrong.push(format!("there is no input column '{name}'; {near}"));
    }
    if wrong.is_empty() { Ok((parts, notes)) } else { Err(Failure::of(wrong.join("\n"))) }
}

/// A column of one of the model's inputs.
fn of_tensor(
    table: &Table,
    spec: &TensorSpec,
    name: &str,
    index: Vec<usize>,
    choice: &Choice<'_>,
) -> Result<Part, Failure> {
    let column = table.find(name)?;
    let form = if spec.dtype == DType::Bytes { Form::Texts } else { Form::Numbers };
    if !table.can_be(column, form) {
        let expected = if form == Form::Texts { "texts" } else { "numbers" };
        let holds = table.columns()[column].holds.describe();
        return Err(Failure::of(format!(
            "column '{name}': expected {expected}, for input {spec}, found {holds}; convert the \
             column, or leave it out by --leave-out"
        )));
    }
    let column_spec = ColumnSpec {
        index,
        is_single: is_single(spec.dtype),
        ..ColumnSpec::new(name, &spec.name, Kind::Numeric)
    };
    let ways = ways(column_spec, form, choice.kinds.get(name).copied())?;
    Ok(Part { wanted: Wanted { column, form }, ways, dtype: spec.dtype })
}

/// A column that stands for an input of its own; none where it cannot.
fn of_column(table: &Table, header: &Header, choice: &Choice<'_>) -> Result<Option<Part>, Failure> {
    let asked = choice.kinds.get(header.name.as_str()).copied();
    let column = table.find(&header.name)?;
    let of_texts = matches!(asked, Some(Asked::Categorical | Asked::Text));
    let form = match header.holds {
        Holds::Texts => Form::Texts,
        // Such as codes that are written in digits.
        _ if of_texts && table.can_be(column, Form::Texts) => Form::Texts,
        Holds::Numbers | Holds::Booleans if !header.name.is_empty() => Form::Numbers,
        _ => return Ok(None),
    };
    let ways = ways(ColumnSpec::new(&header.name, &header.name, Kind::Numeric), form, asked)?;
    let dtype = if form == Form::Texts { DType::Bytes } else { DType::Fp64 };
    Ok(Some(Part { wanted: Wanted { column, form }, ways, dtype }))
}

fn ways(
    spec: ColumnSpec,
    form: Form,
    asked: Option<Asked>,
) -> Result<Vec<Vec<ColumnSpec>>, Failure> {
    let categorical = || vec![ColumnSpec { kind: Kind::Categorical, ..spec.clone() }];
    let of_texts = || {
        let derived = |derived: &Derived| ColumnSpec {
            name: Arc::from(format!("{}_{}", spec.name, derived.label())),
            index: Vec::new(),
            derived: Some(*derived),
            ..spec.clone()
        };
        OF_TEXTS.iter().map(derived).collect::<Vec<_>>()
    };
    Ok(match (form, asked) {
        (Form::Texts, None) => vec![categorical(), of_texts()],
        (Form::Texts, Some(Asked::Categorical)) => vec![categorical()],
        (Form::Texts, Some(Asked::Text)) => vec![of_texts()],
        (Form::Numbers, None | Some(Asked::Numeric)) => vec![vec![spec]],
        (Form::Numbers, Some(Asked::Values)) => {
            vec![vec![ColumnSpec { kind: Kind::Values, ..spec }]]
        }
        (form, _) => {
            let (holds, fix) = match form {
                Form::Texts => ("texts", "categorical or text"),
                _ => ("numbers", "numeric or values"),
            };
            let name = &spec.name;
            return Err(Failure::of(format!("column '{name}' holds {holds}: expected {fix}")));
        }
    })
}

/// Of tensors that hold no more than 32-bit floats.
pub(super) fn is_single(dtype: DType) -> bool {
    matches!(dtype, DType::Fp16 | DType::Bf16 | DType::Fp32)
}
