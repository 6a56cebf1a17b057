//! Which columns of a file are outputs of the model, and of which.

use super::Failure;
use super::model::Model;
use super::plan::{Part, is_single};
use crate::cli::table::{Form, Holds, Table, Wanted};
use crate::drift::build::ColumnSpec;
use crate::drift::{Derived, Kind};
use crate::predictions::features::table_width;
use crate::types::{DType, TensorSpec};

/// A column of the file that is an output of the model.
#[derive(Clone, Debug)]
pub(super) struct OutputFlag {
    pub(super) column: String,
    tensor: Option<String>,
    index: Option<usize>,
}

impl OutputFlag {
    /// `COLUMN`, `COLUMN=TENSOR` or `COLUMN=TENSOR[INDEX]`.
    pub(super) fn parse(text: &str) -> Result<OutputFlag, String> {
        let Some((column, tensor)) = text.split_once('=') else {
            return Ok(OutputFlag { column: text.to_owned(), tensor: None, index: None });
        };
        let (tensor, index) = match tensor.strip_suffix(']').and_then(|of| of.rsplit_once('[')) {
            Some((tensor, index)) => {
                let wrong = |_| format!("expected COLUMN=TENSOR[INDEX], found '{text}'");
                (tensor, Some(index.parse().map_err(wrong)?))
            }
            None => (tensor, None),
        };
        Ok(OutputFlag { column: column.to_owned(), tensor: Some(tensor.to_owned()), index })
    }

    /// The output that is named, by the flag or by the column.
    fn named<'a>(&self, outputs: &'a [TensorSpec]) -> Option<&'a TensorSpec> {
        let name = self.tensor.as_deref().unwrap_or(&self.column);
        outputs.iter().find(|spec| *spec.name == *name)
    }

    fn no_output(&self, outputs: &[TensorSpec]) -> Failure {
        let name = self.tensor.as_deref().unwrap_or(&self.column);
        let has: Vec<String> = outputs.iter().map(ToString::to_string).collect();
        let has = has.join(", ");
        Failure::of(format!(
            "the model has no output for '{name}'; it has {has}: say which by COLUMN=TENSOR"
        ))
    }

    fn part(&self, table: &Table, dtype: DType, spec: ColumnSpec) -> Result<Part, Failure> {
        let column = table.find(&self.column)?;
        let form = if dtype == DType::Bytes { Form::Texts } else { Form::Numbers };
        if !table.can_be(column, form) {
            let (name, tensor) = (&self.column, &spec.tensor);
            let holds = table.columns()[column].holds.describe();
            return Err(Failure::of(format!(
                "column '{name}': expected {dtype}, as output '{tensor}' has, found {holds}"
            )));
        }
        let spec = ColumnSpec { is_single: is_single(dtype), ..spec };
        Ok(Part { wanted: Wanted { column, form }, ways: vec![vec![spec]], dtype })
    }
}

/// The column of the predictions. Without a name it is of the output that has
/// one value a row of its type, classes before numbers; or else a class is the
/// place of the greatest of several.
pub(super) fn prediction(
    table: &Table,
    model: Option<&Model>,
    flag: &OutputFlag,
) -> Result<Part, Failure> {
    let is_text = table.columns()[table.find(&flag.column)?].holds == Holds::Texts;
    let Some(model) = model else {
        let kind = if is_text { Kind::Class } else { Kind::Numeric };
        let dtype = if is_text { DType::Bytes } else { DType::Fp64 };
        return flag.part(table, dtype, ColumnSpec::new(&flag.column, &flag.column, kind));
    };
    let outputs = &model.signature.outputs;
    let fits = |spec: &&TensorSpec| {
        table_width(spec) == Some(1) && (spec.dtype == DType::Bytes) == is_text
    };
    let named = flag.named(outputs);
    let guessed = || {
        let class = outputs.iter().filter(fits).find(|spec| !is_float(spec.dtype));
        class.or_else(|| outputs.iter().find(fits))
    };
    let own = named.or_else(|| flag.tensor.is_none().then(guessed).flatten());
    if let Some(spec) = own {
        let kind = if is_float(spec.dtype) { Kind::Numeric } else { Kind::Class };
        let column = ColumnSpec::new(&flag.column, &spec.name, kind);
        let index = flag.index.into_iter().collect();
        return flag.part(table, spec.dtype, ColumnSpec { index, ..column });
    }
    let several = outputs
        .iter()
        .find(|spec| is_float(spec.dtype) && table_width(spec).is_some_and(|width| width > 1));
    match several.filter(|_| flag.tensor.is_none() && !is_text) {
        Some(spec) => {
            let column = ColumnSpec::new(&flag.column, &spec.name, Kind::Class);
            let derived = Some(Derived::Argmax);
            flag.part(table, spec.dtype, ColumnSpec { derived, ..column })
        }
        None => Err(flag.no_output(outputs)),
    }
}

/// The column of the probability of a class.
pub(super) fn score(
    table: &Table,
    model: Option<&Model>,
    flag: &OutputFlag,
) -> Result<Part, Failure> {
    let Some(model) = model else {
        let spec = ColumnSpec::new(&flag.column, &flag.column, Kind::Score);
        return flag.part(table, DType::Fp64, spec);
    };
    let outputs = &model.signature.outputs;
    let guessed =
        || outputs.iter().find(|spec| is_float(spec.dtype) && table_width(spec).is_some());
    let spec = flag.named(outputs).or_else(|| flag.tensor.is_none().then(guessed).flatten());
    let spec = spec.ok_or_else(|| flag.no_output(outputs))?;
    if !is_float(spec.dtype) {
        return Err(Failure::of(format!("--score: expected an output of floats, found {spec}")));
    }
    let index = match (flag.index, table_width(spec)) {
        (Some(index), _) => vec![index],
        (None, Some(1)) => Vec::new(),
        // Of two classes the second is the positive one.
        (None, Some(2)) => vec![1],
        (None, _) => {
            let (column, tensor) = (&flag.column, &spec.name);
            return Err(Failure::of(format!(
                "expected the place of '{column}' in a row of {spec}: say --score \
                 '{column}={tensor}[0]'"
            )));
        }
    };
    let column = ColumnSpec::new(&flag.column, &spec.name, Kind::Score);
    flag.part(table, spec.dtype, ColumnSpec { index, ..column })
}

fn is_float(dtype: DType) -> bool {
    matches!(dtype, DType::Fp16 | DType::Bf16 | DType::Fp32 | DType::Fp64)
}
