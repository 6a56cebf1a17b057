use proptest::prelude::*;

use super::decision::{Decision, Verdict};
use super::evidence::{EvidenceRule, Rule};
use super::facts::*;
use super::follow::Outcome;
use super::simulations::{HOUR, MINUTE, World, policy};
use crate::types::Version;

#[track_caller]
fn is(decision: &Decision, label: &str) {
    assert_eq!(decision.verdict.label(), label, "{}", decision.why);
}

fn rule_of(world: &mut World) -> Option<Rule> {
    let rule = EvidenceRule {
        importances: [("a".to_owned(), 0.3), ("b".to_owned(), 0.05)].into(),
        ..policy().evidence
    };
    let facts = world.facts();
    super::evidence::Finding::of(&facts.served[0], &facts.alerts, &rule).rule
}

fn quality(current: f64) -> Quality {
    Quality {
        metric: "roc_auc".to_owned(),
        window: "24h".to_owned(),
        reference: 0.97,
        bound: 0.96,
        less_is_better: false,
        current,
        interval: Some((current - 0.005, current + 0.005)),
        labels: 1000,
        coverage: 0.9,
        source: QualitySource::Labels,
    }
}

#[test]
fn the_strongest_evidence_is_the_reason() {
    let alert = |kind| Alert { name: "A".to_owned(), kind, version: None, since: 0 };
    type Change = fn(&mut World);
    let told: Change = |world| world.quality = vec![quality(0.9)];
    let fine: Change = |world| {
        world.drift("score");
        world.quality = vec![quality(0.97)];
    };
    let cases: [(&str, Change, Option<Rule>); 12] = [
        ("nothing", |_| {}, None),
        ("one input of little importance", |world| world.drift("b"), None),
        ("one input of no known importance", |world| world.drift("c"), None),
        ("one important input", |world| world.drift("a"), Some(Rule::InputDrift)),
        (
            "two inputs",
            |world| {
                world.drift("b");
                world.drift("c");
            },
            Some(Rule::InputDrift),
        ),
        ("the output", |world| world.drift("score"), Some(Rule::OutputDrift)),
        ("the output, and labels say that it is right", fine, Some(Rule::InputDrift)),
        ("quality", told, Some(Rule::Quality)),
        (
            "few labels",
            |world| world.quality = vec![Quality { coverage: 0.5, ..quality(0.9) }],
            None,
        ),
        (
            "quality that may be chance",
            |world| {
                let interval = Some((0.93, 0.98));
                world.quality = vec![Quality { interval, ..quality(0.955) }];
            },
            None,
        ),
        (
            "an estimate",
            |world| {
                world.quality = vec![Quality { source: QualitySource::Estimated, ..quality(0.9) }];
            },
            Some(Rule::EstimatedQuality),
        ),
        (
            "an error that rose",
            |world| {
                let quality = Quality { reference: 1.0, bound: 1.2, ..quality(1.5) };
                world.quality = vec![Quality { less_is_better: true, ..quality }];
            },
            Some(Rule::Quality),
        ),
    ];
    for (what, change, expected) in cases {
        let mut world = World::new();
        change(&mut world);
        assert_eq!(rule_of(&mut world), expected, "{what}");
    }
    let mut world = World::new();
    world.alerts = vec![alert(AlertKind::Quality)];
    assert_eq!(rule_of(&mut world), Some(Rule::Quality));
    world.alerts = vec![alert(AlertKind::Drift("a".to_owned()))];
    assert_eq!(rule_of(&mut world), Some(Rule::InputDrift));
    world.alerts[0].version = Some(Version::FIRST);
    assert_eq!(rule_of(&mut world), None, "of another version");
}

#[test]
fn evidence_has_to_last_for_looks_and_for_a_window() {
    let mut world = World::new();
    world.drift("score");
    is(&world.look(), "watching");
    is(&world.after(30 * MINUTE), "watching");
    is(&world.after(29 * MINUTE), "watching");
    is(&world.after(MINUTE), "request");
    // Two looks in an hour are too few.
    let mut world = World::new();
    world.drift("score");
    is(&world.look(), "watching");
    is(&world.after(HOUR), "watching");
    is(&world.after(MINUTE), "request");
    // A look that finds nothing begins it anew.
    let mut world = World::new();
    world.drift("score");
    is(&world.look(), "watching");
    world.calm("score");
    is(&world.after(30 * MINUTE), "nothing");
    world.drift("score");
    for _ in 0..60 {
        is(&world.after(MINUTE), "watching");
    }
    is(&world.after(MINUTE), "request");
}

