//! Files of routes on the command line, and where in them something stands.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::app::config::{ConfigError, RouteFile};
use crate::cli::asking::Failure;
use crate::cli::client::ClientError;
use crate::cli::output;
use crate::types::ModelName;

#[derive(Args, Debug)]
pub(super) struct Input {
    /// File of routes, one or several; - for standard input
    #[arg(short, long = "file", value_name = "FILE")]
    file: PathBuf,
}

/// Reads and checks a file, which has to hold a route.
pub(super) fn read(input: &Input) -> Result<RouteFile, Failure> {
    read_at(&input.file)
}

pub(in crate::cli) fn read_at(path: &Path) -> Result<RouteFile, Failure> {
    let (file, source) = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(|error| ConfigError::Read { path: path.to_owned(), error })?;
        let source = "standard input".to_owned();
        (RouteFile::parse(text, &source)?, source)
    } else {
        let source = path.display().to_string();
        (RouteFile::load(path, &source)?, source)
    };
    if file.documents().next().is_none() {
        let expected = "expected apiVersion: modelgate.dev/v1, kind: Route, metadata and spec";
        return Err(Failure::Invalid(format!("{source}: there is no route in it; {expected}")));
    }
    Ok(file)
}

/// A refusal of the gateway, at its place in the file where it is about a key of it.
pub(super) fn located(file: &RouteFile, error: ClientError) -> Failure {
    let ClientError::BadRoute { route, path, message } = &error else { return error.into() };
    let about = format!("route '{route}': {path}: ");
    let message = message.strip_prefix(&about).unwrap_or(message);
    let name = ModelName::parse(route).ok();
    match name.and_then(|name| file.problem(&name, path, message)) {
        Some(error) => error.into(),
        None => error.into(),
    }
}

/// A warning about a route, which begins with the key it is about, at its
/// place in the file.
pub(super) fn told(file: &RouteFile, route: &ModelName, warning: String) -> String {
    let (path, message) = warning.split_once(": ").unwrap_or(("", &warning));
    let place = file.problem(route, path, message).and_then(|error| {
        let invalid = error.invalid()?;
        Some(format!("{}:{}:{}", invalid.source, invalid.line, invalid.column))
    });
    let place = place.unwrap_or_default();
    output::plain(&format!("{place}: route '{route}': {warning}"))
}
