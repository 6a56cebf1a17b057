use http::HeaderMap;

use super::*;
use crate::routing::document::Key;
use crate::routing::tests_support::{
    attributes, document, headers, name, percent, route, rule, variant,
};

/// A route that gives everything to `a`, sticky by those keys.
fn keyed(keys: &[Key]) -> Route {
    let mut document = document(vec![variant("a", 100.0, None)]);
    document.spec.stickiness.key = keys.to_vec();
    route(&document)
}

fn header(name: &str) -> Key {
    Key::Header(name.to_owned())
}

fn parameter(name: &str) -> Key {
    Key::Parameter(name.to_owned())
}

#[test]
fn a_unit_is_the_first_key_that_is_there() {
    let route =
        keyed(&[header("X-User-Id"), Key::Metadata("session".to_owned()), parameter("tenant")]);
    let number = |number: i64| Parameter::Int(number);
    let text = |text: &'static str| Parameter::Text(Cow::Borrowed(text));
    type Case<'a> = (&'a [(&'static str, &'a [u8])], Option<Parameter<'static>>, &'a str, &'a [u8]);
    let cases: [Case<'_>; 13] = [
        (&[("x-user-id", b"user-1"), ("session", b"s")], None, "header x-user-id", b"user-1"),
        (&[("x-user-id", b" User-1")], None, "header x-user-id", b" User-1"),
        (&[("x-user-id", b"\xff\xfe")], None, "header x-user-id", b"\xff\xfe"),
        (&[("x-user-id", b""), ("session", b"s")], None, "header session", b"s"),
        (&[("session", b"s")], Some(text("t")), "header session", b"s"),
        (&[], Some(text("Ünï")), "parameter tenant", "Ünï".as_bytes()),
        (&[], Some(number(-42)), "parameter tenant", b"-42"),
        (&[], Some(number(i64::MIN)), "parameter tenant", b"-9223372036854775808"),
        (&[], Some(Parameter::Uint(u64::MAX)), "parameter tenant", b"18446744073709551615"),
        (&[], Some(Parameter::Bool(true)), "parameter tenant", b"true"),
        (&[], Some(Parameter::Bool(false)), "parameter tenant", b"false"),
        (&[], Some(Parameter::Double(42.0)), "request id", b"request"),
        (&[], Some(text("")), "request id", b"request"),
    ];
    for (given, given_parameter, kind, bytes) in cases {
        let headers = headers(given);
        let given_parameter = given_parameter.map(|value| (Cow::Borrowed("tenant"), value));
        let others = (Cow::Borrowed("other"), text("o"));
        let parameters: Vec<_> = [others].into_iter().chain(given_parameter).collect();
        let attributes =
            Attributes { headers: &headers, parameters: &parameters, request_id: b"request" };
        let explained = route.explain(&attributes);
        assert_eq!(explained.unit_kind, kind, "{given:?}");
        assert_eq!(explained.unit, String::from_utf8_lossy(bytes), "{given:?}");
        let unit = route.decide(&attributes).unit.expect("a unit");
        assert_eq!(unit.hash, Salt::new("fraud/r-01/split").hash(bytes), "{given:?}");
        assert_eq!(format!("{:016x}", unit.hash), explained.hash);
    }
}

#[test]
fn the_first_value_of_a_header_is_the_unit() {
    let mut map = HeaderMap::new();
    map.append("x-user-id", "one".parse().expect("a value"));
    map.append("x-user-id", "two".parse().expect("a value"));
    assert_eq!(keyed(&[header("x-user-id")]).explain(&attributes(&map)).unit, "one");
}

#[test]
fn a_decision_agrees_with_the_published_vectors() {
    let mut document = document(vec![variant("candidate", 8.533, Some(50.0))]);
    document.spec.shadow = Some(ShadowSpec { percent: percent(76.991), ..ShadowSpec::default() });
    let decide = |document: &RouteDocument| {
        let route = route(document);
        let headers = headers(&[("x-user-id", b"user-1")]);
        let decision = route.decide(&attributes(&headers));
        let unit = decision.unit.expect("a unit");
        (decision.variant, unit, route.mirrors(&unit), route.propensity(&decision))
    };
    let (variant, unit, is_mirrored, propensity) = decide(&document);
    assert_eq!((unit.slot, unit.shadow_slot), (8_532, 76_990));
    assert_eq!(unit.kind, UnitKind::Key(0));
    assert_eq!((variant, is_mirrored), (1, true), "just within");
    assert!((propensity - 0.08533).abs() < 1e-12);

    document.spec.variants[0].weight = Some(percent(8.532));
    document.spec.shadow = Some(ShadowSpec { percent: percent(76.99), ..ShadowSpec::default() });
    let (variant, _, is_mirrored, propensity) = decide(&document);
    assert_eq!((variant, is_mirrored), (0, false), "just without");
    assert!((propensity - 0.91468).abs() < 1e-12);

    document.spec.stickiness.salt = Some("fraud/r-02".to_owned());
    assert_eq!(decide(&document).1.slot, 18_080);
}

