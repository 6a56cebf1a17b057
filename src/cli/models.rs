//! `modelgate models`: see and steer what a running gateway serves.

mod tables;
mod verify;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::json;
use thiserror::Error;

use super::FAILED;
use super::asking::{Asking, Because, name, version};
use super::client::{Client, ClientError};
use super::output;
use crate::control::{AuditEntry, Hold, ModelStatus, Status};
use crate::types::{ModelName, Version};
pub(super) use tables::hold_text;

#[derive(Args, Debug)]
pub(super) struct Models {
    #[command(flatten)]
    asking: Asking,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Every version of every model, with its stage
    List,
    /// All that is known of one model
    Show {
        #[arg(value_parser = name)]
        name: ModelName,
    },
    /// Check that the newest version answers, and that it is what you have
    ///
    /// Ends with 0 if it does, 6 if it was rejected, 1 otherwise.
    Verify {
        #[arg(value_parser = name)]
        name: ModelName,
        /// Folder of models, or of this model, to compare with what is served
        #[arg(long, value_name = "DIR")]
        models: Option<PathBuf>,
    },
    /// Serve an earlier version and hold it, whatever is pushed
    Rollback {
        #[arg(value_parser = name)]
        name: ModelName,
        /// The version to serve [default: the newest that was kept]
        #[arg(long, value_name = "VERSION", value_parser = version)]
        to: Option<Version>,
        #[command(flatten)]
        because: Because,
    },
    /// Lift the hold of a rollback
    Release {
        #[arg(value_parser = name)]
        name: ModelName,
        #[command(flatten)]
        because: Because,
    },
    /// Try a rejected version once more
    Retry {
        #[arg(value_parser = name)]
        name: ModelName,
        #[arg(value_parser = version)]
        version: Version,
        #[command(flatten)]
        because: Because,
    },
    /// Load a model that is loaded by request only, and wait until it is ready
    Load {
        #[arg(value_parser = name)]
        name: ModelName,
        #[command(flatten)]
        because: Because,
    },
    /// Unload a model that is loaded by request only
    Unload {
        #[arg(value_parser = name)]
        name: ModelName,
        #[command(flatten)]
        because: Because,
    },
    /// What changed, who asked for it, and what came of it
    Audit {
        /// Only what is about this model
        #[arg(value_parser = name)]
        name: Option<ModelName>,
        /// Most entries, the newest
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1000))]
        limit: u64,
    },
}

#[derive(Debug, Error)]
enum ModelsError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("cannot write the answer: {0}")]
    Output(#[from] io::Error),
    #[error(transparent)]
    Local(#[from] verify::LocalError),
}

/// The answer to a change that has nothing more to tell.
#[derive(Debug, Deserialize, serde::Serialize)]
struct Outcome {
    model: ModelName,
    outcome: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<Version>,
}

impl Models {
    pub(super) fn run(self) -> ExitCode {
        match self.try_run() {
            Ok(code) => code,
            Err(error) => {
                eprintln!("{}", output::plain(&error.to_string()));
                match error {
                    ModelsError::Client(error) => error.exit_code(),
                    ModelsError::Output(_) | ModelsError::Local(_) => ExitCode::from(FAILED),
                }
            }
        }
    }

    fn try_run(&self) -> Result<ExitCode, ModelsError> {
        let client = self.asking.client()?;
        match &self.verb {
            Verb::List => {
                let status: Status = client.get("/admin/v1/models")?;
                output::print(self.asking.shown.format, &status, tables::list)?;
            }
            Verb::Show { name } => {
                output::print(self.asking.shown.format, &model(&client, name)?, tables::show)?;
            }
            Verb::Verify { name, models } => {
                let verified = verify::verify(&model(&client, name)?, models.as_deref())?;
                output::print(self.asking.shown.format, &verified, verify::Verified::text)?;
                return Ok(verified.exit_code());
            }
            Verb::Rollback { name, to, because } => {
                let mut body = because.body();
                body.extend(to.map(|to| ("version".to_owned(), json!(to))));
                let hold: Hold =
                    client.post(&format!("/admin/v1/models/{name}/rollback"), &body)?;
                output::print(self.asking.shown.format, &hold, |hold| tables::held(name, hold))?;
            }
            Verb::Release { name, because } => self.change(&client, name, "release", because)?,
            Verb::Load { name, because } => self.change(&client, name, "load", because)?,
            Verb::Unload { name, because } => self.change(&client, name, "unload", because)?,
            Verb::Retry { name, version, because } => {
                self.change(&client, name, &format!("versions/{version}/retry"), because)?;
            }
            Verb::Audit { name, limit } => {
                let of_model = name.as_ref().map_or(String::new(), |name| format!("&model={name}"));
                let path = format!("/admin/v1/audit?limit={limit}{of_model}");
                let entries: Vec<AuditEntry> = client.get(&path)?;
                output::print(self.asking.shown.format, &entries, |entries| {
                    tables::audit(entries)
                })?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn change(
        &self,
        client: &Client,
        name: &ModelName,
        call: &str,
        because: &Because,
    ) -> Result<(), ModelsError> {
        let path = format!("/admin/v1/models/{name}/{call}");
        let outcome: Outcome = client.post(&path, &because.body())?;
        output::print(self.asking.shown.format, &outcome, |outcome| match outcome.version {
            Some(version) => format!("{name} version {version}: {}", outcome.outcome),
            None => format!("{name}: {}", outcome.outcome),
        })?;
        Ok(())
    }
}

fn model(client: &Client, name: &ModelName) -> Result<ModelStatus, ClientError> {
    client.get(&format!("/admin/v1/models/{name}"))
}
