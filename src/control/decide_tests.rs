//! Tables, and a simulation of pushes, failures, rollbacks and restarts.

use proptest::prelude::*;

use super::*;

fn version(number: u64) -> Version {
    Version::parse(&number.to_string()).expect("a version")
}

fn content(number: u64, digest: u8) -> Content {
    Content { version: version(number), digest: Digest::new([digest; 32]) }
}

fn id(number: u64, digest: u8) -> InstanceId {
    InstanceId { content: content(number, digest), settings: 0 }
}

fn id_of(content: Content, facts: &Facts) -> InstanceId {
    InstanceId { content, settings: facts.settings }
}

/// Versions 1 to `newest`, each with its number as digest; the newest is wanted.
fn listed(newest: u64) -> Facts {
    Facts {
        listed: (1..=newest).map(|n| (version(n), Digest::new([n as u8; 32]))).collect(),
        settings: 0,
        policy: VersionPolicy::Latest(1),
        keep_previous: 1,
        enabled: true,
        resource_preserving: false,
        hold: None,
        served: Vec::new(),
        cached: BTreeSet::new(),
        routes: Needs::default(),
        instances: BTreeMap::new(),
    }
}

impl Facts {
    fn with(mut self, instances: &[(InstanceId, Standing)]) -> Facts {
        self.instances.extend(instances.iter().copied());
        self
    }

    fn served(mut self, served: &[Content]) -> Facts {
        self.served = served.to_vec();
        self
    }
}

#[test]
fn a_first_version_is_started_and_then_answers() {
    let facts = listed(2);
    let plan = decide(&facts);
    assert_eq!((plan.start, plan.default), (vec![id(2, 2)], None));
    let plan = decide(&facts.with(&[(id(2, 2), Standing::Ready)]));
    assert_eq!((plan.default, plan.start, plan.drain), (Some(id(2, 2)), vec![], vec![]));
}

#[test]
fn the_old_version_answers_until_the_new_one_is_ready_and_is_then_kept() {
    let facts = listed(3)
        .served(&[content(2, 2), content(1, 1)])
        .with(&[(id(2, 2), Standing::Ready), (id(1, 1), Standing::Ready)]);
    let plan = decide(&facts);
    assert_eq!((plan.default, plan.target), (Some(id(2, 2)), Some(id(3, 3))));
    assert_eq!((plan.start, plan.drain), (vec![id(3, 3)], vec![]));
    let facts = facts.with(&[(id(3, 3), Standing::Ready)]);
    let facts = facts.served(&[content(3, 3), content(2, 2), content(1, 1)]);
    let plan = decide(&facts);
    assert_eq!((plan.default, plan.drain), (Some(id(3, 3)), vec![id(1, 1)]));
    assert_eq!(plan.kept, BTreeSet::from([id(2, 2)]));
}

#[test]
fn a_rejected_push_changes_nothing() {
    let ready = [(id(2, 2), Standing::Ready)];
    let facts = listed(3).served(&[content(2, 2)]).with(&ready);
    let plan = decide(&facts.with(&[(id(3, 3), Standing::Rejected)]));
    assert_eq!((plan.default, plan.target), (Some(id(2, 2)), Some(id(2, 2))));
    assert!(plan.start.is_empty() && plan.drain.is_empty() && plan.forget.is_empty());
}

#[test]
fn a_version_overwritten_with_something_broken_keeps_its_old_content() {
    let mut facts = listed(3).served(&[content(3, 3)]).with(&[(id(3, 3), Standing::Ready)]);
    facts.listed.insert(version(3), Digest::new([9; 32]));
    let plan = decide(&facts);
    assert_eq!((plan.default, plan.start.clone()), (Some(id(3, 3)), vec![id(3, 9)]));
    let facts = facts.with(&[(id(3, 9), Standing::Rejected)]);
    let plan = decide(&facts);
    assert_eq!((plan.default, plan.start, plan.drain), (Some(id(3, 3)), vec![], vec![]));
    // Also after a restart, out of the cache.
    let mut restarted = facts.clone();
    restarted.instances = BTreeMap::from([(id(3, 9), Standing::Rejected)]);
    assert_eq!(decide(&restarted).start, vec![id(2, 2)], "nothing else is left");
    restarted.cached = BTreeSet::from([content(3, 3)]);
    assert_eq!(decide(&restarted).start, vec![id(3, 3)]);
}

