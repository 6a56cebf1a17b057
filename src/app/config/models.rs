//! `models`: where models are, and how they are served.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::expand;
use super::model::{ModelOptions, ServingOptions};
use super::range::{Problem, Validate};
use crate::types::ModelName;

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelsConfig {
    /// The folder of models; null means none but what the command line names.
    #[serde(deserialize_with = "expand::optional")]
    pub dir: Option<PathBuf>,
    /// How models are served that say nothing else.
    pub defaults: ServingOptions,
    /// By name of the model. These win over the model's own `model.yaml`.
    pub overrides: BTreeMap<String, ModelOptions>,
}

impl Validate for ModelsConfig {
    fn validate(&self) -> Result<(), Problem> {
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
