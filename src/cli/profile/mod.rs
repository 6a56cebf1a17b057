//! `modelgate profile`: what a model's inputs and outputs looked like where it
//! was trained, and how far other rows are from that.

mod build;
mod check;
mod columns;
mod diff;
mod embed;
mod file;
mod model;
mod outputs;
mod plan;
mod quality;
mod score;
mod summary;

use std::io;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::table::TableError;
use super::{CONFIG_INVALID, FAILED, output};

#[derive(Args, Debug)]
pub(super) struct Profile {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a profile of the data that a model was trained on
    Build(Box<build::Build>),
    /// Check a profile, and whether it fits a model
    Check(check::Check),
    /// Show what differs between two profiles
    Diff(diff::Diff),
    /// Put a profile into an ONNX file, so that it goes wherever the file goes
    Embed(embed::Embed),
    /// Compare a file of rows with a profile, as the gateway compares live traffic
    Score(score::Score),
}

/// Why a verb ends early, with its exit code.
#[derive(Debug)]
struct Failure(u8, String);

impl Failure {
    fn of(reason: impl Into<String>) -> Failure {
        Failure(FAILED, reason.into())
    }

    fn invalid(reason: impl Into<String>) -> Failure {
        Failure(CONFIG_INVALID, reason.into())
    }
}

impl From<TableError> for Failure {
    fn from(error: TableError) -> Failure {
        Failure::of(error.to_string())
    }
}

/// Of what is printed.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::of(format!("cannot write the answer: {error}"))
    }
}

impl Profile {
    pub(super) fn run(self) -> ExitCode {
        let outcome = match self.verb {
            Verb::Build(build) => build.run(),
            Verb::Check(check) => check.run(),
            Verb::Diff(diff) => diff.run(),
            Verb::Embed(embed) => embed.run(),
            Verb::Score(score) => score.run(),
        };
        outcome.unwrap_or_else(|Failure(code, reason)| {
            reason.lines().for_each(|line| eprintln!("{}", output::plain(line)));
            ExitCode::from(code)
        })
    }
}
