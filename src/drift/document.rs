//! A profile as it is written: `profile.json`. What is wrong with one is said
//! by `validate`.

use serde::{Deserialize, Serialize};

use super::derive::Derived;
use super::profile::{Calibration, Kind, ReferenceQuality, Source};
use crate::types::{Digest, ModelName};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProfileDocument {
    pub(super) schema: String,
    pub(super) model: ModelName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) model_sha256: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) created: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<Source>,
    pub(super) inputs: Vec<ColumnDocument>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) outputs: Vec<ColumnDocument>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) calibration: Option<Calibration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) quality: Option<ReferenceQuality>,
    #[serde(default)]
    pub(super) alarm: AlarmDocument,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AlarmDocument {
    pub(super) psi: f64,
    pub(super) warning_psi: f64,
    pub(super) p: f64,
    pub(super) min_rows: u64,
    pub(super) min_reference_rows: u64,
}

/// Which of the fields a column has depends on its kind.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ColumnDocument {
    pub(super) name: String,
    pub(super) tensor: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) index: Vec<usize>,
    pub(super) kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) derived: Option<Derived>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) edges: Option<Vec<f64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) values: Option<Vec<f64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) categories: Option<Vec<String>>,
    /// By bin, without the bin of others.
    pub(super) counts: Vec<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) other: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) dictionary: Option<Dictionary>,
    #[serde(default)]
    pub(super) missing: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) invalid: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) max: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) p001: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) p999: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) mean: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) std: Option<f64>,
    #[serde(default = "one")]
    pub(super) dispersion: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) log: Option<String>,
}

/// Values of the reference that have no bin of their own.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Dictionary {
    Numbers(Vec<f64>),
    Texts(Vec<String>),
}

fn one() -> f64 {
    1.0
}

// serde hands skip_serializing_if a reference.
fn is_zero(count: &u64) -> bool {
    *count == 0
}
