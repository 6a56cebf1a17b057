//! Structured logs on standard error. What clients sent is never logged above
//! `debug`.

use std::io::{self, IsTerminal};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

/// By which the filter is replaced while the process runs.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// For people, coloured on a terminal.
    Text,
}

#[derive(Debug, Error)]
pub enum LogError {
    #[error(
        "'{directives}' is not a log filter: {source}; expected a level (error, warn, info, \
         debug, trace) or directives such as 'info,modelgate::api=debug'"
    )]
    Filter {
        directives: String,
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    #[error("logs are set up already")]
    Taken(#[source] tracing_subscriber::util::TryInitError),
    #[error("the log filter cannot be replaced: {0}")]
    Stuck(#[source] reload::Error),
}

/// Checks `directives` without setting anything up.
pub fn check(directives: &str) -> Result<(), LogError> {
    filter(directives).map(drop)
}

/// Sets up the process's logs; may be done once. `directives` is a level or a
/// comma-separated list such as `info,modelgate::api=debug`.
pub fn init(format: LogFormat, directives: &str) -> Result<(), LogError> {
    let terminal = io::stderr().is_terminal();
    let text = match format {
        LogFormat::Auto => terminal,
        LogFormat::Json => false,
        LogFormat::Text => true,
    };
    let lines = fmt::layer().with_writer(io::stderr);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = if text {
        lines.with_ansi(terminal).with_target(false).boxed()
    } else {
        lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
    };
    let (filter, handle) = reload::Layer::new(filter(directives)?);
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init()
        .map_err(LogError::Taken)?;
    // The logs are set up once, so nobody was here before.
    let _ = FILTER.set(handle);
    Ok(())
}

/// Replaces the filter that [`init`] set up; without it nothing happens.
pub fn set_level(directives: &str) -> Result<(), LogError> {
    let filter = filter(directives)?;
    match FILTER.get() {
        Some(handle) => handle.reload(filter).map_err(LogError::Stuck),
        None => Ok(()),
    }
}

fn filter(directives: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::try_new(directives)
        .map_err(|source| LogError::Filter { directives: directives.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_directives_are_filters() {
        for good in ["info", "warn,modelgate::api=debug", "off", "INFO"] {
            assert!(check(good).is_ok(), "{good:?} must be accepted");
        }
        for bad in ["modelgate=loud", "a=b=c"] {
            assert!(check(bad).is_err(), "{bad:?} must be refused");
        }
    }

    #[test]
    fn a_bad_filter_sets_nothing_up_and_says_what_was_expected() {
        let error = init(LogFormat::Json, "modelgate=loud").expect_err("not a level");
        assert!(error.to_string().contains("expected a level"), "{error}");
    }
}
