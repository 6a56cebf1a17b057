//! `modelgate profile diff`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::{Failure, file, summary};
use crate::cli::output::{self, Shown, Table};
use crate::drift::{Column, Profile};

#[derive(Args, Debug)]
pub(super) struct Diff {
    /// The profile that was
    #[arg(value_name = "A")]
    before: PathBuf,
    /// The profile that is compared with it
    #[arg(value_name = "B")]
    after: PathBuf,
    #[command(flatten)]
    shown: Shown,
}

#[derive(Serialize)]
struct Changes<'a> {
    columns: Vec<Change<'a>>,
}

#[derive(Serialize)]
struct Change<'a> {
    name: &'a str,
    what: What,
    /// Of B's reference against A's, where their bins are the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    psi_adjusted: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    js_distance: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p: Option<f64>,
    note: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Added,
    Removed,
    /// Read from elsewhere, or another kind.
    Other,
    OtherBins,
    OtherCounts,
    Same,
}

impl Diff {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let (before, after) = (file::read(&self.before)?, file::read(&self.after)?);
        output::print(self.shown.format, &changes(&before, &after), text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The columns of A in its order, then those that B alone has.
fn changes<'a>(before: &'a Profile, after: &'a Profile) -> Changes<'a> {
    let find = |profile: &'a Profile, name: &str| profile.columns().find(|own| *own.name == *name);
    let kept = before.columns().map(|own| match find(after, &own.name) {
        Some(other) => change(own, other),
        None => only(own, What::Removed),
    });
    let added = after.columns().filter(|own| find(before, &own.name).is_none());
    Changes { columns: kept.chain(added.map(|own| only(own, What::Added))).collect() }
}

fn only(column: &Column, what: What) -> Change<'_> {
    let note = summary::kind(column.kind).to_owned();
    Change { name: &column.name, what, psi_adjusted: None, js_distance: None, p: None, note }
}

fn change<'a>(before: &'a Column, after: &Column) -> Change<'a> {
    let place = |column: &Column| {
        let (kind, tensor) = (summary::kind(column.kind), &column.tensor);
        let derived = column.derived.map_or("", |derived| derived.label());
        format!("{kind} of {tensor}{:?} {derived}", column.index).trim_end().to_owned()
    };
    let (was, is) = (place(before), place(after));
    if was != is {
        return Change { note: format!("{was}, now {is}"), ..only(before, What::Other) };
    }
    if before.bins != after.bins {
        let (was, is) = (before.bins.count(), after.bins.count());
        let note = format!("{was} bins, now {is}; counts of other bins cannot be compared");
        return Change { note, ..only(before, What::OtherBins) };
    }
    if before.reference == after.reference {
        return only(before, What::Same);
    }
    let score = before.score(&after.reference);
    let (was, is) = (before.reference.binned(), after.reference.binned());
    Change {
        psi_adjusted: Some(score.psi_adjusted),
        js_distance: Some(score.js_distance),
        p: Some(score.significance.p),
        note: format!("{was} rows, now {is}"),
        ..only(before, What::OtherCounts)
    }
}

fn text(changes: &Changes<'_>) -> String {
    let mut table = Table::new(&["COLUMN", "WHAT", "PSI", "JS", "P", "NOTE"]);
    let number = |of: Option<f64>| of.map_or("-".to_owned(), |of| format!("{of:.4}"));
    for change in &changes.columns {
        let what = match change.what {
            What::Added => "added",
            What::Removed => "removed",
            What::Other => "other",
            What::OtherBins => "other bins",
            What::OtherCounts => "other counts",
            What::Same => "same",
        };
        table.row([
            change.name.to_owned(),
            what.to_owned(),
            number(change.psi_adjusted),
            number(change.js_distance),
            change.p.map_or("-".to_owned(), |p| format!("{p:.1e}")),
            change.note.clone(),
        ]);
    }
    table.to_string()
}