#[test]
fn after_a_restart_what_served_last_comes_first() {
    let facts = listed(3).served(&[content(2, 2), content(1, 1)]);
    assert_eq!(decide(&facts).start, vec![id(2, 2), id(3, 3)]);
}

#[test]
fn what_leaves_the_registry_is_retired_after_its_successor_is_ready() {
    let mut facts = listed(2).served(&[content(2, 2)]).with(&[(id(2, 2), Standing::Ready)]);
    facts.listed.remove(&version(2));
    let plan = decide(&facts);
    assert_eq!((plan.default, plan.start), (Some(id(2, 2)), vec![id(1, 1)]));
    let ready = facts.clone().with(&[(id(1, 1), Standing::Ready)]);
    let plan = decide(&ready);
    assert_eq!((plan.default, plan.drain), (Some(id(1, 1)), vec![id(2, 2)]));
    facts.listed.clear();
    let plan = decide(&facts);
    assert_eq!((plan.default, plan.drain), (None, vec![id(2, 2)]), "the model is gone");
}

#[test]
fn a_hold_outlasts_pushes_until_it_is_released() {
    let mut facts = listed(3).served(&[content(1, 1), content(2, 2)]).with(&[
        (id(1, 1), Standing::Ready),
        (id(2, 2), Standing::Ready),
        (id(3, 3), Standing::Ready),
    ]);
    facts.hold = Some(content(1, 1));
    let plan = decide(&facts);
    assert_eq!(plan.default, Some(id(1, 1)));
    assert!(plan.answers.contains_key(&version(3)), "the newest can be asked for");
    facts.listed.clear();
    assert_eq!(decide(&facts).default, Some(id(1, 1)), "it is held by digest");
    let mut facts = listed(3).served(&facts.served).with(&[(id(3, 3), Standing::Ready)]);
    facts.hold = None;
    assert_eq!(decide(&facts).default, Some(id(3, 3)));
}

#[test]
fn where_two_do_not_fit_the_old_one_goes_only_if_it_may() {
    let blocked = [(id(2, 2), Standing::Ready), (id(3, 3), Standing::Blocked)];
    let mut facts = listed(3).served(&[content(2, 2)]).with(&blocked);
    let plan = decide(&facts);
    assert_eq!((plan.default, plan.drain), (Some(id(2, 2)), vec![]));
    facts.resource_preserving = true;
    let plan = decide(&facts);
    assert_eq!((plan.default, plan.drain), (None, vec![id(2, 2)]));
    facts.instances = BTreeMap::from([(id(3, 3), Standing::Committed)]);
    assert!(decide(&facts).start.is_empty(), "the old one does not come back meanwhile");
}

#[test]
fn what_is_kept_makes_room_first() {
    let facts = listed(3).served(&[content(2, 2), content(1, 1)]).with(&[
        (id(1, 1), Standing::Ready),
        (id(2, 2), Standing::Ready),
        (id(3, 3), Standing::Blocked),
    ]);
    let plan = decide(&facts);
    assert_eq!((plan.default, plan.drain), (Some(id(2, 2)), vec![id(1, 1)]));
    // What is kept and waits itself makes no room for anything.
    let facts = listed(3)
        .served(&[content(3, 3), content(2, 2)])
        .with(&[(id(3, 3), Standing::Ready), (id(2, 2), Standing::Blocked)]);
    let plan = decide(&facts);
    assert!(plan.cancel.is_empty() && plan.start.is_empty(), "{plan:?}");
}

#[test]
fn quick_pushes_do_not_starve_each_other() {
    let facts = listed(4)
        .served(&[content(2, 2)])
        .with(&[(id(2, 2), Standing::Ready), (id(3, 3), Standing::Committed)]);
    let plan = decide(&facts);
    assert_eq!((plan.start, plan.cancel), (vec![id(4, 4)], vec![]));
    let facts = facts.with(&[(id(3, 3), Standing::Ready), (id(4, 4), Standing::Coming)]);
    assert_eq!(decide(&facts).default, Some(id(3, 3)));
    let facts = listed(4)
        .served(&[content(2, 2)])
        .with(&[(id(2, 2), Standing::Ready), (id(3, 3), Standing::Coming)]);
    assert_eq!(decide(&facts).cancel, vec![id(3, 3)], "it had hardly begun");
}

