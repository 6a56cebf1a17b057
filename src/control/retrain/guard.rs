//! The data-quality guard: a feed that broke is no drift. New data to train on
//! would be as broken, so somebody has to be called instead. Pure.
//!
//! Two things show it: a share of values that are missing, invalid, out of range
//! or unseen jumps within one window; or half of the features begin to drift
//! within one window of each other. What grows slowly is neither. A version that
//! was not looked at before is compared with its reference: what is wrong from
//! the first row on is taken for broken, too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::drift::State;
use crate::drift::live::{Feature, Report};

/// Shares of values that are no bin, in the order of [`crate::drift::Score::rates`].
const RATES: [&str; 5] = ["missing", "invalid", "below range", "above range", "unseen"];

/// Deviations from which a difference of shares is no chance: as the rule for drift.
const NO_CHANCE: f64 = 3.72;

#[derive(Clone, Debug, PartialEq)]
pub struct GuardRule {
    /// By how much a share has to rise within one window, 0 to 1.
    pub jump: f64,
    /// Share of the inputs that begin to drift within one window, 0 to 1; of
    /// fewer than two it says nothing.
    pub at_once: f64,
    /// Length of the shortest window, in microseconds; above 0.
    pub window_us: i64,
}

/// What is remembered of a version's features from one look to the next.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    features: BTreeMap<String, Remembered>,
    /// When it was last looked.
    pub seen_at: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Remembered {
    /// Since when it drifts without a break.
    drifted_since: Option<i64>,
    /// Number of the window in which `latest` was seen, and the shares then.
    window: i64,
    latest: [f64; RATES.len()],
    /// The shares when the window before that one ended.
    before: Option<[f64; RATES.len()]>,
    /// Which shares have jumped and not come back.
    broken: [bool; RATES.len()],
}

/// Takes in a report. Says what is broken, in words; nothing where all is well.
/// `drifted` are features that drift by other evidence than the report's.
pub fn look(
    memory: &mut Memory,
    report: &Report,
    drifted: &[&str],
    now: i64,
    rule: &GuardRule,
) -> Vec<String> {
    memory.seen_at = now;
    let of_report = |name: &str| report.features.iter().any(|feature| &*feature.name == name);
    memory.features.retain(|name, _| of_report(name));
    let mut broken = Vec::new();
    for feature in &report.features {
        let remembered = memory.features.entry(feature.name.to_string()).or_default();
        let is_drifted = feature.state == State::Drifted || drifted.contains(&&*feature.name);
        remembered.drifted_since = is_drifted.then(|| remembered.drifted_since.unwrap_or(now));
        broken.extend(remembered.jumps(feature, now, rule));
    }
    broken.extend(at_once(memory, report, rule));
    broken
}

impl Remembered {
    fn jumps(&mut self, feature: &Feature, now: i64, rule: &GuardRule) -> Vec<String> {
        let Some(shortest) = feature.windows.first() else { return Vec::new() };
        let live = shortest.score.rates.map(|rate| rate.live);
        if shortest.score.rows == 0 && live.iter().all(|share| *share == 0.0) {
            // No traffic says nothing, and is no share to come back to.
            return Vec::new();
        }
        let number = now.div_euclid(rule.window_us);
        if number != self.window {
            self.before = (self.window != 0).then_some(self.latest);
            self.window = number;
        }
        self.latest = live;
        let mut found = Vec::new();
        for (at, rate) in shortest.score.rates.iter().enumerate() {
            let usual = self.before.map_or(rate.reference, |before| before[at].max(rate.reference));
            let has_jumped = rate.live - usual >= rule.jump && rate.z > NO_CHANCE;
            // A share that has jumped counts until it is half way back.
            let is_still = self.broken[at] && rate.live - rate.reference >= rule.jump / 2.0;
            self.broken[at] = has_jumped || is_still;
            if self.broken[at] {
                found.push(format!(
                    "{:.0} % of '{}' are {} (reference: {:.1} %)",
                    rate.live * 100.0,
                    feature.name,
                    RATES[at],
                    rate.reference * 100.0
                ));
            }
        }
        found
    }
}

