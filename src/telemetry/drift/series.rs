//! What stays the same of a version's series while it has one profile: made
//! once, so that a scrape only copies it.

use crate::telemetry::exposition::written;
use crate::types::{ModelName, Version};

/// Whether a version has a profile; the `state` label of
/// `modelgate_drift_profile_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProfileState {
    None,
    /// It is being learnt from live traffic.
    Warming,
    Active,
}

impl ProfileState {
    pub const ALL: [ProfileState; 3] =
        [ProfileState::None, ProfileState::Warming, ProfileState::Active];

    pub fn label(self) -> &'static str {
        match self {
            ProfileState::None => "none",
            ProfileState::Warming => "warming",
            ProfileState::Active => "active",
        }
    }
}

/// The profile of a version, as labels name it.
#[derive(Clone, Debug)]
pub struct DriftProfile {
    /// The first digits of its digest.
    pub id: String,
    pub sha256: String,
    pub source: &'static str,
}

/// A column of a profile.
#[derive(Clone, Debug)]
pub struct DriftColumn<'a> {
    pub name: &'a str,
    /// Counts of the reference, by bin.
    pub reference: &'a [u64],
    pub dispersion: f64,
    /// Whether it is a number.
    pub is_number: bool,
    /// Whether values out of the reference's range are counted; else those that
    /// it does not have.
    pub has_range: bool,
    /// Whether scores near 0 and 1 are counted.
    pub is_score: bool,
}

/// One feature's part of a version's series.
#[derive(Clone, Debug)]
pub struct DriftFeature {
    /// Model, version, profile and feature, as they stand in samples.
    pub(super) labels: String,
    pub(super) reference: Box<[u64]>,
    pub(super) dispersion: f64,
    pub(super) is_number: bool,
    pub(super) has_range: bool,
    pub(super) is_score: bool,
}

/// A version's series.
#[derive(Clone, Debug)]
pub struct DriftSeries {
    pub(super) profile: DriftProfile,
    /// Model and version, as they stand in samples.
    pub(super) labels: String,
    pub(super) features: Vec<DriftFeature>,
}

impl DriftSeries {
    pub fn new<'a>(
        model: &ModelName,
        version: Version,
        profile: DriftProfile,
        columns: impl Iterator<Item = DriftColumn<'a>>,
    ) -> DriftSeries {
        let number = version.to_string();
        let own = [("model", model.as_str()), ("version", number.as_str())];
        let features = columns.map(|column| DriftFeature {
            labels: written(&[own[0], own[1], ("profile", &profile.id), ("feature", column.name)]),
            reference: column.reference.into(),
            dispersion: column.dispersion,
            is_number: column.is_number,
            has_range: column.has_range,
            is_score: column.is_score,
        });
        DriftSeries { labels: written(&own), features: features.collect(), profile }
    }

    /// Of so many roles and windows the most that a page has of each feature.
    pub fn costs(&self, roles: usize, windows: usize) -> impl Iterator<Item = usize> {
        self.features.iter().map(move |feature| {
            let bins = feature.reference.len();
            // Reference and dispersion; counts, missing, two reasons of invalid ones, evidence.
            let (fixed, mut counted) = (bins + 1, bins + 4);
            counted += if feature.has_range { 2 } else { 1 };
            counted += if feature.is_number { 2 } else { 0 };
            counted += usize::from(feature.is_score);
            let scores = if feature.is_number { 6 } else { 4 };
            fixed + roles * (counted + windows * scores)
        })
    }
}
