//! `modelgate profile check`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::model::ModelFlags;
use super::summary::Summary;
use super::{Failure, file};
use crate::cli::REJECTED;
use crate::cli::output::{self, Shown};

#[derive(Args, Debug)]
pub(super) struct Check {
    /// The profile
    #[arg(value_name = "PROFILE")]
    profile: PathBuf,
    #[command(flatten)]
    model: ModelFlags,
    #[command(flatten)]
    shown: Shown,
}

#[derive(Serialize)]
struct Checked<'a> {
    /// None without a model.
    #[serde(skip_serializing_if = "Option::is_none")]
    fits: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    misfits: Vec<String>,
    #[serde(flatten)]
    profile: Summary<'a>,
}

impl Check {
    /// Exits with 3 where the profile is not valid, with 6 where it does not fit.
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let profile = file::read(&self.profile)?;
        let model = self.model.model()?;
        let misfits: Option<Vec<String>> = model.as_ref().map(|model| {
            let misfits = profile.misfits(&model.signature);
            misfits.iter().map(ToString::to_string).collect()
        });
        if let (Some(own), Some(model)) = (profile.model_digest, &model)
            && own != model.digest
        {
            eprintln!("the outputs are of another model: the profile says {own}");
        }
        let fits = misfits.as_ref().map(Vec::is_empty);
        let misfits = misfits.unwrap_or_default();
        let checked = Checked { fits, misfits, profile: Summary::of(&profile) };
        output::print(self.shown.format, &checked, text)?;
        let fails = checked.fits == Some(false);
        Ok(if fails { ExitCode::from(REJECTED) } else { ExitCode::SUCCESS })
    }
}

fn text(checked: &Checked<'_>) -> String {
    let mut text = checked.profile.text();
    for misfit in &checked.misfits {
        text.push_str(&output::plain(misfit));
        text.push('\n');
    }
    text.push_str(match checked.fits {
        None => "valid\n",
        Some(true) => "valid, and fits the model\n",
        Some(false) => "valid, and does NOT fit the model\n",
    });
    text
}