/// Whether enough inputs began to drift within one window of each other.
fn at_once(memory: &Memory, report: &Report, rule: &GuardRule) -> Option<String> {
    let inputs = report.features.iter().filter(|feature| feature.face == "input");
    let count = inputs.clone().count();
    let mut began: Vec<i64> =
        inputs.filter_map(|feature| memory.features.get(&*feature.name)?.drifted_since).collect();
    began.sort_unstable();
    let together = (0..began.len())
        .map(|first| began[first..].partition_point(|at| *at < began[first] + rule.window_us))
        .max()?;
    let is_many = together >= 2 && together as f64 >= rule.at_once * count as f64;
    is_many.then(|| format!("{together} of {count} inputs began to drift at once"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::live::{Bin, InWindow};
    use crate::drift::{Kind, Score};

    const RULE: GuardRule = GuardRule { jump: 0.1, at_once: 0.5, window_us: 3_600_000_000 };

    fn report(inputs: &[(&str, State, f64, f64)]) -> Report {
        let feature = |(name, state, share, z): &(&str, State, f64, f64)| {
            let mut score = Score { rows: 1000, ..Score::default() };
            (score.rates[4].live, score.rates[4].z) = (*share, *z);
            Feature {
                name: (*name).into(),
                face: "input",
                kind: Kind::Categorical,
                state: *state,
                min_rows: 300,
                evidence_log10: None,
                bins: [Bin { label: "x".into(), reference: 1 }].into(),
                windows: vec![InWindow {
                    window: "1h".into(),
                    state: *state,
                    counts: vec![1000],
                    score,
                }],
            }
        };
        Report {
            at: 0,
            state: State::Ok,
            features: inputs.iter().map(feature).collect(),
            left_out: 0,
        }
    }

    /// Looks every quarter of an hour at a share of unseen values.
    fn broken_at(shares: &[f64]) -> Vec<usize> {
        let mut memory = Memory::default();
        let mut broken = Vec::new();
        for (at, share) in shares.iter().enumerate() {
            let report = report(&[("plan", State::Ok, *share, 20.0)]);
            let now = RULE.window_us * 1000 + RULE.window_us / 4 * at as i64;
            if !look(&mut memory, &report, &[], now, &RULE).is_empty() {
                broken.push(at);
            }
        }
        broken
    }

    #[test]
    fn a_share_that_jumps_is_broken_until_it_is_half_way_back() {
        assert_eq!(broken_at(&[0.0, 0.0, 0.05, 0.2, 0.2, 0.2, 0.06, 0.04, 0.04]), [3, 4, 5, 6]);
        assert_eq!(broken_at(&[0.5, 0.5, 0.0]), [0, 1], "wrong from the first row on");
    }

    #[test]
    fn a_share_that_grows_slowly_is_not() {
        let slowly: Vec<f64> = (0..100).map(|at| f64::from(at) * 0.01).collect();
        assert!(broken_at(&slowly).is_empty());
    }

    #[test]
    fn chance_and_silence_break_nothing() {
        let mut memory = Memory::default();
        let chance = report(&[("plan", State::Ok, 0.5, 3.0)]);
        assert!(look(&mut memory, &chance, &[], RULE.window_us, &RULE).is_empty());
        let mut silent = report(&[("plan", State::Ok, 0.0, 0.0)]);
        silent.features[0].windows[0].score.rows = 0;
        let before = memory.clone();
        assert!(look(&mut memory, &silent, &[], 9 * RULE.window_us, &RULE).is_empty());
        assert_eq!(memory.features, before.features);
    }

    #[test]
    fn half_of_the_inputs_at_once_are_no_drift() {
        let drifted = |names: &[&str], of: usize| {
            let all = ["a", "b", "c", "d", "e", "f"];
            let state = |name| if names.contains(&name) { State::Drifted } else { State::Ok };
            let inputs = all[..of].iter().map(|name| (*name, state(*name), 0.0, 0.0));
            report(&inputs.collect::<Vec<_>>())
        };
        let at_once = |names: &[&str], of| {
            look(&mut Memory::default(), &drifted(names, of), &[], RULE.window_us, &RULE)
        };
        assert!(at_once(&["a", "b"], 6).is_empty());
        assert_eq!(at_once(&["a", "b", "c"], 6), ["3 of 6 inputs began to drift at once"]);
        assert!(at_once(&["a"], 1).is_empty(), "one alone is not at once");
        let told = look(&mut Memory::default(), &drifted(&["a"], 4), &["b"], 0, &RULE);
        assert_eq!(told.len(), 1, "alerts count as well");

        // One an hour is slow, even if all drift in the end.
        let mut memory = Memory::default();
        for (hour, count) in [(1, 1), (2, 2), (3, 3), (4, 4)] {
            let report = drifted(&["a", "b", "c", "d"][..count], 6);
            assert!(look(&mut memory, &report, &[], hour * RULE.window_us, &RULE).is_empty());
        }
    }
}
