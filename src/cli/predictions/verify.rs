//! `modelgate predictions verify`: whether every sequence number is a record or
//! a gap, and whether the archive's files are what they were.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::accounts;
use super::place::Place;
use crate::cli::FAILED;
use crate::cli::asking::Failure;
use crate::cli::output::{self, Shown, Table};
use crate::predictions::account::ArchivedFile;
use crate::predictions::hash::hex;
use crate::predictions::store::verify::{self, Report, ShardReport};

#[derive(Args, Debug)]
pub(super) struct Verify {
    #[command(flatten)]
    place: Place,
    /// Leave out the digests of files; their number of rows is still checked
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    shown: Shown,
}

#[derive(Debug, Serialize)]
struct Found {
    /// Whether nothing is unexplained, in segments and files.
    complete: bool,
    segments: Report,
    files: Files,
}

#[derive(Debug, Default, Serialize)]
struct Files {
    checked: u64,
    rows: u64,
    /// Rows that were taken out, by why.
    removed: BTreeMap<&'static str, u64>,
    problems: Vec<Problem>,
}

#[derive(Debug, Serialize)]
struct Problem {
    path: String,
    problem: String,
}

impl Verify {
    /// Exits with 1 where anything is unexplained.
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let root = self.place.root()?;
        let unreadable =
            |error: io::Error| Failure::Invalid(format!("cannot read the log: {error}"));
        let segments = verify::verify(&root).map_err(unreadable)?;
        let files = files(&root, self.quick).map_err(unreadable)?;
        let complete = segments.complete && files.problems.is_empty();
        let found = Found { complete, segments, files };
        output::print(self.shown.format, &found, text)?;
        Ok(if complete { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
    }
}

/// Checks the files that accounts name. A running gateway may take some out
/// meanwhile: what is wrong counts only while the accounts still say the same.
fn files(root: &Path, quick: bool) -> io::Result<Files> {
    let accounts = accounts::read(root)?;
    let mut found = Files { removed: accounts.removed, ..Files::default() };
    let mut wrong = Vec::new();
    for (path, file) in accounts.files {
        found.checked += 1;
        found.rows += file.rows;
        if let Some(problem) = check(root, &file, quick) {
            wrong.push((path, file, problem));
        }
    }
    let now = if wrong.is_empty() { BTreeMap::new() } else { accounts::read(root)?.files };
    wrong.retain(|(path, file, _)| now.get(path) == Some(file));
    let problems = wrong.into_iter().map(|(path, _, problem)| Problem { path, problem });
    found.problems = problems.collect();
    Ok(found)
}

/// What is wrong with a file.
fn check(root: &Path, stated: &ArchivedFile, quick: bool) -> Option<String> {
    let path = root.join(&stated.path);
    let checked = || -> io::Result<Option<String>> {
        let rows = SerializedFileReader::new(File::open(&path)?).map_err(io::Error::other)?;
        let rows = u64::try_from(rows.metadata().file_metadata().num_rows()).unwrap_or(0);
        if rows != stated.rows {
            return Ok(Some(format!("{rows} rows, not {}", stated.rows)));
        }
        if quick || digest(&path)? == stated.sha256 {
            return Ok(None);
        }
        Ok(Some("its digest is another".to_owned()))
    };
    match checked() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some("it is not there".to_owned()),
        checked => checked.unwrap_or_else(|error| Some(error.to_string())),
    }
}

/// The hexadecimal digits of a file's SHA-256.
fn digest(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(hex(&hasher.finalize()))
}

fn text(found: &Found) -> String {
    let header =
        ["SHARD", "NUMBERS", "RECORDS", "ARCHIVED", "GAPS", "DAMAGED", "DOUBLE", "UNEXPLAINED"];
    let mut table = Table::new(&header);
    for shard in &found.segments.shards {
        table.row([
            shard.shard.to_string(),
            format!("{}..{}", shard.first, shard.next),
            shard.raw_records.to_string(),
            shard.archived_records.to_string(),
            counts(shard.gaps.iter().map(|(cause, count)| (cause.label(), *count))),
            shard.damaged.to_string(),
            shard.duplicates.to_string(),
            unexplained(shard),
        ]);
    }
    let mut lines = table.to_string();
    let Files { checked, rows, removed, problems } = &found.files;
    let removed = counts(removed.iter().map(|(why, count)| (*why, *count)));
    lines.push_str(&format!("\n{checked} files of {rows} rows; taken out: {removed}\n"));
    for Problem { path, problem } in problems {
        lines.push_str(&output::plain(&format!("{path}: {problem}")));
        lines.push('\n');
    }
    if found.segments.live {
        let newest: u64 = found.segments.shards.iter().map(|shard| shard.in_flight).sum();
        lines
            .push_str(&format!("a gateway is writing: its {newest} newest numbers do not count\n"));
    }
    lines.push_str(if found.complete { "complete\n" } else { "NOT complete\n" });
    lines
}

fn unexplained(shard: &ShardReport) -> String {
    let ranges = shard.unexplained_ranges.iter().map(|(from, to)| format!("{from}..{to}"));
    match shard.unexplained {
        0 => "0".to_owned(),
        count => format!("{count}: {}", ranges.collect::<Vec<_>>().join(", ")),
    }
}

fn counts<'a>(of: impl Iterator<Item = (&'a str, u64)>) -> String {
    let told: Vec<String> = of.map(|(name, count)| format!("{name} {count}")).collect();
    if told.is_empty() { "none".to_owned() } else { told.join(", ") }
}
