//! What a scrape is told of the versions that are watched.

use std::sync::Arc;

use super::series::{DriftSeries, ProfileState};
use crate::types::{ModelName, Version};

/// One version at one moment.
#[derive(Clone, Debug)]
pub struct DriftReading {
    pub model: ModelName,
    pub version: Version,
    pub state: ProfileState,
    /// None without a profile.
    pub series: Option<Arc<DriftSeries>>,
    /// Columns of the profile that have no series.
    pub unexported: usize,
    /// The role of its own answers, and others that there are.
    pub roles: Vec<DriftOfRole>,
}

/// One version under one role.
#[derive(Clone, Debug)]
pub struct DriftOfRole {
    pub role: &'static str,
    /// Of the first features of the version's series.
    pub features: Vec<DriftCounts>,
    /// By window; of all columns, with series or without.
    pub states: Vec<DriftStates>,
}

/// How many columns are in each state, by the state's name.
#[derive(Clone, Debug)]
pub struct DriftStates {
    pub window: Arc<str>,
    pub columns: Vec<(&'static str, u64)>,
}

/// What was counted of one feature since its version has its profile.
#[derive(Clone, Debug, Default)]
pub struct DriftCounts {
    /// By bin.
    pub bins: Vec<u64>,
    pub missing: u64,
    pub infinite: u64,
    pub unreadable: u64,
    pub below: u64,
    pub above: u64,
    pub unseen: u64,
    pub saturated: u64,
    pub scaled_sum: f64,
    pub scaled_squares: f64,
    /// None before the first look.
    pub look: Option<DriftLook>,
}

/// What the last look at one feature's counts found.
#[derive(Clone, Debug)]
pub struct DriftLook {
    pub evidence_log10: Option<f64>,
    pub windows: Vec<DriftScores>,
}

/// One feature in one window.
#[derive(Clone, Debug)]
pub struct DriftScores {
    pub window: Arc<str>,
    pub is_alarmed: bool,
    /// Whether there are rows enough for scores to mean anything.
    pub is_sufficient: bool,
    pub psi: f64,
    pub psi_adjusted: f64,
    pub js_distance: f64,
    pub ks_statistic: Option<f64>,
    pub wasserstein_stddevs: Option<f64>,
}