#[test]
fn what_routes_need_is_loaded_beside_what_the_policy_picks() {
    let mut facts = listed(4).served(&[content(4, 4)]).with(&[(id(4, 4), Standing::Ready)]);
    facts.routes.versions = BTreeSet::from([version(2), version(9)]);
    facts.routes.pinned = BTreeSet::from([content(3, 3)]);
    let plan = decide(&facts);
    assert_eq!((plan.default, &plan.start), (Some(id(4, 4)), &vec![id(3, 3), id(2, 2)]));
    let ready = [(id(3, 3), Standing::Ready), (id(2, 2), Standing::Ready)];
    let facts = facts.with(&ready);
    let plan = decide(&facts);
    assert_eq!(plan.default, Some(id(4, 4)));
    assert!(plan.answers.contains_key(&version(2)), "requests may name it");
    assert!(plan.drain.is_empty() && plan.kept.is_empty(), "{plan:?}");
    let unneeded = Facts { routes: Needs::default(), ..facts.clone() };
    assert_eq!(decide(&unneeded).drain, vec![id(2, 2), id(3, 3)]);
    let disabled = Facts { enabled: false, ..facts };
    assert_eq!(decide(&disabled).answers, BTreeMap::new(), "routes load no model by themselves");
}

#[test]
fn what_routes_need_outlasts_the_registry_while_the_cache_has_it() {
    let mut facts = listed(3).served(&[content(3, 3)]).with(&[(id(3, 3), Standing::Ready)]);
    facts.listed.remove(&version(1));
    facts.listed.remove(&version(2));
    facts.routes.versions = BTreeSet::from([version(1)]);
    facts.routes.pinned = BTreeSet::from([content(2, 2)]);
    assert_eq!(decide(&facts).start, vec![id(2, 2)], "nobody knows what version 1 was");
    facts.routes.known = BTreeSet::from([content(1, 1)]);
    facts.cached = BTreeSet::from([content(1, 1)]);
    assert_eq!(decide(&facts).start, vec![id(2, 2), id(1, 1)]);
    let facts = facts.with(&[(id(2, 2), Standing::Rejected), (id(1, 1), Standing::Rejected)]);
    let plan = decide(&facts);
    assert!(plan.start.is_empty() && plan.forget.is_empty(), "it is not tried for ever: {plan:?}");
}

#[test]
fn a_version_that_a_route_names_keeps_its_content_until_the_next_is_sound() {
    let mut facts = listed(3).served(&[content(3, 3)]);
    facts.routes.versions = BTreeSet::from([version(1)]);
    let mut facts = facts.with(&[(id(3, 3), Standing::Ready), (id(1, 1), Standing::Ready)]);
    facts.listed.insert(version(1), Digest::new([9; 32]));
    let plan = decide(&facts);
    assert_eq!((plan.start, plan.answers[&version(1)]), (vec![id(1, 9)], id(1, 1)));
    let facts = facts.with(&[(id(1, 9), Standing::Rejected)]);
    let plan = decide(&facts);
    assert_eq!((plan.answers[&version(1)], plan.drain), (id(1, 1), vec![]));
}

#[test]
fn a_champion_that_a_route_keeps_makes_no_room() {
    let mut facts = listed(3).served(&[content(2, 2)]).with(&[
        (id(1, 1), Standing::Ready),
        (id(2, 2), Standing::Ready),
        (id(3, 3), Standing::Blocked),
    ]);
    facts.resource_preserving = true;
    facts.routes.versions = BTreeSet::from([version(1)]);
    facts.routes.pinned = BTreeSet::from([content(2, 2)]);
    let plan = decide(&facts);
    assert_eq!(plan.drain, vec![id(1, 1)], "what a variant names goes as siblings do");
    assert_eq!(plan.answers[&version(2)], id(2, 2));
}

