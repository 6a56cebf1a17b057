//! The gateway's configuration: one YAML file in which everything has a
//! default, the same options for single models, and files of routes.
//!
//! String values (addresses, paths, the log level) may refer to `${VAR}`,
//! `${VAR:-default}` and `${file:/path}`. The reference is
//! `modelgate.example.yaml`, which a test holds to these types.

mod drift;
mod error;
mod expand;
mod limits;
mod locate;
mod model;
mod models;
mod onnxruntime;
mod parse;
mod predictions;
mod quality;
mod range;
mod registries;
mod retrain;
mod route_file;
mod routes;
mod server;
mod shown;
mod telemetry;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use drift::{DriftConfig, ModelDrift};
pub use error::{ConfigError, Invalid};
pub use limits::LimitsConfig;
pub use model::{
    Batching, Execution, LabelTarget, LabelWord, Mode, ModelOptions, ModelSettings, ServingOptions,
    SessionOverrides, SignaturePolicy, Swap, Versions,
};
pub use models::{ModelsConfig, ProbeConfig};
pub use onnxruntime::{OnnxRuntimeConfig, Optimization, SessionOptions};
pub use predictions::PredictionsConfig;
pub use quality::QualityConfig;
pub use registries::{AzureConfig, DirConfig, GcsConfig, RegistryConfig, S3Config};
pub use retrain::{DeliverConfig, DeliverTo, ModelRetrain, OnInputDrift, RetrainConfig};
pub use route_file::RouteFile;
pub use routes::RoutesConfig;
pub use server::{ServerConfig, ShutdownConfig};
pub use shown::shown;
pub use telemetry::TelemetryConfig;

use crate::types::ModelName;
use range::{Problem, Validate};

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub server: ServerConfig,
    pub limits: LimitsConfig,
    pub onnxruntime: OnnxRuntimeConfig,
    /// By name; `models` is that of `models.dir`.
    pub registries: BTreeMap<String, RegistryConfig>,
    pub models: ModelsConfig,
    pub routes: RoutesConfig,
    pub predictions: PredictionsConfig,
    pub quality: QualityConfig,
    pub drift: DriftConfig,
    pub retrain: RetrainConfig,
    pub telemetry: TelemetryConfig,
}

impl Config {
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        parse::load(path)
    }

    /// Reads `yaml`, which came from `source`: a name for error messages.
    pub fn parse(yaml: &str, source: &str) -> Result<Config, ConfigError> {
        parse::parse(yaml, source)
    }

    /// Checks a configuration that was put together rather than read, as where
    /// flags won over a file. `source` names it in the error.
    pub fn check(&self, source: &str) -> Result<(), ConfigError> {
        self.validate().map_err(|problem| ConfigError::problem(problem, "", source))
    }

    /// How the model `name` is served: the built-in defaults, `models.defaults`,
    /// the model's own `model.yaml` where there is one, `models.overrides`, each
    /// over the one before.
    pub fn model_settings(&self, name: &ModelName, own: Option<&ModelOptions>) -> ModelSettings {
        let mut settings = ModelSettings {
            serving: self.models.defaults.clone(),
            session: self.onnxruntime.session(),
            labels: Default::default(),
            features: Default::default(),
            version_labels: Default::default(),
        };
        for options in own.into_iter().chain(self.models.overrides.get(name.as_str())) {
            options.apply_to(&mut settings);
        }
        settings
    }
}

impl Validate for Config {
    fn validate(&self) -> Result<(), Problem> {
        self.server.validate().map_err(|problem| problem.within("server"))?;
        self.limits.validate().map_err(|problem| problem.within("limits"))?;
        self.onnxruntime.validate().map_err(|problem| problem.within("onnxruntime"))?;
        for (name, registry) in &self.registries {
            registries::check_name(name).map_err(|problem| problem.within("registries"))?;
            let within = |problem: Problem| problem.within(&format!("registries.{name}"));
            registry.validate().map_err(within)?;
        }
        self.models.validate().map_err(|problem| problem.within("models"))?;
        self.routes.validate().map_err(|problem| problem.within("routes"))?;
        self.predictions.validate().map_err(|problem| problem.within("predictions"))?;
        self.quality.validate().map_err(|problem| problem.within("quality"))?;
        self.drift.validate().map_err(|problem| problem.within("drift"))?;
        self.retrain.validate().map_err(|problem| problem.within("retrain"))?;
        self.telemetry.validate().map_err(|problem| problem.within("telemetry"))
    }
}

#[cfg(test)]
mod tests;
