//! `modelgate push`.

mod prove;
mod provenance;
mod wait;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::output::{self, Shown};
use super::{CANNOT_REACH, CONFIG_INVALID, FAILED, REJECTED};
use crate::app::config::Config;
use crate::app::registries;
use crate::control;
use crate::onnx::ScanRules;
use crate::registry::{
    Bucket, GcsOptions, Package, Progress, PushError, Pushed, S3Options, SourceError, Target, push,
};
use crate::types::{Digest, ModelName, Version};

/// How often the progress line is written.
const TICK: Duration = Duration::from_millis(200);

#[derive(Args, Debug)]
pub(super) struct Push {
    /// The model: an .onnx file, or a folder whose files belong to it
    path: PathBuf,
    /// Name of the model
    #[arg(value_parser = ModelName::parse)]
    name: ModelName,
    /// Number of the version [default: the highest and one more]
    #[arg(long, value_parser = Version::parse)]
    version: Option<Version>,
    /// Where to: a registry's name in the configuration, a folder, s3://BUCKET/PREFIX or
    /// gs://BUCKET/PREFIX [default: the only registry there is]
    #[arg(long, env = "MODELGATE_TO", value_name = "REGISTRY")]
    to: Option<String>,
    /// Reference profile of the training data
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Inputs and the outputs expected for them
    #[arg(long, value_name = "FILE")]
    golden: Option<PathBuf>,
    #[command(flatten)]
    provenance: provenance::ProvenanceFlags,
    #[command(flatten)]
    prove: prove::ProveFlags,
    #[command(flatten)]
    wait: wait::WaitFlags,
    /// Configuration file that names registries
    #[arg(long, env = "MODELGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of models, which is a registry too
    #[arg(long, env = "MODELGATE_MODELS", value_name = "DIR")]
    models: Option<PathBuf>,
    #[command(flatten)]
    shown: Shown,
}

/// What was pushed, and what came of it.
#[derive(Serialize)]
struct Report<'a> {
    model: &'a ModelName,
    version: Version,
    digest: Digest,
    bytes: u64,
    place: &'a str,
    files: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'a wait::Outcome>,
}

/// Why a push ends early, with its exit code.
struct Failure(u8, String);

impl Push {
    pub(super) fn run(self) -> ExitCode {
        match self.push() {
            Ok(code) => ExitCode::from(code),
            Err(Failure(code, reason)) => {
                eprintln!("{reason}");
                ExitCode::from(code)
            }
        }
    }

