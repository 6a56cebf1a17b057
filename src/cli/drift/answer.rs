//! What the gateway tells of drift, as far as it is shown here.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::drift::State;
use crate::types::{ModelName, Version};

#[derive(Debug, Deserialize)]
pub(super) struct Overview {
    pub(super) enabled: bool,
    pub(super) versions: Vec<VersionGlance>,
}

#[derive(Debug, Deserialize)]
pub(super) struct VersionGlance {
    pub(super) model: ModelName,
    pub(super) version: Version,
    #[serde(flatten)]
    pub(super) profiled: Profiled,
    pub(super) roles: Vec<RoleGlance>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RoleGlance {
    pub(super) role: String,
    pub(super) state: State,
    /// Microseconds since 1970.
    pub(super) at: u64,
    pub(super) worst: Vec<FeatureGlance>,
}

#[derive(Debug, Deserialize)]
pub(super) struct FeatureGlance {
    pub(super) name: String,
    pub(super) state: State,
    pub(super) psi_adjusted: f64,
}

/// What a version's traffic is compared with.
#[derive(Debug, Deserialize)]
pub(super) struct Profiled {
    pub(super) profile: Option<Profile>,
    pub(super) profile_state: String,
    pub(super) reason: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Profile {
    pub(super) id: String,
    pub(super) source: String,
    pub(super) created: Option<String>,
    pub(super) rows: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct VersionDrift {
    pub(super) model: ModelName,
    pub(super) version: Version,
    pub(super) role: String,
    #[serde(flatten)]
    pub(super) profiled: Profiled,
    pub(super) report: Option<Report>,
    pub(super) against: Option<Against>,
}

/// A version beside the champion.
#[derive(Debug, Deserialize)]
pub(super) struct Against {
    pub(super) champion: Version,
    /// Why nothing can be compared.
    pub(super) reason: Option<String>,
    pub(super) incomparable: Vec<Incomparable>,
    pub(super) left_out: usize,
    pub(super) comparison: Option<Comparison>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Incomparable {
    pub(super) reason: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Comparison {
    /// Microseconds since 1970.
    pub(super) since: u64,
    /// The worst first.
    pub(super) features: Vec<Compared>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Compared {
    pub(super) name: String,
    pub(super) windows: Vec<ComparedIn>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ComparedIn {
    pub(super) window: String,
    pub(super) state: State,
    /// The champion's rows by bin.
    pub(super) champion: Vec<u64>,
    pub(super) score: Score,
}

#[derive(Debug, Deserialize)]
pub(super) struct Report {
    /// Microseconds since 1970.
    pub(super) at: u64,
    /// The worst first.
    pub(super) features: Vec<Feature>,
    /// Columns of the profile that there is no room for.
    pub(super) left_out: usize,
}

#[derive(Debug, Deserialize)]
pub(super) struct Feature {
    pub(super) name: String,
    pub(super) face: String,
    pub(super) kind: String,
    pub(super) evidence_log10: Option<f64>,
    pub(super) bins: Vec<Bin>,
    pub(super) windows: Vec<InWindow>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Bin {
    pub(super) label: String,
    pub(super) reference: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct InWindow {
    pub(super) window: String,
    pub(super) state: State,
    pub(super) counts: Vec<u64>,
    pub(super) score: Score,
}

#[derive(Debug, Deserialize)]
pub(super) struct Score {
    pub(super) rows: u64,
    pub(super) psi_adjusted: f64,
    pub(super) js_distance: f64,
    pub(super) p: f64,
    pub(super) rates: BTreeMap<String, RateChange>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RateChange {
    pub(super) reference: f64,
    pub(super) live: f64,
}

impl VersionDrift {
    /// Leaves out all windows but the one of this label.
    ///
    /// # Errors
    /// The labels there are, where it is none of them.
    pub(super) fn keep_window(&mut self, label: &str) -> Result<(), Vec<String>> {
        for feature in self.report.iter_mut().flat_map(|report| &mut report.features) {
            if !feature.windows.iter().any(|window| window.window == label) {
                return Err(feature.windows.drain(..).map(|window| window.window).collect());
            }
            feature.windows.retain(|window| window.window == label);
        }
        let comparison = self.against.iter_mut().filter_map(|against| against.comparison.as_mut());
        for compared in comparison.flat_map(|comparison| &mut comparison.features) {
            compared.windows.retain(|window| window.window == label);
        }
        Ok(())
    }
}

impl Report {
    /// The worst of all features in all windows.
    pub(super) fn state(&self) -> State {
        let states = self.features.iter().flat_map(|feature| &feature.windows);
        states.map(|window| window.state).max().unwrap_or_default()
    }
}

impl Feature {
    /// The window that says the worst; of those that say the same, the shortest.
    pub(super) fn worst(&self) -> Option<&InWindow> {
        self.windows.iter().rev().max_by_key(|window| window.state)
    }
}