#[test]
fn a_rule_comes_before_the_split() {
    let mut document = document(vec![variant("a", 50.0, None), variant("b", 0.0, None)]);
    document.spec.rules = vec![
        rule("b", &[("x-tenant", "exact", "internal")]),
        rule("champion", &[("x-tenant", "exact", "calm")]),
    ];
    let route = route(&document);
    let headers = headers(&[("x-tenant", b"internal"), ("x-user-id", b"user-1")]);
    let decision = route.decide(&attributes(&headers));
    assert_eq!((decision.variant, decision.by), (2, By::Rule(0)));
    assert_eq!(decision.unit.map(|unit| unit.slot), Some(8_532), "known for the books");
    assert_eq!(route.propensity(&decision), 1.0);

    let explained = route.explain(&attributes(&headers));
    assert_eq!((&*explained.by, explained.variant), ("rule 1", name("b")));
    assert_eq!(explained.range, Some((50_000, 50_000)));
    assert_eq!(explained.propensity, 1.0);
}

#[test]
fn a_route_that_divides_nothing_computes_no_unit() {
    let mut document = document(vec![variant("a", 0.0, None)]);
    document.spec.rules = vec![rule("a", &[("x-tenant", "exact", "internal")])];
    let map = headers(&[("x-user-id", b"user-1")]);
    let unit = |document: &RouteDocument| route(document).decide(&attributes(&map)).unit;
    assert_eq!(unit(&document), None);
    document.spec.on_new_version = OnNewVersion::Shadow;
    assert!(unit(&document).is_some(), "with the defaults of a shadow");
    document.spec.on_new_version = OnNewVersion::Swap;
    document.spec.variants[0].weight = Some(percent(0.001));
    assert!(unit(&document).is_some());
}

#[test]
fn explanations_show_what_was_decided() {
    let mut document = document(vec![variant("candidate", 10.0, None)]);
    let plain = route(&document);
    let of_header = plain.explain(&attributes(&headers(&[("x-user-id", b"user-1")])));
    assert_eq!(plain.explain_unit(b"user-1"), of_header);
    assert_eq!(of_header.variant, name("candidate"));
    assert_eq!((&*of_header.by, &*of_header.unit), ("split", "user-1"));
    assert_eq!((&*of_header.salt, &*of_header.hash), ("fraud/r-01/split", "15d7c8eacd5c8e56"));
    assert_eq!((of_header.slot, of_header.range), (8_532, Some((0, 10_000))));
    assert_eq!((of_header.mirrored, of_header.shadow_slot), (false, None));

    document.spec.shadow = Some(ShadowSpec::default());
    let champion = route(&document).explain_unit(b"user-3");
    assert_eq!((champion.variant, champion.range), (name("champion"), None));
    assert!(champion.shadow_slot.is_some());
    assert!((champion.propensity - 0.9).abs() < 1e-12);

    document.spec.variants.clear();
    document.spec.shadow = None;
    assert_eq!(route(&document).explain_unit(b"user-1").slot, 8_532, "though nothing needs it");
}

#[test]
fn secrets_are_not_shown() {
    for secret in ["authorization", "Cookie", "proxy-authorization"] {
        let route = keyed(&[header(secret)]);
        let lower: &'static str = match secret {
            "Cookie" => "cookie",
            other => other,
        };
        let explained = route.explain(&attributes(&headers(&[(lower, b"Bearer secret")])));
        assert_eq!(explained.unit, "***");
        assert_eq!(explained.unit_kind, format!("header {lower}"));
        assert_ne!(explained.hash, route.explain_unit(b"other").hash);
        assert!(!format!("{explained:?}").contains("secret"));
    }
}

#[test]
fn a_document_becomes_the_route_it_describes() {
    let mut document = document(vec![]);
    document.spec.model = Some(ModelName::parse("other").expect("a name"));
    document.spec.version_pin = VersionPin::Refuse;
    document.spec.fallback = Fallback::None;
    document.spec.priority = Priority::Batch;
    document.spec.private = true;
    let made = route(&document);
    assert_eq!((made.name.as_str(), made.model.as_str()), ("fraud", "other"));
    assert!(!made.pins && !made.falls_back && made.private && made.shadow.is_none());
    assert_eq!(made.priority, Priority::Batch);
    let champion = Variant { name: VariantName::champion(), weight: Weight::ALL };
    assert_eq!(made.variants, [champion]);

    let weights = [(name("a"), percent(40.0))].into_iter().collect();
    let mut grown = crate::routing::tests_support::document(vec![variant("a", 1.0, None)]);
    let made = Route::compile(&grown, Some(&weights)).expect("a route");
    assert_eq!(made.variants[1].weight, percent(40.0));
    grown.spec.variants[0].max_weight = Some(percent(30.0));
    let problem = Route::compile(&grown, Some(&weights)).expect_err("a problem");
    assert_eq!(problem.path, "weights.a");
}

#[test]
fn the_books_have_place_for_all_variants() {
    assert_eq!(crate::routing::MAX_VARIANTS, crate::telemetry::MAX_VARIANTS);
}
