//! The reference profile: what a model's inputs and outputs looked like where
//! it was trained. Written as JSON (`profile.json`), checked whole when read.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::alarm::AlarmRule;
use super::bins::Bins;
use super::derive::Derived;
use super::document::{AlarmDocument, ColumnDocument, Dictionary, ProfileDocument};
use super::tally::{Rate, Tally};
use crate::types::{Digest, ModelName};

/// The only version of the form.
pub const SCHEMA: &str = "modelgate.drift.profile/v1";

/// Where an ONNX file has its profile: the key in its metadata.
pub const METADATA_KEY: &str = "modelgate.drift.profile.v1";

/// Bytes of a profile. 100 columns of 10 bins take under 64 KiB; long lists of
/// known categories make the rest.
pub const MAX_PROFILE_BYTES: usize = 4 << 20;

/// What is wrong with a profile.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ProfileError {
    #[error("not a profile: {path}: {message}; expected JSON of the form {SCHEMA}")]
    Form { path: String, message: String },
    #[error("{path}: expected {expected}, found {found}; {fix}")]
    Value { path: String, expected: String, found: String, fix: &'static str },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    pub model: ModelName,
    /// Of the model file that the outputs are of, without [`METADATA_KEY`] in it.
    pub model_digest: Option<Digest>,
    /// When it was built, as its builder wrote it.
    pub created: Option<String>,
    pub source: Option<Source>,
    pub inputs: Vec<Column>,
    pub outputs: Vec<Column>,
    pub calibration: Option<Calibration>,
    pub quality: Option<ReferenceQuality>,
    pub alarm: AlarmRule,
    /// Rows that every column was counted over, at least.
    pub min_reference_rows: u64,
}

/// The data that a profile was built from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Where given, the values of every input add up to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_column: Option<String>,
    /// The first and the last time, as they stand in the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// Straight lines from score to probability, between knots.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    pub x: Vec<f64>,
    pub y: Vec<f64>,
}

/// The quality that was measured on the reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceQuality {
    pub metric: String,
    pub value: f64,
    /// What chunks of `chunk` rows stay between.
    pub lower: f64,
    pub upper: f64,
    pub chunk: u64,
}

/// What a column holds, and so how it is binned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Numbers between edges.
    Numeric,
    /// A few numbers, with a bin each.
    Values,
    /// Texts, with a bin for each of the most frequent.
    Categorical,
    /// A predicted class: numbers or texts, with a bin for each of the most frequent.
    Class,
    /// A probability between edges; saturation is counted.
    Score,
}

/// One number or text of every row, and its distribution in the reference.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// The `feature` label of its metrics.
    pub name: Arc<str>,
    /// The input or output that it is read from.
    pub tensor: Arc<str>,
    /// Its place within one row of the tensor; empty where a row is one value,
    /// and where it is derived of the whole row.
    pub index: Vec<usize>,
    pub kind: Kind,
    pub derived: Option<Derived>,
    pub bins: Bins,
    /// Counts of the reference: bins, missing and invalid.
    pub reference: Tally,
    /// Of numbers.
    pub summary: Option<Summary>,
    /// By how much counts vary more than those of independent rows; 1 or more.
    pub dispersion: f64,
    /// How the prediction log is to treat it; nothing here reads it.
    pub log: Option<String>,
}

/// Moments and quantiles of a column of numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    pub min: f64,
    pub max: f64,
    /// Quantiles at 0.1 % and 99.9 %.
    pub p001: f64,
    pub p999: f64,
    pub mean: f64,
    /// Of the whole population: divided by the number of values.
    pub std: f64,
}

impl Profile {
    /// Reads and checks a profile.
    ///
    /// # Errors
    /// The first thing that is wrong, with its path in the document.
    pub fn parse(json: &[u8]) -> Result<Profile, ProfileError> {
        if json.len() > MAX_PROFILE_BYTES {
            return Err(ProfileError::Value {
                path: "profile".to_owned(),
                expected: format!("at most {MAX_PROFILE_BYTES} bytes"),
                found: json.len().to_string(),
                fix: "leave out columns or dictionaries",
            });
        }
        let mut reader = serde_json::Deserializer::from_slice(json);
        let form = |path: String, message: String| ProfileError::Form { path, message };
        let document: ProfileDocument = serde_path_to_error::deserialize(&mut reader)
            .map_err(|error| form(error.path().to_string(), error.inner().to_string()))?;
        reader.end().map_err(|error| form(".".to_owned(), error.to_string()))?;
        document.check()
    }

