//! A profile in a few lines.

use serde::Serialize;

use crate::cli::output::{self, Table};
use crate::drift::profile::ReferenceQuality;
use crate::drift::{Column, Kind, Profile, Rate};

#[derive(Debug, Serialize)]
pub(super) struct Summary<'a> {
    pub(super) model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rows: Option<u64>,
    pub(super) inputs: Vec<ColumnSummary<'a>>,
    pub(super) outputs: Vec<ColumnSummary<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) quality: Option<&'a ReferenceQuality>,
}

#[derive(Debug, Serialize)]
pub(super) struct ColumnSummary<'a> {
    name: &'a str,
    kind: Kind,
    tensor: String,
    bins: usize,
    missing: u64,
    invalid: u64,
    dispersion: f64,
    /// Live rows below which nothing is said of it.
    min_rows: u64,
}

impl<'a> Summary<'a> {
    pub(super) fn of(profile: &'a Profile) -> Summary<'a> {
        let columns = |columns: &'a [Column]| {
            columns.iter().map(|column| of_column(column, profile.alarm.min_rows)).collect()
        };
        Summary {
            model: profile.model.as_str(),
            rows: profile.source.as_ref().and_then(|source| source.rows),
            inputs: columns(&profile.inputs),
            outputs: columns(&profile.outputs),
            quality: profile.quality.as_ref(),
        }
    }

    pub(super) fn text(&self) -> String {
        let header = ["COLUMN", "KIND", "BINS", "MISSING", "DISPERSION", "MIN ROWS", "TENSOR"];
        let mut table = Table::new(&header);
        for column in self.inputs.iter().chain(&self.outputs) {
            table.row([
                column.name.to_owned(),
                kind(column.kind).to_owned(),
                column.bins.to_string(),
                column.missing.to_string(),
                format!("{:.2}", column.dispersion),
                column.min_rows.to_string(),
                column.tensor.clone(),
            ]);
        }
        let (inputs, outputs) = (self.inputs.len(), self.outputs.len());
        let rows = self.rows.map_or(String::new(), |rows| format!(" of {rows} rows"));
        let mut text = table.to_string();
        let model = self.model;
        text.push_str(&format!("\nmodel {model}: {inputs} inputs, {outputs} outputs{rows}\n"));
        if let Some(ReferenceQuality { metric, value, lower, upper, chunk }) = self.quality {
            text.push_str(&output::plain(&format!(
                "{metric} {value:.4}, {lower:.4} to {upper:.4} in chunks of {chunk} rows"
            )));
            text.push('\n');
        }
        text
    }
}

fn of_column(column: &Column, least: u64) -> ColumnSummary<'_> {
    let index: String = column.index.iter().map(|place| format!("[{place}]")).collect();
    let derived = column.derived.map_or(String::new(), |of| format!(" {}", of.label()));
    ColumnSummary {
        name: &column.name,
        kind: column.kind,
        tensor: format!("{}{index}{derived}", column.tensor),
        bins: column.bins.count(),
        missing: column.reference.rate(Rate::Missing),
        invalid: column.reference.rate(Rate::Invalid),
        dispersion: column.dispersion,
        min_rows: column.min_rows(least),
    }
}

pub(super) fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Numeric => "numeric",
        Kind::Values => "values",
        Kind::Categorical => "categorical",
        Kind::Class => "class",
        Kind::Score => "score",
    }
}
