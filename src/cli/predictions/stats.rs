//! `modelgate predictions stats`: what the archive holds. Files are opened, but
//! of their rows at most two columns are read.

use std::collections::BTreeMap;
use std::io;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::accounts;
use super::footers::{self, Contents};
use super::place::Place;
use crate::cli::asking::Failure;
use crate::cli::output::{self, Shown, Table};
use crate::cli::when;
use crate::predictions::layout;

#[derive(Args, Debug)]
pub(super) struct Stats {
    #[command(flatten)]
    place: Place,
    /// Only predictions of this model
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    #[command(flatten)]
    shown: Shown,
}

#[derive(Debug, Default, Serialize)]
struct Report {
    models: Vec<Version>,
    labels: Part,
    /// Sequence numbers without a record, by cause, of segments that are in the archive.
    gaps: BTreeMap<&'static str, u64>,
}

/// What files of one kind hold.
#[derive(Debug, Default, Serialize)]
struct Part {
    files: u64,
    rows: u64,
    bytes: u64,
    first: Option<String>,
    last: Option<String>,
}

#[derive(Debug, Serialize)]
struct Version {
    model: String,
    version: String,
    #[serde(flatten)]
    part: Part,
    answers: Vec<Answers>,
}

/// Rows of one variant that ended alike.
#[derive(Debug, Serialize)]
struct Answers {
    variant: String,
    code: String,
    rows: u64,
}

impl Stats {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let root = self.place.root()?;
        let unreadable =
            |error: io::Error| Failure::Invalid(format!("cannot read the log: {error}"));
        let mut report = Report::default();
        let predictions = layout::predictions(&root);
        for (model, folder) in footers::levels(&predictions, "model=").map_err(unreadable)? {
            if self.model.as_ref().is_some_and(|wanted| *wanted != model) {
                continue;
            }
            for (version, folder) in footers::levels(&folder, "version=").map_err(unreadable)? {
                let found = footers::below(&folder, &["variant", "code"], "event_time");
                report.models.push(of_version(&model, version, &found.map_err(unreadable)?));
            }
        }
        let labels =
            footers::below(&layout::labels(&root), &[], "label_time").map_err(unreadable)?;
        report.labels = part(&labels);
        for account in accounts::read(&root).map_err(unreadable)?.segments {
            for (_, count, cause) in account.gaps {
                *report.gaps.entry(cause.label()).or_default() += count;
            }
        }
        output::print(self.shown.format, &report, table)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn part(of: &Contents) -> Part {
    Part {
        files: of.files,
        rows: of.rows,
        bytes: of.bytes,
        first: of.first.map(when::show),
        last: of.last.map(when::show),
    }
}

fn of_version(model: &str, version: String, found: &Contents) -> Version {
    let answers = found.counts.iter().map(|(values, rows)| {
        let value = |at: usize| values.get(at).cloned().unwrap_or_default();
        Answers { variant: value(0), code: value(1), rows: *rows }
    });
    Version { model: model.to_owned(), version, part: part(found), answers: answers.collect() }
}

fn table(report: &Report) -> String {
    let mut table = Table::new(&[
        "MODEL", "VERSION", "VARIANT", "CODE", "ROWS", "FILES", "SIZE", "FIRST", "LAST",
    ]);
    let whole = |part: &Part| {
        let time = |at: &Option<String>| at.as_deref().map_or("-", |at| &at[..16]).to_owned();
        [part.files.to_string(), output::bytes(part.bytes), time(&part.first), time(&part.last)]
    };
    for version in &report.models {
        for (at, answers) in version.answers.iter().enumerate() {
            let name = [version.model.clone(), version.version.clone()];
            let variant = if answers.variant.is_empty() { "-" } else { &answers.variant };
            let cells = [variant.to_owned(), answers.code.clone(), answers.rows.to_string()];
            // What holds of all stands on the first line.
            let (name, rest) = match at {
                0 => (name, whole(&version.part)),
                _ => Default::default(),
            };
            table.row(name.into_iter().chain(cells).chain(rest));
        }
    }
    let labels = &report.labels;
    let of_labels = [String::new(), String::new(), String::new(), labels.rows.to_string()];
    table.row(["(labels)".to_owned()].into_iter().chain(of_labels).chain(whole(labels)));
    let gaps: Vec<String> =
        report.gaps.iter().map(|(cause, count)| format!("{cause} {count}")).collect();
    let gaps = if gaps.is_empty() { "none".to_owned() } else { gaps.join(", ") };
    format!("{table}\ngaps: {gaps}\n")
}
