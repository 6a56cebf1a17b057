use super::*;
use crate::routing::document::{Key, ShadowSpec};
use crate::routing::tests_support::{document, rule, variant};

fn plain() -> RouteDocument {
    document(vec![variant("a", 5.0, None)])
}

#[test]
fn a_sound_route_has_no_warnings() {
    let mut sound = plain();
    sound.spec.private = true;
    sound.spec.shadow = Some(ShadowSpec::default());
    sound.spec.rules = vec![
        rule("a", &[("x-tenant", "exact", "internal"), ("x-beta", "exact", "1")]),
        rule("a", &[("x-tenant", "exact", "internal")]),
        rule("champion", &[("x-tenant", "prefix", "in")]),
        rule("a", &[("x-tenant", "regex", "[a-c]+")]),
    ];
    sound.validate().expect("a valid document");
    assert_eq!(lint(&sound), Vec::<String>::new());
}

#[test]
fn what_is_hardly_meant_is_said() {
    type Change = fn(&mut RouteDocument);
    let cases: [(&str, Change); 9] = [
        ("spec.variants.0: a has no weight", |d| d.spec.variants[0].weight = None),
        ("spec.variants.0.version: a points at default", |d| {
            d.spec.variants[0].version = VersionRef::Default;
        }),
        ("spec.stickiness.key: there is a split and no key", |d| d.spec.stickiness.key.clear()),
        ("spec.onNewVersion: ", |d| d.spec.on_new_version = OnNewVersion::Shadow),
        ("spec.shadow.version: default is what the champion", |d| {
            d.spec.private = true;
            d.spec.shadow =
                Some(ShadowSpec { version: VersionRef::Default, ..ShadowSpec::default() });
        }),
        ("spec.shadow.compare.samples: ", |d| d.spec.shadow = Some(ShadowSpec::default())),
        ("spec.match.1: never reached, because whatever fits it fits spec.match.0", |d| {
            d.spec.rules = vec![
                rule("a", &[("x-a", "prefix", "in")]),
                rule("champion", &[("x-b", "exact", "1"), ("X-A", "exact", "internal")]),
            ];
        }),
        ("spec.match.1: never reached", |d| {
            let same = rule("a", &[("x-a", "regex", "a+")]);
            d.spec.rules = vec![same.clone(), same];
        }),
        ("spec.match.0.headers.0.regex: '^internal$' fits one value", |d| {
            d.spec.rules = vec![rule("a", &[("x-a", "regex", "^internal$")])];
        }),
    ];
    for (part, change) in cases {
        let mut changed = plain();
        change(&mut changed);
        changed.validate().expect("a valid document");
        let warnings = lint(&changed);
        assert!(warnings.len() == 1 && warnings[0].starts_with(part), "{part}: {warnings:?}");
    }
}

#[test]
fn a_rule_gives_a_variant_its_requests() {
    let mut changed = plain();
    changed.spec.variants[0].weight = None;
    changed.spec.stickiness.key = vec![Key::Parameter("user".to_owned())];
    changed.spec.rules = vec![rule("a", &[("x-a", "exact", "1")])];
    assert_eq!(lint(&changed), Vec::<String>::new());
}
