//! Tables, and what holds of every route whatever becomes of its model.

use proptest::prelude::*;

use super::*;
use crate::control::status::Hold;
use crate::types::{DType, Dim, TensorSpec};

fn version(number: u64) -> Version {
    Version::parse(&number.to_string()).expect("a version")
}

fn content(number: u64) -> Content {
    Content { version: version(number), digest: Digest::new([number as u8; 32]) }
}

fn name(name: &str) -> VariantName {
    VariantName::parse(name).expect("a name")
}

fn pin(number: u64, until_above: u64) -> Pin {
    let hold = Hold {
        version: version(number),
        digest: content(number).digest,
        actor: "ada".to_owned(),
        reason: String::new(),
        since: 1,
    };
    Pin { hold, until_above: version(until_above) }
}

/// A model that takes `x` and gives `y`.
fn signature(x: DType) -> Signature {
    let spec = |name: &str, dtype| TensorSpec {
        name: name.into(),
        dtype,
        dims: vec![Dim::from(-1)],
        labels: Vec::new().into(),
    };
    Signature { inputs: vec![spec("x", x)], outputs: vec![spec("y", DType::Fp32)] }
}

/// Versions that are ready, the newest of which is the default.
fn model<'a>(ready: &[u64], signature: &'a Signature) -> ModelView<'a> {
    ModelView {
        default: ready.iter().max().map(|number| content(*number)),
        answers: ready.iter().map(|number| (version(*number), content(*number))).collect(),
        ready: ready.iter().map(|number| (content(*number), signature)).collect(),
        listed: ready.iter().map(|number| (version(*number), content(*number).digest)).collect(),
        ..ModelView::default()
    }
}

/// A route as a test states it.
#[derive(Clone, Debug)]
struct Stated {
    names: Vec<VariantName>,
    versions: Vec<VersionRef>,
    shadow: Option<VersionRef>,
    on_new_version: OnNewVersion,
    pin: Option<Pin>,
}

impl Stated {
    fn champion(says: VersionRef, on_new_version: OnNewVersion) -> Stated {
        let names = vec![VariantName::champion()];
        Stated { names, versions: vec![says], shadow: None, on_new_version, pin: None }
    }

    fn variant(mut self, says: VersionRef) -> Stated {
        self.names.push(name(&format!("v{}", self.names.len())));
        self.versions.push(says);
        self
    }

    fn pinned(self, pin: Pin) -> Stated {
        Stated { pin: Some(pin), ..self }
    }

    fn shadow(self, says: VersionRef) -> Stated {
        Stated { shadow: Some(says), ..self }
    }

    fn asked(&self) -> Asked<'_> {
        Asked {
            variants: self.names.iter().zip(self.versions.iter().cloned()).collect(),
            shadow: self.shadow.as_ref(),
            on_new_version: self.on_new_version,
            pin: self.pin.as_ref(),
        }
    }

    fn resolve(&self, view: &ModelView<'_>) -> RoutePlan {
        resolve(&self.asked(), Some(view))
    }
}

use OnNewVersion::{Hold as Holds, Shadow as Shadows, Swap};
use VersionRef::{Default as ByDefault, Latest};

fn number(n: u64) -> VersionRef {
    VersionRef::Number(version(n))
}

#[test]
fn a_champion_follows_its_model_or_what_it_names() {
    let signature = signature(DType::Fp32);
    let mut view = model(&[1, 2, 3], &signature);
    view.default = Some(content(2));
    view.labels = [("old", LabelTarget::Version(version(1))), ("new", LabelTarget::Latest)].into();
    for (says, expected) in [
        (ByDefault, 2),
        (Latest, 3),
        (number(1), 1),
        (VersionRef::Label("old".to_owned()), 1),
        (VersionRef::Label("new".to_owned()), 3),
    ] {
        let plan = Stated::champion(says, Swap).resolve(&view);
        assert_eq!(plan.variants, vec![Stand::ready(content(expected))]);
        assert_eq!((plan.pin, plan.held_back, plan.problems.len()), (PinChange::Keep, None, 0));
    }
}

#[test]
fn a_promotion_lasts_until_something_newer_is_the_default() {
    let signature = signature(DType::Fp32);
    let promoted = Stated::champion(ByDefault, Swap).pinned(pin(2, 3));
    let plan = promoted.resolve(&model(&[2, 3], &signature));
    assert_eq!((plan.variants[0].content, plan.pin), (Some(content(2)), PinChange::Keep));
    let plan = promoted.resolve(&model(&[2, 3, 4], &signature));
    assert_eq!((plan.variants[0].content, plan.pin), (Some(content(4)), PinChange::Lift));
    let by_number = Stated::champion(number(3), Swap).pinned(pin(2, 3));
    let plan = by_number.resolve(&model(&[2, 3, 4], &signature));
    assert_eq!((plan.variants[0].content, plan.pin), (Some(content(2)), PinChange::Keep));
}