#[test]
fn new_settings_are_a_swap_too() {
    let mut facts = listed(2).served(&[content(2, 2)]).with(&[(id(2, 2), Standing::Ready)]);
    facts.settings = 7;
    let renewed = InstanceId { settings: 7, ..id(2, 2) };
    let plan = decide(&facts);
    assert_eq!((plan.default, plan.start), (Some(id(2, 2)), vec![renewed]));
    let ready = facts.clone().with(&[(renewed, Standing::Ready)]);
    let plan = decide(&ready);
    assert_eq!((plan.default, plan.drain), (Some(renewed), vec![id(2, 2)]));
    let rejected = facts.with(&[(renewed, Standing::Rejected)]);
    let plan = decide(&rejected);
    assert_eq!((plan.default, plan.drain), (Some(id(2, 2)), vec![]));
}

#[test]
fn a_model_in_explicit_mode_is_loaded_by_request_only() {
    let mut facts = listed(2).served(&[content(2, 2)]).with(&[(id(2, 2), Standing::Ready)]);
    facts.enabled = false;
    let plan = decide(&facts);
    assert_eq!((plan.default, plan.drain), (None, vec![id(2, 2)]));
}

#[test]
fn policies_pick_versions() {
    for (policy, expected) in [
        (VersionPolicy::All, vec![3, 2, 1]),
        (VersionPolicy::Latest(2), vec![3, 2]),
        (VersionPolicy::Specific([version(1), version(9)].into()), vec![1]),
    ] {
        let facts = Facts { policy, ..listed(3) };
        let expected: Vec<InstanceId> = expected.iter().map(|n| id(*n, *n as u8)).collect();
        assert_eq!(decide(&facts).start, expected);
    }
}

/// What may happen to a model.
#[derive(Clone, Debug)]
enum Event {
    Push(u64, u8),
    Delete(u64),
    Finish,
    Reject,
    Commit,
    Hold(usize),
    Release,
    Settings(u64),
    Restart,
    Policy(VersionPolicy),
    /// A route keeps its champion at what answers.
    Pin,
    Unpin,
    /// A variant names a version.
    Name(u64),
    Unname,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let policy = prop_oneof![
        Just(VersionPolicy::All),
        (1usize..3).prop_map(VersionPolicy::Latest),
        Just(VersionPolicy::Specific([version(1), version(3)].into())),
    ];
    let event = prop_oneof![
        4 => (1u64..5, 0u8..3).prop_map(|(number, digest)| Event::Push(number, digest)),
        1 => (1u64..5).prop_map(Event::Delete),
        4 => Just(Event::Finish),
        2 => Just(Event::Reject),
        2 => Just(Event::Commit),
        1 => (0usize..3).prop_map(Event::Hold),
        1 => Just(Event::Release),
        1 => (0u64..2).prop_map(Event::Settings),
        1 => Just(Event::Restart),
        1 => policy.prop_map(Event::Policy),
        1 => Just(Event::Pin),
        1 => Just(Event::Unpin),
        1 => (1u64..5).prop_map(Event::Name),
        1 => Just(Event::Unname),
    ];
    proptest::collection::vec(event, 1..40)
}

/// Carries a plan out as the lifecycle does, and the routes.
fn carry_out(facts: &mut Facts, plan: &Plan) {
    let Needs { versions, known, .. } = &mut facts.routes;
    known.retain(|content| versions.contains(&content.version));
    for id in versions.iter().filter_map(|version| plan.answers.get(version)) {
        known.retain(|content| content.version != id.content.version);
        known.insert(id.content);
    }
    for id in &plan.start {
        assert!(facts.instances.insert(*id, Standing::Coming).is_none(), "started twice");
    }
    for id in plan.drain.iter().chain(&plan.cancel).chain(&plan.forget) {
        assert!(facts.instances.remove(id).is_some(), "not there");
    }
    if let Some(default) = plan.default
        && facts.served.first() != Some(&default.content)
    {
        facts.served.retain(|content| *content != default.content);
        facts.served.insert(0, default.content);
        facts.served.truncate(4);
    }
}

