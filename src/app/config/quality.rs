//! `quality`: predictions joined with the labels that come later.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::range::{Problem, Validate, within};
use crate::quality::Declared;
use crate::types::ModelName;

const MIB: usize = 1 << 20;
const DAY_MS: u64 = 24 * 3_600_000;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct QualityConfig {
    /// Whether answers are remembered for labels, and labels are taken.
    pub enabled: bool,
    /// Most rows of answers that wait for labels; beyond them the oldest go.
    pub index_rows: usize,
    /// Most bytes that they take up.
    pub index_bytes: usize,
    /// Most labels that wait for their predictions; beyond them the oldest go.
    pub pending_labels: usize,
    /// How long answers and labels wait for each other.
    pub wait_ms: u64,
    /// How outputs are to be read, by name of the model, where they do not say it.
    pub models: BTreeMap<String, Declared>,
}

impl Default for QualityConfig {
    fn default() -> QualityConfig {
        QualityConfig {
            enabled: true,
            index_rows: 1_000_000,
            index_bytes: 256 * MIB,
            pending_labels: 100_000,
            wait_ms: DAY_MS,
            models: BTreeMap::new(),
        }
    }
}

impl Validate for QualityConfig {
    fn validate(&self) -> Result<(), Problem> {
        within("index_rows", self.index_rows, 1..=100_000_000)?;
        within("index_bytes", self.index_bytes, MIB..=1 << 40)?;
        within("pending_labels", self.pending_labels, 1..=10_000_000)?;
        within("wait_ms", self.wait_ms, 1_000..=365 * DAY_MS)?;
        for name in self.models.keys() {
            ModelName::parse(name).map_err(|error| Problem::new("models", error.to_string()))?;
        }
        Ok(())
    }
}