    /// As it is written: what [`Profile::parse`] reads back equal.
    pub fn render(&self) -> Vec<u8> {
        let document = ProfileDocument {
            schema: SCHEMA.to_owned(),
            model: self.model.clone(),
            model_sha256: self.model_digest,
            created: self.created.clone(),
            source: self.source.clone(),
            inputs: self.inputs.iter().map(Column::document).collect(),
            outputs: self.outputs.iter().map(Column::document).collect(),
            calibration: self.calibration.clone(),
            quality: self.quality.clone(),
            alarm: AlarmDocument {
                psi: self.alarm.psi,
                warning_psi: self.alarm.warning_psi,
                p: self.alarm.p,
                min_rows: self.alarm.min_rows,
                min_reference_rows: self.min_reference_rows,
            },
        };
        serde_json::to_vec(&document).expect("it has no maps whose keys are not texts")
    }

    /// Without the columns at other places than these.
    pub fn only(&self, places: &[usize]) -> Profile {
        let of = |columns: &[Column], first: usize| {
            let kept = columns.iter().enumerate().filter(|(at, _)| places.contains(&(first + at)));
            kept.map(|(_, column)| column.clone()).collect()
        };
        let (inputs, outputs) = (of(&self.inputs, 0), of(&self.outputs, self.inputs.len()));
        Profile { inputs, outputs, ..self.clone() }
    }

    /// Inputs, then outputs.
    pub fn columns(&self) -> impl Iterator<Item = &Column> + Clone {
        self.inputs.iter().chain(&self.outputs)
    }
}

impl Column {
    /// An empty tally of its bins.
    pub fn tally(&self) -> Tally {
        Tally::new(self.bins.count())
    }

    /// Live rows below which nothing is said: `least`, and so many that every
    /// bin of the reference expects five. Bins that are empty in the reference
    /// do not count, nor does the bin of others.
    pub fn min_rows(&self, least: u64) -> u64 {
        let named = self.bins.other().unwrap_or(self.bins.count());
        let counts = self.reference.bins().iter().take(named).filter(|count| **count > 0);
        let fewest = counts.min().copied().unwrap_or(1);
        least.max((5 * self.reference.binned()).div_ceil(fewest))
    }

    fn document(&self) -> ColumnDocument {
        let mut counts = self.reference.bins().to_vec();
        let other = self.bins.other().and_then(|_| counts.pop());
        let (mut edges, mut values, mut categories, mut dictionary) = (None, None, None, None);
        match &self.bins {
            Bins::Edges(bins) => edges = Some(bins.edges().to_vec()),
            Bins::Values(bins) => {
                values = Some(bins.values().to_vec());
                dictionary = bins.rest().map(|rest| Dictionary::Numbers(rest.to_vec()));
            }
            Bins::Categories(bins) => {
                categories = Some(bins.categories().to_vec());
                dictionary = bins.rest().map(|rest| Dictionary::Texts(rest.to_vec()));
            }
        }
        let summary = self.summary;
        ColumnDocument {
            name: self.name.to_string(),
            tensor: self.tensor.to_string(),
            index: self.index.clone(),
            kind: self.kind,
            derived: self.derived,
            edges,
            values,
            categories,
            counts,
            other,
            dictionary,
            missing: self.reference.rate(Rate::Missing),
            invalid: self.reference.rate(Rate::Invalid),
            min: summary.map(|summary| summary.min),
            max: summary.map(|summary| summary.max),
            p001: summary.map(|summary| summary.p001),
            p999: summary.map(|summary| summary.p999),
            mean: summary.map(|summary| summary.mean),
            std: summary.map(|summary| summary.std),
            dispersion: self.dispersion,
            log: self.log.clone(),
        }
    }
}
