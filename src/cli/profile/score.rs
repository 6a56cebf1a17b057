//! `modelgate profile score`: the very scores that a gateway computes, of a file.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::{Failure, file, summary};
use crate::cli::output::{self, Format, Shown};
use crate::cli::table::{Cells, Form, Table, Wanted};
use crate::drift::build::Value;
use crate::drift::{
    Bins, Column, Derived, Evaluated, Kind, Profile, Score as Scored, State, Tally,
};

#[derive(Args, Debug)]
pub(super) struct Score {
    /// The profile
    #[arg(value_name = "PROFILE")]
    profile: PathBuf,
    /// Rows to compare with it: Parquet, or CSV with a header. Outputs that it lacks are left out
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// As -o json
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    shown: Shown,
}

#[derive(Serialize)]
struct Answer<'a> {
    model: &'a str,
    rows: u64,
    columns: Vec<ColumnAnswer<'a>>,
}

#[derive(Serialize)]
struct ColumnAnswer<'a> {
    name: &'a str,
    kind: Kind,
    state: State,
    /// Rows below which the state is `insufficient`.
    min_rows: u64,
    #[serde(flatten)]
    score: Scored,
    reference_counts: &'a [u64],
    live_counts: Vec<u64>,
}

/// A column of the profile, and how it is read.
struct Live<'a> {
    column: &'a Column,
    wanted: Wanted,
    is_single: bool,
    tally: Tally,
}

impl Score {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let profile = file::read(&self.profile)?;
        let table = Table::open(&self.data)?;
        let mut columns = columns(&profile, &table)?;
        let wanted: Vec<Wanted> = columns.iter().map(|live| live.wanted).collect();
        let rows = table.read("reading", &wanted, |rows| {
            for (live, cells) in columns.iter_mut().zip(&rows.cells) {
                live.see(cells, rows.count);
            }
            Ok::<(), Failure>(())
        })?;
        if rows == 0 {
            let path = table.path().display();
            return Err(Failure::of(format!("'{path}': expected rows, found none")));
        }
        let answer = answer(&profile, rows, columns);
        let format = if self.json { Format::Json } else { self.shown.format };
        output::print(format, &answer, text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The columns that the file has.
///
/// # Errors
/// Every input that it lacks.
fn columns<'a>(profile: &'a Profile, table: &Table) -> Result<Vec<Live<'a>>, Failure> {
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    for (at, column) in profile.columns().enumerate() {
        match table.find(source(column)) {
            Ok(place) => {
                let is_text = reads_texts(column);
                // What should be numbers and is not is scored as invalid.
                let form = if is_text { Form::Texts } else { Form::Numbers };
                if is_text && !table.can_be(place, form) {
                    let holds = table.columns()[place].holds.describe();
                    let name = source(column);
                    wrong.push(format!("column '{name}': expected texts, found {holds}"));
                    continue;
                }
                found.push(Live {
                    column,
                    wanted: Wanted { column: place, form },
                    is_single: is_single(column),
                    tally: column.tally(),
                });
            }
            Err(error) if at < profile.inputs.len() => wrong.push(error.to_string()),
            Err(_) => {
                eprintln!("output '{}' is left out: the file has no such column", column.name)
            }
        }
    }
    if wrong.is_empty() { Ok(found) } else { Err(Failure::of(wrong.join("\n"))) }
}

/// The name of the column in a file: what is derived of a text is called after it.
fn source(column: &Column) -> &str {
    let of_text = column.derived.filter(|derived| derived.is_of_text());
    let suffix = of_text.map(|derived| format!("_{}", derived.label()));
    suffix.and_then(|suffix| column.name.strip_suffix(&suffix)).unwrap_or(&column.name)
}

fn reads_texts(column: &Column) -> bool {
    column.derived.map_or(column.bins.counts_texts(), Derived::is_of_text)
}

