//! What the verbs that ask a running gateway have in common.

use std::io;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::client::{Client, ClientError, Server};
use super::output::{self, Shown};
use super::{CONFIG_INVALID, FAILED};
use crate::app::config::ConfigError;
use crate::types::{ModelName, Version};

/// Where the gateway is, and how its answer is shown.
#[derive(Args, Debug)]
pub(super) struct Asking {
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    pub(super) shown: Shown,
}

impl Asking {
    pub(super) fn client(&self) -> Result<Client, ClientError> {
        self.server.client()
    }
}

/// For the audit log.
#[derive(Args, Debug, Default)]
pub(super) struct Because {
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    /// Who, for the audit log [default: $USER]
    #[arg(long, env = "MODELGATE_ACTOR", value_name = "NAME")]
    actor: Option<String>,
}

impl Because {
    pub(super) fn body(&self) -> Map<String, Value> {
        let actor = self.actor.clone().or_else(|| std::env::var("USER").ok());
        let mut body = Map::from_iter([("reason".to_owned(), json!(self.reason))]);
        body.extend(actor.map(|actor| ("actor".to_owned(), json!(actor))));
        body
    }
}

/// Why a verb about routes ends early.
#[derive(Debug, Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("cannot write the answer: {0}")]
    Output(#[from] io::Error),
    /// A file that cannot be taken.
    #[error(transparent)]
    File(#[from] ConfigError),
    #[error("{0}")]
    Invalid(String),
}

/// The exit code of a verb; what went wrong is told.
pub(super) fn end(outcome: Result<ExitCode, Failure>) -> ExitCode {
    outcome.unwrap_or_else(|failure| {
        // Lines of a file's excerpt stay lines.
        let text = failure.to_string();
        text.lines().for_each(|line| eprintln!("{}", output::plain(line)));
        match failure {
            Failure::Client(error) => error.exit_code(),
            Failure::Output(_) => ExitCode::from(FAILED),
            Failure::File(_) | Failure::Invalid(_) => ExitCode::from(CONFIG_INVALID),
        }
    })
}

/// Of a model or a route.
pub(super) fn name(text: &str) -> Result<ModelName, String> {
    ModelName::parse(text).map_err(|error| error.to_string())
}

pub(super) fn version(text: &str) -> Result<Version, String> {
    Version::parse(text).map_err(|error| error.to_string())
}