#[test]
fn new_versions_are_held_back() {
    let signature = signature(DType::Fp32);
    for policy in [Holds, Shadows] {
        let first = Stated::champion(ByDefault, policy);
        let plan = first.resolve(&model(&[2], &signature));
        assert_eq!((plan.pin, plan.held_back), (PinChange::Set(content(2)), None));
        let kept = first.pinned(pin(2, 2));
        let plan = kept.resolve(&model(&[2, 3, 4], &signature));
        assert_eq!((plan.variants[0].content, plan.pin), (Some(content(2)), PinChange::Keep));
        assert_eq!(plan.held_back, Some(version(4)));
        // Also when the version itself was overwritten.
        let mut view = model(&[2], &signature);
        let overwritten = Content { digest: Digest::new([9; 32]), ..content(2) };
        view.answers.insert(version(2), overwritten);
        let plan = kept.resolve(&view);
        assert_eq!(plan.variants[0].content, Some(content(2)), "it is kept by content");
        assert_eq!(plan.held_back, Some(version(2)));
    }
    let nothing = Stated::champion(ByDefault, Holds).resolve(&model(&[], &signature));
    assert_eq!(nothing.pin, PinChange::Keep, "there is nothing to keep yet");
}

#[test]
fn a_kept_champion_is_waited_for_and_replaced_only_when_it_cannot_be_loaded() {
    let signature = signature(DType::Fp32);
    let kept = Stated::champion(ByDefault, Holds).pinned(pin(2, 2));
    let mut view = model(&[3], &signature);
    view.underway.insert(content(2), Underway::Coming);
    let plan = kept.resolve(&view);
    assert_eq!(plan.variants[0].state, VariantState::Loading, "3 was never promoted");
    view.underway.insert(content(2), Underway::Rejected("it is damaged"));
    let plan = kept.resolve(&view);
    assert_eq!(plan.variants[0], Stand::ready(content(3)));
    assert!(plan.problems[0].contains("it is damaged"), "{:?}", plan.problems);
}

#[test]
fn a_shadow_goes_to_what_the_champion_is_not() {
    let signature = signature(DType::Fp32);
    let route = Stated::champion(ByDefault, Shadows).shadow(Latest);
    let plan = route.resolve(&model(&[2], &signature));
    assert_eq!((plan.shadow, plan.problems.len()), (None, 0), "that is no problem");
    let plan = route.clone().pinned(pin(2, 2)).resolve(&model(&[2, 3], &signature));
    assert_eq!(plan.shadow, Some(Stand::ready(content(3))));
    let plan = route.shadow(number(7)).resolve(&model(&[2], &signature));
    assert_eq!(plan.shadow.map(|stand| stand.state), Some(VariantState::Missing));
    assert_eq!(plan.problems.len(), 1);
}

#[test]
fn what_is_not_ready_says_why() {
    let signature = signature(DType::Fp32);
    let mut view = model(&[3], &signature);
    view.underway =
        [(content(1), Underway::Rejected("no such operator")), (content(2), Underway::Coming)]
            .into();
    view.listed.insert(version(4), content(4).digest);
    for (says, state, reason) in [
        (number(1), VariantState::Rejected, "no such operator"),
        (number(2), VariantState::Loading, "being loaded"),
        (number(4), VariantState::Missing, "not loaded"),
        (number(5), VariantState::Missing, "no version 5"),
        (VersionRef::Label("stable".to_owned()), VariantState::Missing, "no label 'stable'"),
    ] {
        let plan = Stated::champion(ByDefault, Swap).variant(says).resolve(&view);
        let stand = &plan.variants[1];
        assert_eq!(stand.state, state, "{stand:?}");
        assert!(stand.reason.as_ref().is_some_and(|one| one.contains(reason)), "{stand:?}");
        assert_eq!(plan.problems.is_empty(), state == VariantState::Loading);
    }
    let plan = resolve(&Stated::champion(ByDefault, Swap).variant(Latest).asked(), None);
    assert!(plan.variants.iter().all(|stand| stand.state == VariantState::Missing));
    assert_eq!((plan.variants.len(), plan.problems.len()), (2, 1));
    let off = ModelView { is_off: true, ..model(&[], &signature) };
    let plan = Stated::champion(ByDefault, Swap).resolve(&off);
    assert!(plan.problems[0].contains("by request only"), "{:?}", plan.problems);
}

