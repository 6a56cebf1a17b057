//! What was counted of one version over time: windows, scores, evidence and
//! alarms. Pure: totals and a time in, a report out.

use super::DriftOptions;
use super::report::Report;
use crate::drift::profile::Profile;
use crate::drift::tally::Tally;

/// Of one version under one role.
#[derive(Debug)]
pub(super) struct Monitor {}

impl Monitor {
    pub(super) fn new(_profile: &Profile, _options: &DriftOptions) -> Monitor {
        Monitor {}
    }

    /// `total` is what was counted since the start, by column. `now` is in
    /// microseconds since 1970.
    pub(super) fn step(&mut self, _profile: &Profile, now: i64, _total: &[Tally]) -> Report {
        Report { at: now, state: Default::default(), features: Vec::new(), left_out: 0 }
    }
}
