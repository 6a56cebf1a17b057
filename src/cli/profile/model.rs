//! What a model takes and gives: found out in the sandbox, as the gateway does.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use super::Failure;
use crate::app::config::ModelOptions;
use crate::cli::REJECTED;
use crate::cli::probe;
use crate::control::graph_digest;
use crate::engine::{Library, ProbeLimits};
use crate::types::{Digest, MODEL_FILE, ModelName, RejectKind, Signature};

const OPTIONS_FILE: &str = "model.yaml";

#[derive(Args, Debug)]
pub(super) struct ModelFlags {
    /// The model: an .onnx file, or the folder of a version. Names of columns are those of
    /// model.yaml, in its folder or the one above
    #[arg(long, value_name = "PATH")]
    model: Option<PathBuf>,
    /// ONNX Runtime's shared library, 1.28 or later [default: searched for]
    #[arg(long, env = "MODELGATE_ONNXRUNTIME", value_name = "PATH")]
    onnxruntime: Option<PathBuf>,
}

/// A model, as far as a profile is about it.
#[derive(Debug)]
pub(super) struct Model {
    /// What the registry calls it, or its file.
    pub(super) name: Option<ModelName>,
    /// Of its file, without a profile in its metadata.
    pub(super) digest: Digest,
    pub(super) signature: Signature,
    pub(super) options: ModelOptions,
}

impl ModelFlags {
    /// # Errors
    /// Where the model cannot be tried, or no gateway would serve it.
    pub(super) fn model(&self) -> Result<Option<Model>, Failure> {
        let Some(path) = &self.model else { return Ok(None) };
        let failed = |error: std::io::Error| {
            Failure::of(format!("cannot read the model '{}': {error}", path.display()))
        };
        let path = fs::canonicalize(path).map_err(failed)?;
        let file = if path.is_dir() { path.join(MODEL_FILE) } else { path };
        let digest = graph_digest(&file).map_err(|error| {
            Failure(REJECTED, format!("the model '{}': {error}", file.display()))
        })?;
        let library = Library::open(self.onnxruntime.as_deref())
            .map_err(|error| Failure::of(error.to_string()))?;
        let limits = ProbeLimits { wall_ms: 60_000, cpu_ms: 120_000, memory_bytes: 8 << 30 };
        // What the gateway allows without a configuration.
        let domains = ["com.microsoft".to_owned()];
        let report = probe::try_at(&file, &library, limits, &domains).map_err(|rejection| {
            let code = match rejection.kind {
                RejectKind::Internal => crate::cli::FAILED,
                _ => REJECTED,
            };
            Failure(code, format!("the model '{}': {}", file.display(), rejection.reason))
        })?;
        let options = options(&file)?;
        Ok(Some(Model { name: name(&file), digest, signature: report.signature, options }))
    }
}

/// Of `NAME/VERSION/model.onnx` the folder's name, else the file's.
fn name(file: &Path) -> Option<ModelName> {
    let version = file.parent()?;
    let is_version = version.file_name()?.to_str()?.parse::<u64>().is_ok();
    let name = match version.parent() {
        Some(folder) if is_version => folder.file_name(),
        _ => file.file_stem(),
    };
    ModelName::parse(name?.to_str()?).ok()
}

fn options(file: &Path) -> Result<ModelOptions, Failure> {
    for folder in file.ancestors().skip(1).take(2) {
        let path = folder.join(OPTIONS_FILE);
        match fs::read_to_string(&path) {
            Ok(text) => {
                return ModelOptions::parse(&text)
                    .map_err(|error| Failure::invalid(format!("'{}': {error}", path.display())));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::of(format!("'{}': {error}", path.display()))),
        }
    }
    Ok(ModelOptions::default())
}