#[test]
fn a_variant_has_to_answer_the_champions_callers() {
    let (floats, longs) = (signature(DType::Fp32), signature(DType::Int64));
    let mut view = model(&[1, 2], &floats);
    view.ready.insert(content(1), &longs);
    let route = Stated::champion(ByDefault, Swap).variant(number(1)).shadow(number(1));
    let plan = route.resolve(&view);
    assert_eq!(plan.variants[1].state, VariantState::Incompatible);
    assert_eq!(plan.shadow.map(|stand| stand.state), Some(VariantState::Incompatible));
    assert_eq!(plan.problems.len(), 2);
    view.any_signature = true;
    assert!(route.resolve(&view).problems.is_empty());
}

fn references() -> impl Strategy<Value = VersionRef> {
    prop_oneof![
        Just(ByDefault),
        Just(Latest),
        (1u64..6).prop_map(number),
        (0u64..3).prop_map(|n| VersionRef::Label(format!("label-{n}"))),
    ]
}

fn routes() -> impl Strategy<Value = Stated> {
    let policy = prop_oneof![Just(Swap), Just(Holds), Just(Shadows)];
    let variants = proptest::collection::vec(references(), 0..4);
    let pins = proptest::option::of((1u64..6, 1u64..6).prop_map(|(n, until)| pin(n, until)));
    (references(), policy, variants, proptest::option::of(references()), pins).prop_map(
        |(says, policy, variants, shadow, pin)| {
            let route = Stated::champion(says, policy);
            let route = variants.into_iter().fold(route, Stated::variant);
            Stated { shadow, pin, ..route }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_route_ever_goes_to_what_is_not_ready(
        route in routes(),
        ready in proptest::collection::btree_set(1u64..6, 0..5),
        coming in proptest::collection::btree_set(1u64..6, 0..5),
        rejected in proptest::collection::btree_set(1u64..6, 0..5),
        odd in proptest::option::of(1u64..6),
        default in proptest::option::of(1u64..6),
    ) {
        let (floats, longs) = (signature(DType::Fp32), signature(DType::Int64));
        let ready: Vec<u64> = ready.into_iter().collect();
        let mut view = model(&ready, &floats);
        view.default = default.filter(|one| ready.contains(one)).map(content);
        view.labels = [("label-0", LabelTarget::Version(version(2))), ("label-1", LabelTarget::Latest)]
            .into();
        if let Some(odd) = odd.map(content) && view.ready.contains_key(&odd) {
            view.ready.insert(odd, &longs);
        }
        for one in rejected {
            view.underway.insert(content(one), Underway::Rejected("it is bad"));
        }
        for one in coming {
            view.underway.insert(content(one), Underway::Coming);
        }
        view.underway.retain(|content, _| !view.ready.contains_key(content));
        let plan = route.resolve(&view);
        prop_assert_eq!(&plan, &route.resolve(&view), "the same facts, the same plan");
        prop_assert_eq!(plan.variants.len(), route.names.len());
        let champion = plan.variants[0].content.filter(|_| plan.variants[0].is_ready());
        for stand in plan.variants.iter().chain(&plan.shadow) {
            if stand.is_ready() {
                let content = stand.content.expect("what is ready has a content");
                prop_assert!(view.ready.contains_key(&content), "{:?}", stand);
                let fits = champion.is_none_or(|one| view.misfit(content, one).is_none());
                prop_assert!(fits, "{:?} with {:?}", stand, champion);
            } else {
                prop_assert!(stand.reason.is_some(), "{:?}", stand);
            }
        }
        if let Some(shadow) = &plan.shadow {
            prop_assert!(shadow.content.is_none() || shadow.content != plan.variants[0].content);
        }
        match plan.pin {
            PinChange::Keep => {}
            PinChange::Set(content) => {
                prop_assert!(route.pin.is_none() && route.on_new_version != Swap);
                prop_assert_eq!(champion, Some(content), "it is kept at what it is");
            }
            PinChange::Lift => prop_assert!(route.pin.is_some() && route.on_new_version == Swap),
        }
        // What was decided stands: the next pass changes nothing more.
        let pin = match plan.pin {
            PinChange::Keep => route.pin.clone(),
            PinChange::Set(content) => Some(pin(content.version.get(), content.version.get())),
            PinChange::Lift => None,
        };
        let again = Stated { pin, ..route }.resolve(&view);
        prop_assert_eq!(again.pin, PinChange::Keep);
        prop_assert_eq!(again.variants, plan.variants);
    }
}
