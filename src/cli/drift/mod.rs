//! `modelgate drift`: how far traffic is from what models were trained on.

mod answer;
mod plot;
mod tables;

use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Deserialize as _;
use serde_json::Value;

use super::asking::{Asking, Failure, end, name, version};
use super::client::{Client, escaped};
use super::output;
use super::{INCONCLUSIVE, REJECTED};
use crate::drift::State;
use crate::types::{ModelName, Version};
use answer::{Overview, VersionDrift};
use plot::Style;

#[derive(Args, Debug)]
pub(super) struct Drift {
    #[command(flatten)]
    asking: Asking,
    /// Show the features of this model, the worst first
    #[arg(value_parser = name)]
    model: Option<ModelName>,
    #[command(flatten)]
    wanted: Wanted,
    /// Write the bins of the features as a picture: of those named, else of the worst 12
    #[arg(long, value_name = "FILE", requires = "model")]
    svg: Option<PathBuf>,
    /// Draw with blocks and colours also where that is no terminal
    #[arg(long, requires = "feature")]
    plot: bool,
    /// End with 6 where a feature has drifted, with 7 where nobody can tell: too few rows, or no profile
    #[arg(long, requires = "model")]
    check: bool,
}

/// What of a model is asked for.
#[derive(Args, Debug)]
struct Wanted {
    /// Version [default: the one that answers by default]
    #[arg(long, value_name = "VERSION", value_parser = version, requires = "model")]
    version: Option<Version>,
    /// Rows whose answers were sent, or those of mirrored requests
    #[arg(
        long,
        value_parser = ["primary", "shadow"],
        default_value = "primary",
        requires = "model"
    )]
    role: String,
    /// Only this feature, with its bins drawn; may be repeated
    #[arg(long, value_name = "NAME", requires = "model")]
    feature: Vec<String>,
    /// Only this window, such as 1h, in tables and pictures
    #[arg(long, value_name = "WINDOW", requires = "model")]
    window: Option<String>,
}

impl Drift {
    pub(super) fn run(self) -> ExitCode {
        end(self.try_run())
    }

    fn try_run(&self) -> Result<ExitCode, Failure> {
        let client = self.asking.client()?;
        match &self.model {
            Some(model) => self.version(&client, model),
            None => {
                let overview: Value = client.get("/admin/v1/drift")?;
                let typed = Overview::deserialize(&overview).map_err(strange)?;
                let format = self.asking.shown.format;
                output::print(format, &overview, |_| tables::overview(&typed))?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }

    fn version(&self, client: &Client, model: &ModelName) -> Result<ExitCode, Failure> {
        let path = format!("/admin/v1/drift/{model}");
        let whole: Value = client.get(&format!("{path}?{}", self.wanted.query()))?;
        let mut drift = VersionDrift::deserialize(&whole).map_err(strange)?;
        if let Some(label) = &self.wanted.window {
            drift.keep_window(label).map_err(|there| {
                let there = there.join(", ");
                Failure::Invalid(format!("no window '{label}'; there is {there}"))
            })?;
        }
        if let Some(file) = &self.svg {
            let window = self.wanted.window.as_ref();
            let window = window.map_or(String::new(), |label| format!("&window={}", escape(label)));
            let query = self.wanted.query();
            let picture = client.download(&format!("{path}/plot.svg?{query}{window}"))?;
            fs::write(file, picture)
                .map_err(|error| io::Error::other(format!("'{}': {error}", file.display())))?;
        }
        output::print(self.asking.shown.format, &whole, |_| self.text(&drift))?;
        Ok(if self.check { verdict(&drift) } else { ExitCode::SUCCESS })
    }

    /// A table, and bars of the features that are named.
    fn text(&self, drift: &VersionDrift) -> String {
        let mut text = tables::version(drift);
        let report = drift.report.as_ref().filter(|_| !self.wanted.feature.is_empty());
        for feature in report.iter().flat_map(|report| &report.features) {
            if let Some(window) = feature.worst() {
                text.push('\n');
                text.push_str(&plot::bars(feature, window, self.style()));
            }
        }
        text
    }

    fn style(&self) -> Style {
        let blocks = self.plot || io::stdout().is_terminal();
        let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Style { blocks, colours: blocks && !is_plain }
    }
}

impl Wanted {
    fn query(&self) -> String {
        let mut query = format!("role={}", self.role);
        if let Some(version) = self.version {
            query.push_str(&format!("&version={version}"));
        }
        for feature in &self.feature {
            query.push_str(&format!("&feature={}", escape(feature)));
        }
        query
    }
}

fn escape(text: &str) -> String {
    escaped(text.as_bytes())
}

/// What a pipeline may do with a version.
fn verdict(drift: &VersionDrift) -> ExitCode {
    match drift.report.as_ref().map(answer::Report::state) {
        Some(State::Drifted) => ExitCode::from(REJECTED),
        None | Some(State::Insufficient) => ExitCode::from(INCONCLUSIVE),
        Some(State::Ok | State::Warning) => ExitCode::SUCCESS,
    }
}

fn strange(error: serde_json::Error) -> Failure {
    Failure::Output(io::Error::other(format!("it is not of a form that is known here: {error}")))
}
