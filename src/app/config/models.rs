//! `models`: where models are, and how they are served.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::expand;
use super::model::{ModelOptions, ServingOptions};
use super::range::{Problem, Validate, within};
use crate::engine::ProbeLimits;
use crate::types::ModelName;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelsConfig {
    /// The folder of models; null means none but what the command line names.
    #[serde(deserialize_with = "expand::optional")]
    pub dir: Option<PathBuf>,
    /// Most bytes of model files that are kept on disk, in the data folder.
    /// What is served, or kept for a rollback, is never removed.
    pub cache_bytes: u64,
    /// Most bytes of memory that all loaded models may hold together; 0 means
    /// four fifths of what the machine, or the container, has.
    pub memory_bytes: u64,
    pub probe: ProbeConfig,
    /// Operator domains that models may use beside `ai.onnx` and `ai.onnx.ml`.
    pub allowed_domains: Vec<String>,
    /// How models are served that say nothing else.
    pub defaults: ServingOptions,
    /// By name of the model. These win over the model's own `model.yaml`.
    pub overrides: BTreeMap<String, ModelOptions>,
}

impl Default for ModelsConfig {
    fn default() -> ModelsConfig {
        ModelsConfig {
            dir: None,
            cache_bytes: 20 << 30,
            memory_bytes: 0,
            probe: ProbeConfig::default(),
            allowed_domains: vec!["com.microsoft".to_owned()],
            defaults: ServingOptions::default(),
            overrides: BTreeMap::new(),
        }
    }
}

/// What the first load of a version, in a process of its own, may use.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProbeConfig {
    /// From start to end.
    pub timeout_ms: u64,
    /// Of processor time.
    pub cpu_ms: u64,
    /// Of memory beyond what ONNX Runtime itself takes.
    pub memory_bytes: u64,
}

impl Default for ProbeConfig {
    fn default() -> ProbeConfig {
        ProbeConfig { timeout_ms: 60_000, cpu_ms: 60_000, memory_bytes: 4 << 30 }
    }
}

impl ProbeConfig {
    pub fn limits(&self) -> ProbeLimits {
        ProbeLimits {
            wall_ms: self.timeout_ms,
            cpu_ms: self.cpu_ms,
            memory_bytes: self.memory_bytes,
        }
    }
}

impl Validate for ProbeConfig {
    fn validate(&self) -> Result<(), Problem> {
        within("timeout_ms", self.timeout_ms, 100..=3_600_000)?;
        within("cpu_ms", self.cpu_ms, 100..=3_600_000)?;
        within("memory_bytes", self.memory_bytes, 16 << 20..=1 << 50)
    }
}

impl Validate for ModelsConfig {
    fn validate(&self) -> Result<(), Problem> {
        within("cache_bytes", self.cache_bytes, 1 << 20..=u64::MAX)?;
        self.probe.validate().map_err(|problem| problem.within("probe"))?;
        self.defaults.validate().map_err(|problem| problem.within("defaults"))?;
        for (name, options) in &self.overrides {
            let within = |problem: Problem| problem.within(&format!("overrides.{name}"));
            if let Err(error) = ModelName::parse(name) {
                return Err(Problem::new(format!("overrides.{name}"), error.to_string()));
            }
            options.validate().map_err(within)?;
        }
        Ok(())
    }
}