fn apply(facts: &mut Facts, event: Event) {
    let coming = |facts: &Facts| {
        let standing = |s: &Standing| matches!(s, Standing::Coming | Standing::Committed);
        facts.instances.iter().find(|(_, s)| standing(s)).map(|(id, _)| *id)
    };
    match event {
        Event::Push(number, digest) => {
            facts.listed.insert(version(number), Digest::new([digest; 32]));
        }
        // The registry never becomes empty here: that has a test of its own.
        Event::Delete(number) if facts.listed.len() > 1 => {
            facts.listed.remove(&version(number));
        }
        Event::Delete(_) => {}
        Event::Finish => {
            if let Some(id) = coming(facts) {
                facts.cached.insert(id.content);
                facts.instances.insert(id, Standing::Ready);
            }
        }
        Event::Reject => {
            if let Some(id) = coming(facts) {
                facts.instances.insert(id, Standing::Rejected);
            }
        }
        Event::Commit => {
            if let Some(id) = coming(facts) {
                facts.instances.insert(id, Standing::Committed);
            }
        }
        Event::Hold(back) => facts.hold = facts.served.get(back).copied(),
        Event::Release => facts.hold = None,
        Event::Settings(settings) => facts.settings = settings,
        Event::Restart => facts.instances.clear(),
        Event::Policy(policy) => facts.policy = policy,
        Event::Pin => facts.routes.pinned.extend(decide(facts).default.map(|id| id.content)),
        Event::Unpin => facts.routes.pinned.clear(),
        Event::Name(number) => drop(facts.routes.versions.insert(version(number))),
        Event::Unname => facts.routes.versions.clear(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn service_never_stops_and_everything_settles(events in events()) {
        let mut facts = listed(1);
        let mut answering = false;
        for event in events {
            answering &= !matches!(event, Event::Restart);
            let specific = matches!(event, Event::Policy(_));
            apply(&mut facts, event);
            let plan = decide(&facts);
            if let Some(default) = plan.default {
                prop_assert_eq!(facts.instances.get(&default), Some(&Standing::Ready));
                prop_assert_eq!(plan.answers.get(&default.content.version), Some(&default));
            }
            prop_assert!(plan.default.is_some() || !answering || specific, "{:?}\n{:?}", facts, plan);
            for (number, id) in &plan.answers {
                prop_assert_eq!(facts.instances.get(id), Some(&Standing::Ready));
                prop_assert_eq!(*number, id.content.version);
                prop_assert!(!plan.drain.contains(id));
            }
            for id in &plan.start {
                prop_assert!(!facts.instances.contains_key(id));
            }
            for content in &facts.routes.pinned {
                let was_ready = |(id, s): (&InstanceId, &Standing)| {
                    id.content == *content && *s == Standing::Ready
                };
                let stays = |(id, s): (&InstanceId, &Standing)| {
                    was_ready((id, s)) && !plan.drain.contains(id)
                };
                let renewed = facts.instances.iter().any(stays);
                prop_assert!(renewed || !facts.instances.iter().any(was_ready),
                    "a champion is gone: {:?}\n{:?}", facts, plan);
            }
            answering = plan.default.is_some();
            carry_out(&mut facts, &plan);
        }
        // Left alone, with every load succeeding, the target answers, and
        // nothing is loaded that is not wanted.
        for _ in 0..40 {
            let plan = decide(&facts);
            carry_out(&mut facts, &plan);
            apply(&mut facts, Event::Finish);
        }
        let plan = decide(&facts);
        prop_assert_eq!(plan.default.map(|id| id.content), plan.target.map(|id| id.content)
            .or(plan.default.map(|id| id.content)));
        prop_assert!(plan.start.is_empty() && plan.cancel.is_empty() && plan.drain.is_empty(),
            "{:?}\n{:?}", facts, plan);
        for version in &facts.routes.versions {
            let digest = facts.listed.get(version).copied();
            let stated = digest.map(|digest| id_of(Content { version: *version, digest }, &facts));
            let is_rejected = |id: InstanceId| {
                facts.instances.get(&id) == Some(&Standing::Rejected)
            };
            prop_assert!(stated.is_none_or(is_rejected) || plan.answers.contains_key(version),
                "version {} is not loaded: {:?}\n{:?}", version, facts, plan);
        }
        if let Some(hold) = facts.hold
            && facts.instances.get(&InstanceId { content: hold, settings: facts.settings })
                == Some(&Standing::Ready)
        {
            prop_assert_eq!(plan.default.map(|id| id.content), Some(hold));
        }
    }
}