#[test]
fn input_drift_is_a_ticket_until_the_output_drifts_too() {
    let mut world = World::new();
    world.drift("a");
    world.after(2 * HOUR);
    world.drift("b");
    is(&world.look(), "watching");
    is(&world.after(HOUR), "watching");
    is(&world.after(MINUTE), "ticket");
    is(&world.after(5 * HOUR), "ticket");
    world.drift("score");
    is(&world.after(MINUTE), "watching");
    is(&world.after(HOUR), "watching");
    is(&world.after(HOUR), "request");
    world.calm("score");
    is(&world.after(MINUTE), "nothing");
    assert_eq!(world.requests.len(), 1);
    // Where it is told to, it trains on inputs alone.
    let mut world = World::new();
    world.policy.trains_on_input_drift = true;
    world.drift("a");
    world.after(2 * HOUR);
    world.drift("b");
    world.run(3 * HOUR, MINUTE);
    assert_eq!(world.requests.len(), 1);
}

#[test]
fn the_cooldown_doubles_while_a_run_is_in_flight() {
    let mut world = World::new();
    world.ask();
    let asked = world.now;
    let until = |world: &World| {
        (world.policy.cooldown_until(&world.state, world.now).expect("a cooldown") - asked) / HOUR
    };
    for (hours, expected) in [(1, 24), (23, 24), (24, 48), (47, 48), (48, 96), (97, 168)] {
        world.now = asked + hours * HOUR;
        is(&world.look(), "nothing");
        assert_eq!(until(&world), expected, "after {hours} h");
    }
    // A run of which nothing came in a week is lost.
    world.now = asked + 168 * HOUR;
    is(&world.look(), "watching");
    world.run(2 * HOUR, MINUTE);
    assert_eq!(world.requests.len(), 2);
    assert_ne!(world.requests[0].1.id, world.requests[1].1.id);
}

#[test]
fn what_nobody_took_is_asked_for_again_after_a_day() {
    let mut world = World::new();
    world.ask();
    world.delivery = Some(Delivery::Failed);
    world.run(24 * HOUR - MINUTE, MINUTE);
    assert_eq!(world.requests.len(), 1);
    world.run(2 * HOUR, MINUTE);
    assert_eq!(world.requests.len(), 2);
}

#[test]
fn a_new_version_lifts_the_cooldown_and_is_waited_for() {
    let mut world = World::new();
    world.ask();
    world.delivery = Some(Delivery::Delivered);
    assert_eq!(world.steps(), ["delivered"]);
    world.offer(8, Standing::Tried);
    assert_eq!(world.steps(), ["arrived"]);
    assert_eq!(world.policy.cooldown_until(&world.state, world.now), None);
    is(&world.after(100 * HOUR), "watching");
    world.offer(8, Standing::Serving);
    world.offer(7, Standing::Tried);
    assert_eq!(world.steps(), ["promoted"]);
    // The old version drifts on; nobody is answered by it.
    is(&world.after(HOUR), "nothing");
    // The new one has evidence of its own, and no cooldown.
    world.serve(8);
    world.drift("score");
    world.run(2 * HOUR, MINUTE);
    assert_eq!(world.requests.len(), 2);
    assert_eq!(world.requests[1].1.version.to_string(), "8");
}

