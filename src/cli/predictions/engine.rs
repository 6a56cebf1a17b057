//! Hands a verb to `modelgate-query`, which carries the query engine.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use crate::cli::asking::Failure;

const PROGRAM: &str = "modelgate-query";

/// Becomes the program that stands beside this one, or else one of the `PATH`.
///
/// # Errors
/// Where there is none; else this does not return.
pub(super) fn run(verb: &str, arguments: &[OsString]) -> Result<ExitCode, Failure> {
    let program = beside().unwrap_or_else(|| PathBuf::from(PROGRAM));
    let error = Command::new(program).arg(verb).args(arguments).exec();
    Err(match error.kind() {
        io::ErrorKind::NotFound => Failure::Invalid(format!(
            "{PROGRAM} is neither beside modelgate nor on the PATH: build it by `make build-query`"
        )),
        _ => Failure::Invalid(format!("cannot start {PROGRAM}: {error}")),
    })
}

fn beside() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?.with_file_name(PROGRAM);
    program.is_file().then_some(program)
}
