//! `modelgate predictions`: what the prediction log has, and whether all of it is there.

mod accounts;
mod decode;
mod delete;
mod engine;
mod fits;
mod footers;
mod lines;
mod place;
mod segments;
mod stats;
mod tail;
mod verify;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::asking::end;

#[derive(Args, Debug)]
pub(super) struct Predictions {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the last records, and new ones as they come
    Tail(tail::Tail),
    /// Run SQL over the archive; by modelgate-query
    #[command(disable_help_flag = true)]
    Query(Passed),
    /// Write predictions, or a training set, to a file; by modelgate-query
    #[command(disable_help_flag = true)]
    Export(Passed),
    /// Write predictions beside their labels to a file; by modelgate-query
    #[command(disable_help_flag = true)]
    Join(Passed),
    /// Count what the archive holds, by model, version, variant and code
    Stats(stats::Stats),
    /// Check that every record is there, or that its absence is explained
    Verify(verify::Verify),
    /// Delete what is recorded of a unit or of a request
    Delete(delete::Delete),
}

/// What another program reads.
#[derive(Args, Debug)]
struct Passed {
    /// See --help, which modelgate-query answers
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

impl Predictions {
    pub(super) fn run(self) -> ExitCode {
        end(match self.verb {
            Verb::Tail(tail) => tail.run(),
            Verb::Query(passed) => engine::run("query", &passed.arguments),
            Verb::Export(passed) => engine::run("export", &passed.arguments),
            Verb::Join(passed) => engine::run("join", &passed.arguments),
            Verb::Stats(stats) => stats.run(),
            Verb::Verify(verify) => verify.run(),
            Verb::Delete(delete) => delete.run(),
        })
    }
}