#[test]
fn versions_that_are_refused_make_the_wait_longer() {
    let mut world = World::new();
    world.ask();
    let refuse = |world: &mut World, version| {
        world.offer(version, Standing::Rejected("the golden run failed".to_owned()));
        assert_eq!(world.steps(), ["arrived", "rejected"]);
        world.now
    };
    let mut at = refuse(&mut world, 8);
    for (version, hours) in [(9, 48), (10, 96), (11, 168), (12, 168)] {
        let requests = world.requests.len();
        let until = world.policy.cooldown_until(&world.state, world.now).expect("a cooldown");
        assert_eq!(until - at, hours * HOUR);
        world.run(hours * HOUR - MINUTE, 10 * MINUTE);
        assert_eq!(world.requests.len(), requests);
        world.run(2 * HOUR, MINUTE);
        assert_eq!(world.requests.len(), requests + 1);
        at = refuse(&mut world, version);
    }
    // One that is promoted ends that.
    world.offer(13, Standing::Serving);
    assert_eq!(world.steps(), ["arrived", "promoted"]);
    assert_eq!(world.state.refused, 0);
}

#[test]
fn versions_that_go_or_are_rolled_back_are_refused() {
    let mut world = World::new();
    world.ask();
    world.offer(8, Standing::Tried);
    assert_eq!(world.steps(), ["arrived"]);
    world.offered.clear();
    assert!(world.steps().is_empty(), "at a start nothing is known");
    world.offer(7, Standing::Serving);
    assert!(world.steps().is_empty() && world.steps().is_empty());
    assert_eq!(world.steps(), ["rejected"]);

    let mut world = World::new();
    world.ask();
    world.offer(8, Standing::Serving);
    assert_eq!(world.steps(), ["arrived", "promoted"]);
    world.offer(8, Standing::Tried);
    assert!(world.steps().is_empty() && world.steps().is_empty());
    assert_eq!(world.steps(), ["rejected"]);
    assert!(matches!(&world.state.asked.as_ref().expect("asked").outcome,
        Outcome::Rejected { why, .. } if why.contains("rolled back")));
}

#[test]
fn the_same_content_under_a_higher_number_is_nothing_new() {
    let mut world = World::new();
    world.ask();
    let digest = world.offered[0].digest;
    world.offered.push(Offered {
        version: Version::parse("8").expect("a number"),
        digest,
        standing: Standing::Tried,
    });
    assert!(world.steps().is_empty());
}

#[test]
fn evidence_has_to_go_before_it_counts_again() {
    let mut world = World::new();
    world.policy.dry_run = true;
    world.ask();
    world.run(200 * HOUR, 10 * MINUTE);
    assert_eq!(world.requests.len(), 1, "a dry run has no outcome to wait for");
    // Not quite gone: between the two thresholds, or not for long enough.
    world.shift("score", 0.07, 5.0);
    world.run(3 * HOUR, 10 * MINUTE);
    world.shift("score", 0.01, 1.0);
    world.run(HOUR, 10 * MINUTE);
    world.drift("score");
    world.run(10 * HOUR, 10 * MINUTE);
    assert_eq!(world.requests.len(), 1);
    world.shift("score", 0.04, 1.9);
    world.run(2 * HOUR + 10 * MINUTE, 10 * MINUTE);
    world.drift("score");
    world.run(2 * HOUR, MINUTE);
    assert_eq!(world.requests.len(), 2);
    // When dry runs end, none of them holds anything back.
    world.policy.dry_run = false;
    world.run(2 * HOUR, MINUTE);
    is(&world.requests[2].0, "request");
}

#[test]
fn budgets_and_blackouts_hold_back_for_a_while() {
    let mut world = World::new();
    world.budget_left = 0;
    world.drift("score");
    world.run(5 * HOUR, MINUTE);
    assert!(world.requests.is_empty());
    let decision = world.look();
    is(&decision, "watching");
    assert!(decision.why.contains("budget"), "{}", decision.why);
    world.budget_left = 1;
    let whole_day = super::blackout::Blackout { days: vec![], from: 0, until: 0 };
    world.policy.blackouts = vec![whole_day];
    let decision = world.look();
    assert!(decision.why.contains("hour"), "{}", decision.why);
    world.policy.blackouts.clear();
    is(&world.look(), "request");
}

