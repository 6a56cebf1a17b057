//! `modelgate retrain`: whether models are to be trained anew, and what came of it.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::asking::{Asking, Failure, end, name};
use super::output::{self, Table};
use crate::control::retrain::{ModelRetrain, RetrainStatus};
use crate::types::ModelName;

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Retrain {
    #[command(flatten)]
    asking: Asking,
    /// Only this model, with the steps that led from evidence to versions
    #[arg(value_parser = name)]
    model: Option<ModelName>,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Send an event that is marked as a test to whoever is asked to train
    Test {
        #[arg(value_parser = name)]
        model: ModelName,
    },
}

impl Retrain {
    pub(super) fn run(self) -> ExitCode {
        end(self.try_run())
    }

    fn try_run(&self) -> Result<ExitCode, Failure> {
        let client = self.asking.client()?;
        let format = self.asking.shown.format;
        if let Some(Verb::Test { model }) = &self.verb {
            let path = format!("/admin/v1/retrain/{model}/test");
            let sent: Value = client.post(&path, &json!({}))?;
            let id = sent["id"].as_str().unwrap_or_default().to_owned();
            output::print(format, &sent, |_| {
                format!(
                    "the test event {id} is on its way; modelgate retrain shows what becomes of it"
                )
            })?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut status: RetrainStatus = client.get("/admin/v1/retrain")?;
        let Some(model) = &self.model else {
            output::print(format, &status, overview)?;
            return Ok(ExitCode::SUCCESS);
        };
        status.models.retain(|of| of.model == *model);
        let Some(of) = status.models.pop() else {
            let why = match status.enabled {
                true => format!("nothing is decided about '{model}' yet"),
                false => "nothing is decided about retraining: retrain.enabled is false".to_owned(),
            };
            return Err(Failure::Invalid(why));
        };
        output::print(format, &of, detail)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn overview(status: &RetrainStatus) -> String {
    if !status.enabled {
        return "nothing is decided about retraining: retrain.enabled is false\n".to_owned();
    }
    let mut models = Table::new(&["MODEL", "STATE", "FOR", "LAST REQUEST", "WHY"]);
    for of in &status.models {
        let request = of.request.as_ref();
        models.row([
            of.model.to_string(),
            of.state.clone(),
            output::age(of.since),
            request.map_or_else(|| "-".to_owned(), |request| request.outcome.clone()),
            of.why.clone(),
        ]);
    }
    let mut text = models.to_string();
    let _ = writeln!(text, "\nrequests left today: {}", status.budget_left);
    if !status.outbox.is_empty() {
        let mut events = Table::new(&["EVENT", "MODEL", "STATE", "ATTEMPTS", "ERROR"]);
        for event in &status.outbox {
            let state = json!(event.state);
            events.row([
                event.id.clone(),
                event.model.clone(),
                state.as_str().unwrap_or_default().to_owned(),
                event.attempts.to_string(),
                event.error.clone().unwrap_or_default(),
            ]);
        }
        let _ = write!(text, "\n{events}");
    }
    text
}

fn detail(of: &ModelRetrain) -> String {
    let mut text = String::new();
    let dry = if of.dry_run { " (dry run: nothing is sent)" } else { "" };
    let _ = writeln!(text, "{} is {}{dry}: {}", of.model, of.state, output::plain(&of.why));
    if let Some(until) = of.cooldown_until {
        let _ = writeln!(text, "no request before {}", output::utc(until));
    }
    if of.lineage.is_empty() {
        return text;
    }
    let mut steps = Table::new(&["TIME", "STEP", "VERSION", "REQUEST", "WHY"]);
    for step in &of.lineage {
        steps.row([
            output::utc(step.at),
            step.step.clone(),
            step.version.map_or_else(|| "-".to_owned(), |version| version.to_string()),
            step.id.chars().take(12).collect(),
            step.why.clone().unwrap_or_default(),
        ]);
    }
    let _ = write!(text, "\n{steps}");
    text
}
