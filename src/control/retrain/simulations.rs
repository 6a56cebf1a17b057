//! A model and its traffic under a made-up clock: what a policy decides look
//! after look.

use std::sync::Arc;

use super::decision::{Decision, Verdict};
use super::evidence::{Evidence, EvidenceRule};
use super::facts::*;
use super::guard::GuardRule;
use super::policy::{ClearRule, Policy, State};
use crate::drift::live::{Bin, Feature, InWindow, Report};
use crate::drift::significance::Significance;
use crate::drift::{Kind, Score, State as Alarm};
use crate::types::{Digest, ModelName, Version};

pub(super) const MINUTE: i64 = 60_000_000;
pub(super) const HOUR: i64 = 60 * MINUTE;

/// As by default, but for the dry run.
pub(super) fn policy() -> Policy {
    Policy {
        dry_run: false,
        trains_on_input_drift: false,
        evaluations: 3,
        evidence: EvidenceRule {
            features: 2,
            importance: 0.1,
            importances: Default::default(),
            min_coverage: 0.8,
            min_labels: 300,
        },
        guard: GuardRule { jump: 0.1, at_once: 0.5, window_us: HOUR },
        longest_window_us: 24 * HOUR,
        cooldown_us: 24 * HOUR,
        longest_cooldown_us: 168 * HOUR,
        clear: ClearRule { psi: 0.05, z: 2.0, for_us: 2 * HOUR },
        blackouts: Vec::new(),
    }
}

/// A model of six inputs and an output, of which version 7 answers.
pub(super) struct World {
    pub(super) policy: Policy,
    pub(super) state: State,
    pub(super) now: i64,
    serves: Version,
    features: Vec<Feature>,
    pub(super) quality: Vec<Quality>,
    pub(super) alerts: Vec<Alert>,
    pub(super) offered: Vec<Offered>,
    pub(super) delivery: Option<Delivery>,
    pub(super) budget_left: u32,
    pub(super) requests: Vec<(Decision, Evidence)>,
    pages: usize,
    steps: Vec<&'static str>,
}

fn version(number: u64) -> Version {
    Version::parse(&number.to_string()).expect("a number")
}

fn digest(number: u64) -> Digest {
    Digest::new([number as u8; 32])
}

fn feature(name: &str, face: &'static str) -> Feature {
    let window = |window: &str| InWindow {
        window: window.into(),
        state: Alarm::Ok,
        counts: vec![500, 500],
        score: Score { rows: 1000, dispersion: 1.0, ..Score::default() },
    };
    Feature {
        name: name.into(),
        face,
        kind: Kind::Numeric,
        state: Alarm::Ok,
        min_rows: 300,
        evidence_log10: None,
        bins: ["low", "high"].map(|label| Bin { label: label.into(), reference: 5000 }).into(),
        windows: vec![window("1h"), window("24h")],
    }
}

impl World {
    pub(super) fn new() -> World {
        let inputs = ["a", "b", "c", "d", "e", "f"].map(|name| feature(name, "input"));
        let mut world = World {
            policy: policy(),
            state: State::default(),
            now: 20_779 * 24 * HOUR,
            serves: version(7),
            features: inputs.into_iter().chain([feature("score", "output")]).collect(),
            quality: Vec::new(),
            alerts: Vec::new(),
            offered: Vec::new(),
            delivery: None,
            budget_left: 10,
            requests: Vec::new(),
            pages: 0,
            steps: Vec::new(),
        };
        world.offer(7, Standing::Serving);
        world.look();
        world
    }

    fn feature(&mut self, name: &str) -> &mut Feature {
        self.features.iter_mut().find(|feature| &*feature.name == name).expect("a feature")
    }

    pub(super) fn shift(&mut self, name: &str, psi: f64, z: f64) {
        let feature = self.feature(name);
        feature.state = if psi > 0.1 { Alarm::Drifted } else { Alarm::Ok };
        for window in &mut feature.windows {
            window.state = feature.state;
            window.score.psi_adjusted = psi;
            window.score.significance = Significance { chi2: z * z, df: 1, p: 1e-6, z };
        }
    }

    pub(super) fn drift(&mut self, name: &str) {
        self.shift(name, 0.3, 9.0);
    }

    pub(super) fn calm(&mut self, name: &str) {
        self.shift(name, 0.0, 0.0);
    }

    /// Sets a share of values, and how sure it is that it differs.
    fn rate(&mut self, name: &str, rate: usize, share: f64) {
        let z = if share > 0.0 { 50.0 } else { 0.0 };
        let rates = &mut self.feature(name).windows[0].score.rates[rate];
        (rates.live, rates.z) = (share, z);
    }

    pub(super) fn missing(&mut self, name: &str, share: f64) {
        self.rate(name, 0, share);
    }

    pub(super) fn missing_of(&mut self, name: &str) -> f64 {
        self.feature(name).windows[0].score.rates[0].live
    }

    pub(super) fn serve(&mut self, number: u64) {
        self.serves = version(number);
        let names: Vec<_> = self.features.iter().map(|feature| feature.name.clone()).collect();
        // Its profile is of the data that it was trained on.
        for name in &names {
            self.calm(name);
            (0..5).for_each(|rate| self.rate(name, rate, 0.0));
        }
    }

