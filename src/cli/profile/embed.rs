//! `modelgate profile embed`.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{Failure, file};
use crate::cli::{REJECTED, output};
use crate::control::graph_digest;
use crate::drift::profile::METADATA_KEY;
use crate::onnx::{self, ScanError};

#[derive(Args, Debug)]
pub(super) struct Embed {
    /// The model: an .onnx file. Weights beside it stay where they are
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// The profile that goes into its metadata, in place of one that is there
    #[arg(long, value_name = "FILE", default_value = "profile.json")]
    profile: PathBuf,
    /// Where the model with the profile goes; MODEL itself will do
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
}

impl Embed {
    /// Exits with 3 where the profile is not valid, with 6 where the model is no sound file.
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let (profile, text) = file::read_text(&self.profile)?;
        let refused = |error: &ScanError| {
            Failure(REJECTED, format!("the model '{}': {error}", self.model.display()))
        };
        let own = graph_digest(&self.model).map_err(|error| refused(&error))?;
        if profile.model_digest.is_some_and(|stated| stated != own) {
            eprintln!(
                "the profile was built with another model file: what it says about outputs may not \
                 hold for this one; build it anew with --model"
            );
        }
        let model = File::open(&self.model)
            .and_then(|model| Ok((model.metadata()?.len(), model)))
            .map_err(ScanError::Io);
        let (bytes, model) = model.map_err(|error| refused(&error))?;
        // As it is in the file, so that it is the same profile wherever it is found.
        file::write(&self.out, |out| {
            onnx::with_metadata(model, bytes, (METADATA_KEY, &text), out).map_err(|error| {
                match error {
                    ScanError::Io(error) => error,
                    other => io::Error::other(other),
                }
            })
        })?;
        let size = output::bytes(std::fs::metadata(&self.out)?.len());
        eprintln!("wrote {} ({size}), with a profile of '{}'", self.out.display(), profile.model);
        Ok(ExitCode::SUCCESS)
    }
}