    fn push(&self) -> Result<u8, Failure> {
        let config = self.config()?;
        let target = self.target(&config)?;
        let (profile, golden) = (self.profile.as_deref(), self.golden.as_deref());
        let domains = &config.models.allowed_domains;
        let rules = ScanRules { allowed_domains: domains.iter().cloned().collect() };
        let mut package = Package::collect(&self.path, profile, golden, &rules).map_err(failure)?;
        let limits = config.models.probe.limits();
        package.manifest.signature =
            self.prove.prove(&package, limits, domains).map_err(failure)?;
        self.check_profile(&package)?;
        package.manifest.provenance = self.provenance.provenance(&self.path);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure(FAILED, error.to_string()))?;
        let pushed = runtime.block_on(self.upload(&target, &package)).map_err(failure)?;
        let outcome = self.wait.patience().map(|patience| {
            eprintln!("pushed {} version {}; waiting for it", self.name, pushed.version);
            wait::wait(&self.wait, patience, &self.name, &pushed)
        });
        self.print(&package, &pushed, outcome.as_ref())?;
        Ok(outcome.map_or(0, |outcome| outcome.exit_code()))
    }

    /// What the gateway would not compare traffic with is not pushed as a profile.
    fn check_profile(&self, package: &Package) -> Result<(), Failure> {
        let files = |name: &str| package.file(name).map(Path::to_owned);
        let signature = package.manifest.signature.as_ref();
        control::check_profile(files, &self.name, signature)
            .map_err(|fault| Failure(REJECTED, output::plain(&fault.to_string())))
    }

    fn config(&self) -> Result<Config, Failure> {
        let mut config = match &self.config {
            Some(file) => {
                Config::load(file).map_err(|error| Failure(CONFIG_INVALID, error.to_string()))?
            }
            None => Config::default(),
        };
        config.models.dir = self.models.clone().or(config.models.dir);
        Ok(config)
    }

    fn target(&self, config: &Config) -> Result<Target, Failure> {
        let unusable = |error: SourceError| Failure(FAILED, error.to_string());
        let to = self.to.as_deref();
        if let Some(place) = to.and_then(|to| to.strip_prefix("s3://")) {
            let (bucket, prefix) = split(place);
            let options = S3Options { bucket, prefix, ..S3Options::default() };
            return Bucket::s3(&options).map(Target::Bucket).map_err(unusable);
        }
        if let Some(place) = to.and_then(|to| to.strip_prefix("gs://")) {
            let (bucket, prefix) = split(place);
            let options = GcsOptions { bucket, prefix, ..GcsOptions::default() };
            return Bucket::gcs(&options).map(Target::Bucket).map_err(unusable);
        }
        // A path is told from a name by its slash.
        match to.filter(|to| to.contains('/') || *to == "." || *to == "..") {
            Some(folder) => Ok(Target::Dir(PathBuf::from(folder))),
            None => {
                registries::target(config, to).map_err(|error| Failure(FAILED, error.to_string()))
            }
        }
    }

    async fn upload(&self, target: &Target, package: &Package) -> Result<Pushed, PushError> {
        let progress = Progress::default();
        let mut pushing =
            std::pin::pin!(push(target, &self.name, self.version, package, &progress));
        if !std::io::stderr().is_terminal() {
            return pushing.await;
        }
        let total = package.bytes().max(1);
        loop {
            match tokio::time::timeout(TICK, &mut pushing).await {
                Ok(pushed) => {
                    eprint!("\r\u{1b}[K");
                    return pushed;
                }
                Err(_) => {
                    let percent = progress.bytes().saturating_mul(100) / total;
                    eprint!("\rpushing {}: {percent} % of {}", self.name, output::bytes(total));
                    let _ = std::io::stderr().flush();
                }
            }
        }
    }

    fn print(
        &self,
        package: &Package,
        pushed: &Pushed,
        outcome: Option<&wait::Outcome>,
    ) -> Result<(), Failure> {
        let report = Report {
            model: &self.name,
            version: pushed.version,
            digest: pushed.digest,
            bytes: pushed.bytes,
            place: &pushed.place,
            files: package.manifest.files.len(),
            outcome,
        };
        output::print(self.shown.format, &report, table)
            .map_err(|error| Failure(FAILED, format!("pushed, but cannot write that: {error}")))
    }
}

fn table(report: &Report<'_>) -> String {
    let mut rows = vec![
        ("model", report.model.to_string()),
        ("version", report.version.to_string()),
        ("digest", report.digest.to_string()),
        ("size", format!("{} in {} files", output::bytes(report.bytes), report.files)),
        ("place", report.place.to_owned()),
    ];
    if let Some(outcome) = report.outcome {
        rows.push(("outcome", output::plain(&outcome.to_string())));
    }
    let lines: Vec<String> = rows.iter().map(|(key, value)| format!("{key:<8} {value}")).collect();
    lines.join("\n")
}

/// Bucket and prefix of what follows `s3://`.
fn split(place: &str) -> (String, String) {
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    (bucket.to_owned(), prefix.to_owned())
}

fn failure(error: PushError) -> Failure {
    let code = match &error {
        PushError::Rejected(_) => REJECTED,
        PushError::Registry(SourceError::Unreachable(_)) => CANNOT_REACH,
        _ => FAILED,
    };
    Failure(code, error.to_string())
}