/// Whether the tensor holds 32-bit floats, to which live values are rounded as
/// those of the reference were. A profile does not say so, but then all that it
/// tells of the values are such floats. To round where it is no such tensor
/// moves a value only if it is as near to an edge as such floats are to each other.
fn is_single(column: &Column) -> bool {
    let single = |value: &f64| f64::from(*value as f32) == *value;
    let ends = column.summary.map(|summary| [summary.min, summary.p001, summary.p999, summary.max]);
    let places = match &column.bins {
        Bins::Edges(bins) => bins.edges(),
        Bins::Values(bins) => bins.values(),
        Bins::Categories(_) => &[],
    };
    ends.iter().flatten().chain(places).all(single)
}

impl Live<'_> {
    fn see(&mut self, cells: &Cells, count: usize) {
        let (bins, tally) = (&self.column.bins, &mut self.tally);
        for row in 0..count {
            match (cells.at(row), self.column.derived) {
                (Value::Number(number), _) if self.is_single => {
                    bins.count_number(f64::from(number as f32), tally);
                }
                (Value::Number(number), _) => bins.count_number(number, tally),
                (Value::Text(text), Some(derived)) => {
                    bins.count_number(derived.of_text(text), tally)
                }
                (Value::Text(text), None) => bins.count_text(text.as_bytes(), tally),
                (Value::Missing, _) if bins.counts_texts() => bins.count_text(b"", tally),
                (Value::Missing, _) => bins.count_number(f64::NAN, tally),
            }
        }
    }
}

fn answer<'a>(profile: &'a Profile, rows: u64, columns: Vec<Live<'a>>) -> Answer<'a> {
    let scores: Vec<Scored> = columns.iter().map(|live| live.column.score(&live.tally)).collect();
    let least = |live: &Live<'_>| live.column.min_rows(profile.alarm.min_rows);
    let evaluated: Vec<Evaluated<'_>> = columns
        .iter()
        .zip(&scores)
        .map(|(live, score)| Evaluated { score, min_rows: least(live) })
        .collect();
    let states = profile.alarm.judge(&evaluated);
    let columns = columns.iter().zip(states).zip(scores.clone());
    let columns = columns.map(|((live, state), score)| ColumnAnswer {
        name: &live.column.name,
        kind: live.column.kind,
        state,
        min_rows: least(live),
        score,
        reference_counts: live.column.reference.bins(),
        live_counts: live.tally.bins().to_vec(),
    });
    Answer { model: profile.model.as_str(), rows, columns: columns.collect() }
}

fn text(answer: &Answer<'_>) -> String {
    let header = ["COLUMN", "KIND", "STATE", "ROWS", "PSI", "JS", "CHI2", "P", "RATES"];
    let mut table = output::Table::new(&header);
    for column in &answer.columns {
        let score = &column.score;
        table.row([
            column.name.to_owned(),
            summary::kind(column.kind).to_owned(),
            column.state.label().to_owned(),
            score.rows.to_string(),
            format!("{:.4}", score.psi_adjusted),
            format!("{:.4}", score.js_distance),
            format!("{:.1}", score.significance.chi2),
            format!("{:.1e}", score.significance.p),
            rates(score),
        ]);
    }
    let too_few = answer.columns.iter().filter(|column| column.state == State::Insufficient);
    let most = too_few.map(|column| column.min_rows).max();
    let few = most.map_or(String::new(), |rows| format!("; of {rows} all would have enough"));
    format!("{table}\n{} rows against model {}{few}\n", answer.rows, answer.model)
}

/// Shares of live values that are no bin, where there are any on either side.
fn rates(score: &Scored) -> String {
    let names = ["missing", "invalid", "below", "above", "unseen"];
    let told = names.iter().zip(&score.rates).filter(|(_, rate)| rate.live + rate.reference > 0.0);
    let percent = |share: f64| format!("{:.1}", share * 100.0);
    let told: Vec<String> = told
        .map(|(name, rate)| {
            format!("{name} {}% (was {}%)", percent(rate.live), percent(rate.reference))
        })
        .collect();
    if told.is_empty() { "-".to_owned() } else { told.join(", ") }
}
