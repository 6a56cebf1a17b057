//! `modelgate route`: routes of a running gateway, and files of them.

mod diff;
mod file;
mod tables;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use super::FAILED;
use super::asking::{Asking, Because, Failure, end, name};
use super::client::Client;
use super::output;
use crate::control::{RouteChange, RouteStatus};
use crate::routing;
use crate::types::ModelName;
use diff::Difference;
pub(super) use file::read_at;
use file::{Input, read};
pub(super) use tables::by_hand;

#[derive(Args, Debug)]
pub(super) struct Route {
    #[command(flatten)]
    asking: Asking,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Every variant of every route, with its version and weight
    List,
    /// All that is known of one route
    Get {
        #[arg(value_parser = name)]
        name: ModelName,
        /// Only the route as it was written, in YAML, to be changed and applied again
        #[arg(long)]
        document: bool,
    },
    /// Make routes, or change them: all of the file or none
    Apply {
        #[command(flatten)]
        input: Input,
        /// Only say what it would do
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        because: Because,
    },
    /// Show what applying a file would change
    Diff {
        #[command(flatten)]
        input: Input,
        /// End with 1 if anything would change
        #[arg(long)]
        exit_code: bool,
    },
    /// Check a file without a gateway: mistakes, and what is hardly meant
    Lint {
        #[command(flatten)]
        input: Input,
    },
    /// Delete a route; the model of its name, if there is one, answers by itself again
    Delete {
        #[arg(value_parser = name)]
        name: ModelName,
        #[command(flatten)]
        because: Because,
    },
}

/// What `lint` has to say.
#[derive(Serialize)]
struct Lint {
    routes: usize,
    warnings: Vec<String>,
}

impl Route {
    pub(super) fn run(self) -> ExitCode {
        end(self.try_run())
    }

    fn try_run(&self) -> Result<ExitCode, Failure> {
        let format = self.asking.shown.format;
        match &self.verb {
            Verb::List => {
                let routes: Vec<RouteStatus> = self.asking.client()?.get("/admin/v1/routes")?;
                output::print(format, &routes, |routes| tables::list(routes))?;
            }
            Verb::Get { name, document } => {
                let client = self.asking.client()?;
                let route: RouteStatus = client.get(&format!("/admin/v1/routes/{name}"))?;
                if *document {
                    let format = format.or_yaml();
                    output::print(format, &route.document, |_| String::new())?;
                } else {
                    output::print(format, &route, tables::show)?;
                }
            }
            Verb::Apply { input, dry_run, because } => {
                let changes = self.apply(input, *dry_run, because)?;
                output::print(format, &changes, |changes| tables::changes(changes, *dry_run))?;
            }
            Verb::Diff { input, exit_code } => return self.diff(input, *exit_code),
            Verb::Lint { input } => {
                let file = read(input)?;
                let warnings = file
                    .documents()
                    .flat_map(|document| {
                        let told = |warning| file::told(&file, document.name(), warning);
                        routing::lint(document).into_iter().map(told).collect::<Vec<_>>()
                    })
                    .collect();
                let lint = Lint { routes: file.documents().count(), warnings };
                output::print(format, &lint, |lint| {
                    let mut lines = lint.warnings.clone();
                    let warnings = lint.warnings.len();
                    lines.push(format!("routes: {}, warnings: {warnings}", lint.routes));
                    lines.join("\n")
                })?;
            }
            Verb::Delete { name, because } => {
                let path = format!("/admin/v1/routes/{name}/delete");
                let change: RouteChange = self.asking.client()?.post(&path, &because.body())?;
                output::print(format, &change, |change| {
                    output::plain(&format!("{}: {}", change.name, change.outcome))
                })?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn apply(
        &self,
        input: &Input,
        dry_run: bool,
        because: &Because,
    ) -> Result<Vec<RouteChange>, Failure> {
        let file = read(input)?;
        apply(&self.asking.client()?, &file, dry_run, because)
    }

    fn diff(&self, input: &Input, exit_code: bool) -> Result<ExitCode, Failure> {
        let file = read(input)?;
        let nobody = Because::default();
        let changes = apply(&self.asking.client()?, &file, true, &nobody)?;
        let differences: Vec<Difference> = changes
            .into_iter()
            .filter_map(|change| {
                let after = file.documents().find(|document| *document.name() == change.name)?;
                Some(Difference::new(change, after))
            })
            .collect();
        output::print(self.asking.shown.format, &differences, |differences| {
            differences.iter().map(Difference::to_string).collect::<Vec<_>>().join("\n")
        })?;
        let differs = differences.iter().any(Difference::is_one);
        Ok(if differs && exit_code { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
    }
}

/// Asks the gateway to take the routes of a file. What it refuses is shown
/// where it stands in the file.
fn apply(
    client: &Client,
    file: &crate::app::config::RouteFile,
    dry_run: bool,
    because: &Because,
) -> Result<Vec<RouteChange>, Failure> {
    let mut body = because.body();
    body.insert("dry_run".to_owned(), json!(dry_run));
    body.insert("routes".to_owned(), json!(file.documents().collect::<Vec<_>>()));
    client.post("/admin/v1/routes", &body).map_err(|error| file::located(file, error))
}
