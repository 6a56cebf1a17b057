//! `drift`: traffic compared with what models were trained on.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::range::{Problem, Validate, within};
use crate::types::ModelName;

const HOUR_MS: u64 = 3_600_000;

/// Windows are made of 60 or 96 buckets, each of whole microseconds and
/// windows named by whole seconds.
const STEP_MS: u64 = 6_000;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct DriftConfig {
    /// Whether traffic is compared with profiles.
    pub enabled: bool,
    /// Lengths of the sliding windows that are compared, the shortest first.
    pub windows_ms: Vec<u64>,
    /// From one look at the counts to the next.
    pub every_ms: u64,
    /// How long drift has to be seen before it is an alarm.
    pub hold_ms: u64,
    /// How long not even a warning is seen before an alarm ends.
    pub keep_ms: u64,
    /// Profiles of versions that bring none along, learnt from their traffic.
    pub bootstrap: Bootstrap,
    /// By name of the model, where not all of this is right for it.
    pub models: BTreeMap<String, ModelDrift>,
}

/// How a profile is learnt: first its bins, then the counts in them. Each takes
/// as long as both bounds say.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bootstrap {
    pub enabled: bool,
    pub survey_rows: u64,
    pub survey_ms: u64,
    pub count_rows: u64,
    pub count_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelDrift {
    pub enabled: bool,
    /// Whether a profile is learnt for versions without.
    pub bootstrap: bool,
    /// A profile for all its versions, in place of each version's own.
    pub profile: Option<PathBuf>,
}

impl Default for DriftConfig {
    fn default() -> DriftConfig {
        DriftConfig {
            enabled: true,
            windows_ms: vec![HOUR_MS, 24 * HOUR_MS],
            every_ms: 10_000,
            hold_ms: HOUR_MS / 6,
            keep_ms: HOUR_MS / 2,
            bootstrap: Bootstrap::default(),
            models: BTreeMap::new(),
        }
    }
}

impl Default for Bootstrap {
    fn default() -> Bootstrap {
        Bootstrap {
            enabled: true,
            survey_rows: 10_000,
            survey_ms: 24 * HOUR_MS,
            count_rows: 20_000,
            count_ms: 24 * HOUR_MS,
        }
    }
}

impl Default for ModelDrift {
    fn default() -> ModelDrift {
        ModelDrift { enabled: true, bootstrap: true, profile: None }
    }
}

impl DriftConfig {
    /// What a model's options are.
    pub fn model(&self, name: &ModelName) -> ModelDrift {
        self.models.get(name.as_str()).cloned().unwrap_or_default()
    }

    /// Whether nothing differs but options of single models and how profiles are
    /// learnt, which a reload puts into force.
    pub fn is_same_service(&self, other: &DriftConfig) -> bool {
        let without = |config: &DriftConfig| DriftConfig {
            bootstrap: Bootstrap::default(),
            models: BTreeMap::new(),
            ..config.clone()
        };
        without(self) == without(other)
    }
}

impl Validate for DriftConfig {
    fn validate(&self) -> Result<(), Problem> {
        within("windows_ms", self.windows_ms.len(), 1..=4).map_err(|problem| {
            Problem::new("windows_ms", format!("{} windows", problem.message))
        })?;
        for window in &self.windows_ms {
            within("windows_ms", *window, STEP_MS..=7 * 24 * HOUR_MS)?;
            if window % STEP_MS != 0 {
                let message = format!("expected a multiple of {STEP_MS}, got {window}");
                return Err(Problem::new("windows_ms", message));
            }
        }
        if !self.windows_ms.is_sorted_by(|one, next| one < next) {
            let message = "expected the shortest first, and none twice".to_owned();
            return Err(Problem::new("windows_ms", message));
        }
        within("every_ms", self.every_ms, 100..=HOUR_MS)?;
        within("hold_ms", self.hold_ms, 0..=24 * HOUR_MS)?;
        within("keep_ms", self.keep_ms, 0..=24 * HOUR_MS)?;
        let Bootstrap { survey_rows, survey_ms, count_rows, count_ms, .. } = self.bootstrap;
        within("bootstrap.survey_rows", survey_rows, 100..=100_000_000)?;
        within("bootstrap.count_rows", count_rows, 100..=100_000_000)?;
        within("bootstrap.survey_ms", survey_ms, 0..=31 * 24 * HOUR_MS)?;
        within("bootstrap.count_ms", count_ms, 0..=31 * 24 * HOUR_MS)?;
        for name in self.models.keys() {
            ModelName::parse(name).map_err(|error| Problem::new("models", error.to_string()))?;
        }
        Ok(())
    }
}