/// What may happen between two looks.
#[derive(Clone, Debug)]
enum Event {
    Drift(usize),
    Calm(usize),
    Missing(bool),
    Deliver(Delivery),
    Offer(u64, bool, bool),
    Restart,
    Wait(i64),
    Budget(u32),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..5usize).prop_map(Event::Drift),
        (0..5usize).prop_map(Event::Calm),
        prop::bool::weighted(0.1).prop_map(Event::Missing),
        prop::sample::select(vec![Delivery::Pending, Delivery::Delivered, Delivery::Failed])
            .prop_map(Event::Deliver),
        (8..12u64, any::<bool>(), any::<bool>()).prop_map(|(n, s, r)| Event::Offer(n, s, r)),
        Just(Event::Restart),
        (1..3000i64).prop_map(Event::Wait),
        (0..3u32).prop_map(Event::Budget),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_request_breaks_a_rule(events in prop::collection::vec(event(), 1..150)) {
        let mut world = World::new();
        for event in events {
            let (mut is_broken, mut lifted) = (false, false);
            match event {
                Event::Drift(at) => world.drift(["a", "b", "c", "d", "score"][at]),
                Event::Calm(at) => world.calm(["a", "b", "c", "d", "score"][at]),
                Event::Missing(is) => world.missing("d", if is { 1.0 } else { 0.0 }),
                Event::Deliver(delivery) => world.delivery = Some(delivery),
                Event::Offer(version, serves, refused) => {
                    let standing = match (serves, refused) {
                        (_, true) => Standing::Rejected("bad".to_owned()),
                        (true, _) => Standing::Serving,
                        _ => Standing::Tried,
                    };
                    world.offer(version, standing);
                }
                Event::Restart => {
                    let text = serde_json::to_string(&world.state).expect("JSON");
                    let state = serde_json::from_str(&text).expect("the same");
                    prop_assert_eq!(&world.state, &state);
                    world.state = state;
                }
                Event::Wait(minutes) => world.now += minutes * MINUTE,
                Event::Budget(left) => world.budget_left = left,
            }
            for _ in 0..4 {
                is_broken |= world.missing_of("d") > 0.5;
                let before = (world.requests.len(), world.budget_left);
                let last = world.state.asked.clone();
                world.after(21 * MINUTE);
                lifted |= last.as_ref().is_some_and(|last| {
                    !last.is_in_flight() || world.state.asked.as_ref().map(|of| &of.id) != Some(&last.id)
                });
                if world.requests.len() > before.0 {
                    prop_assert!(!is_broken, "data is broken");
                    prop_assert!(before.1 > 0, "no budget");
                    if let Some(last) = last {
                        let is_over = world.now - last.at >= 24 * HOUR
                            || matches!(last.outcome, Outcome::Promoted { .. });
                        prop_assert!(is_over && lifted, "within the cooldown: {last:?}");
                    }
                }
            }
        }
        let ids: std::collections::BTreeSet<_> = world.requests.iter().map(|of| &of.1.id).collect();
        prop_assert_eq!(ids.len(), world.requests.len(), "an id twice");
    }

    /// The same facts lead to the same decisions, whenever the process began.
    #[test]
    fn a_restart_changes_nothing(
        events in prop::collection::vec((0..5usize, any::<bool>(), 1..200i64), 1..60),
        restarts in prop::collection::vec(any::<bool>(), 60),
    ) {
        let (mut one, mut other) = (World::new(), World::new());
        for ((at, drifts, minutes), restart) in events.into_iter().zip(restarts) {
            for world in [&mut one, &mut other] {
                let name = ["a", "b", "c", "d", "score"][at];
                if drifts { world.drift(name) } else { world.calm(name) }
                world.now += minutes * MINUTE;
            }
            if restart {
                let text = serde_json::to_string(&other.state).expect("JSON");
                other.state = serde_json::from_str(&text).expect("the same");
            }
            prop_assert_eq!(one.look(), other.look());
        }
    }
}

#[test]
fn pages_and_requests_carry_their_evidence() {
    let mut world = World::new();
    world.ask();
    let Verdict::Request(evidence) = &world.requests[0].0.verdict else { panic!("a request") };
    assert_eq!(evidence.features[0].name, "score");
    assert_eq!(evidence.features[0].live_counts.iter().sum::<u64>(), evidence.features[0].rows);
    assert_eq!(evidence.to - evidence.from, HOUR);
    assert_eq!(evidence.id.len(), 32);
    assert_eq!(evidence.findings, ["output 'score' drifts"]);
}
