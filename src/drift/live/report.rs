//! What a look at one version's counts found.

use std::sync::Arc;

use serde::Serialize;

use crate::drift::alarm::State;
use crate::drift::profile::Kind;
use crate::drift::score::Score;

/// Of one version under one role.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// When it was looked; microseconds since 1970.
    pub at: i64,
    /// The worst of all features.
    pub state: State,
    /// In the profile's order: inputs, then outputs.
    pub features: Vec<Feature>,
    /// Columns of the profile that there is no room for.
    pub left_out: usize,
}

/// One column of the profile.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Feature {
    pub name: Arc<str>,
    /// `input` or `output`.
    pub face: &'static str,
    pub kind: Kind,
    /// The worst of all windows.
    pub state: State,
    /// Rows of a window below which its state is `insufficient`.
    pub min_rows: u64,
    /// Of the sequential detector, as a power of ten; none before its first block.
    pub evidence_log10: Option<f64>,
    pub bins: Arc<[Bin]>,
    /// From the shortest on.
    pub windows: Vec<InWindow>,
}

/// One bin, as people read it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bin {
    /// Such as `< 20`, `20 to 40`, `>= 40`, `red`, or `other`. A bin begins with
    /// its lower edge.
    pub label: Arc<str>,
    pub reference: u64,
}

/// One column in one window.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InWindow {
    /// Such as `1h`.
    pub window: Arc<str>,
    /// Of the alarm: drift that has not lasted is a warning.
    pub state: State,
    /// Rows by bin.
    pub counts: Vec<u64>,
    pub score: Score,
}

/// How rows of a version differ from those of the champion, in the bins of the
/// champion's profile.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// When it was looked; microseconds since 1970.
    pub at: i64,
    /// From when on both are counted; likewise.
    pub since: i64,
    /// The worst of all features.
    pub state: State,
    pub features: Vec<Compared>,
}

/// One column of the champion's profile.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    pub name: Arc<str>,
    pub face: &'static str,
    pub kind: Kind,
    /// The worst of all windows.
    pub state: State,
    /// Rows of a window that both sides need.
    pub min_rows: u64,
    /// Their labels.
    pub bins: Vec<Arc<str>>,
    /// From the shortest on.
    pub windows: Vec<ComparedIn>,
}

/// One column of both versions in one window.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparedIn {
    pub window: Arc<str>,
    /// Of this moment: nobody is alarmed, so it need not last.
    pub state: State,
    /// Rows by bin: the champion's.
    pub champion: Vec<u64>,
    /// And this version's.
    pub counts: Vec<u64>,
    /// The champion's rows stand for the reference.
    pub score: Score,
}

impl Report {
    /// The worst features first: by state, then by how far they are from the
    /// reference.
    pub fn worst_first(&self) -> Vec<&Feature> {
        let psi = |feature: &Feature| feature.worst().map_or(0.0, |seen| seen.score.psi_adjusted);
        let mut features: Vec<&Feature> = self.features.iter().collect();
        features.sort_by(|one, other| {
            other.state.cmp(&one.state).then(psi(other).total_cmp(&psi(one)))
        });
        features
    }
}

impl Comparison {
    /// Puts the worst features first, and tells their state alone.
    pub fn worst_first(&mut self) {
        let psi = |feature: &Compared| {
            let all = feature.windows.iter().map(|window| window.score.psi_adjusted);
            all.fold(0.0, f64::max)
        };
        self.features.sort_by(|one, other| {
            other.state.cmp(&one.state).then(psi(other).total_cmp(&psi(one)))
        });
        self.state = self.features.first().map(|feature| feature.state).unwrap_or_default();
    }
}

impl Feature {
    /// The window that says the worst; of those that say the same, the shortest.
    pub fn worst(&self) -> Option<&InWindow> {
        self.windows.iter().rev().max_by_key(|window| window.state)
    }
}