    pub(super) fn offer(&mut self, number: u64, standing: Standing) {
        self.offered.retain(|offered| offered.version != version(number));
        let offered = Offered { version: version(number), digest: digest(number), standing };
        self.offered.push(offered);
    }

    pub(super) fn facts(&self) -> Facts {
        let report =
            Report { at: self.now, state: Alarm::Ok, features: self.features.clone(), left_out: 0 };
        let serving = self
            .offered
            .iter()
            .any(|offered| offered.version == self.serves && offered.standing == Standing::Serving);
        let served = Served {
            version: self.serves,
            digest: digest(7),
            profile: "0123456789ab".into(),
            report: Arc::new(report),
            quality: self.quality.clone(),
        };
        Facts {
            model: ModelName::parse("churn").expect("a name"),
            now: self.now,
            served: if serving || self.offered.is_empty() { vec![served] } else { Vec::new() },
            alerts: self.alerts.clone(),
            offered: self.offered.clone(),
            delivery: self.delivery,
            budget_left: self.budget_left,
        }
    }

    pub(super) fn look(&mut self) -> Decision {
        let facts = self.facts();
        let (decision, steps) = self.policy.decide(&mut self.state, &facts);
        self.steps = steps.iter().map(|step| step.label()).collect();
        match &decision.verdict {
            Verdict::Request(evidence) | Verdict::DryRun(evidence) => {
                self.requests.push((decision.clone(), (**evidence).clone()));
                self.delivery = Some(Delivery::Pending);
                self.budget_left = self.budget_left.saturating_sub(1);
            }
            Verdict::Page(_) => self.pages += 1,
            _ => {}
        }
        decision
    }

    pub(super) fn after(&mut self, us: i64) -> Decision {
        self.now += us;
        self.look()
    }

    pub(super) fn run(&mut self, us: i64, every: i64) {
        let until = self.now + us;
        while self.now < until {
            self.after(every);
        }
    }

    /// What the next look finds to have become of the last request.
    pub(super) fn steps(&mut self) -> Vec<&'static str> {
        self.after(MINUTE);
        self.steps.clone()
    }

    /// Lets the output drift until it is asked for.
    pub(super) fn ask(&mut self) {
        self.drift("score");
        self.look();
        self.run(HOUR, MINUTE);
        assert_eq!(self.requests.len(), 1);
    }
}

/// One feature is all missing from one moment on, and what the model makes of
/// it drifts. Its share of the last hour grows minute by minute.
#[test]
fn a_feed_that_goes_missing_pages_and_requests_nothing() {
    let mut world = World::new();
    world.run(26 * HOUR, MINUTE);
    for minute in 1..=60 {
        world.missing("a", f64::from(minute) / 60.0);
        if minute == 15 {
            world.drift("score");
        }
        world.after(MINUTE);
    }
    world.run(72 * HOUR, MINUTE);
    assert!(world.requests.is_empty());
    assert!(world.pages > 71 * 60, "{}", world.pages);
    // It comes back. The day still holds rows of it, and the output drifts in it.
    for minute in 1..=60 {
        world.missing("a", 1.0 - f64::from(minute) / 60.0);
        world.after(MINUTE);
    }
    world.run(23 * HOUR, MINUTE);
    world.calm("score");
    world.run(48 * HOUR, MINUTE);
    assert!(world.requests.is_empty());
    assert_eq!(world.look().verdict, Verdict::Nothing);
}

/// Half of the features in another unit, that stays within their range: they
/// begin to drift within the hour, and what is answered as well.
#[test]
fn another_unit_on_half_of_the_features_pages_and_requests_nothing() {
    for is_within_range in [true, false] {
        let mut world = World::new();
        world.policy.trains_on_input_drift = true;
        world.run(26 * HOUR, MINUTE);
        for (minute, name) in [(10, "a"), (11, "score"), (14, "b"), (30, "c")] {
            world.run(minute * MINUTE, MINUTE);
            world.drift(name);
            if !is_within_range {
                world.rate(name, 3, 0.9);
            }
        }
        world.run(100 * HOUR, MINUTE);
        assert!(world.requests.is_empty());
        assert!(world.pages > 0);
    }
}

/// Inputs leave their range one after another over days, then what is answered
/// drifts. A run takes a day; its version is tried for a day and promoted.
#[test]
fn a_slow_drift_requests_exactly_once() {
    let mut world = World::new();
    for (day, name) in [(1, "a"), (2, "b"), (3, "c"), (4, "score")] {
        for hour in 0..24 {
            // Some of the drifting values are out of range, by and by.
            world.rate("a", 3, f64::from(day * 24 + hour) / 600.0);
            world.run(HOUR, 10 * MINUTE);
        }
        world.drift(name);
        assert!(world.requests.is_empty(), "day {day}");
    }
    world.run(24 * HOUR, MINUTE);
    assert_eq!((world.requests.len(), world.pages), (1, 0));
    world.delivery = Some(Delivery::Delivered);
    world.run(24 * HOUR, MINUTE);
    world.offer(8, Standing::Tried);
    world.run(24 * HOUR, MINUTE);
    world.offer(8, Standing::Serving);
    world.offer(7, Standing::Tried);
    world.serve(8);
    world.run(240 * HOUR, 10 * MINUTE);
    assert_eq!((world.requests.len(), world.pages), (1, 0));
    assert!(matches!(
        world.state.asked.as_ref().expect("asked").outcome,
        super::follow::Outcome::Promoted { .. }
    ));
}
