use proptest::prelude::*;

use super::*;
use crate::routing::tests_support::{headers, rule};

/// Variants are told apart by the number in their name.
fn place(of: &VariantName) -> Option<usize> {
    if of.is_champion() { Some(0) } else { of.as_str().strip_prefix('v')?.parse().ok() }
}

fn rules(specs: &[RuleSpec]) -> Rules {
    Rules::new(specs, place).expect("rules")
}

fn problem(spec: RuleSpec) -> Problem {
    let fine = rule("champion", &[("x-a", "exact", "1")]);
    Rules::new(&[fine, spec], place).expect_err("a problem")
}

#[test]
fn the_first_rule_that_fits_decides() {
    let rules = rules(&[
        rule("v3", &[("X-Tenant", "exact", "internal"), ("x-region", "prefix", "eu-")]),
        rule("v1", &[("x-tenant", "exact", "internal")]),
        rule("v2", &[("x-region", "regex", "(eu|us)-[a-z]+")]),
        rule("champion", &[("x-tenant", "prefix", "")]),
    ]);
    let cases: [(&[(&'static str, &[u8])], Option<(usize, usize)>); 9] = [
        (&[("x-tenant", b"internal"), ("x-region", b"eu-north")], Some((0, 3))),
        (&[("x-tenant", b"internal"), ("x-region", b"us-east")], Some((1, 1))),
        (&[("x-tenant", b"internal")], Some((1, 1))),
        (&[("x-tenant", b"Internal"), ("x-region", b"us-east")], Some((2, 2))),
        (&[("x-tenant", b"Internal"), ("x-region", b"us-east1")], Some((3, 0))),
        (&[("x-tenant", b"")], Some((3, 0))),
        (&[("x-tenant", b" internal"), ("x-region", b"eu")], Some((3, 0))),
        (&[("x-region", b"EU-north")], None),
        (&[], None),
    ];
    for (given, expected) in cases {
        assert_eq!(rules.first_fit(&headers(given)), expected, "{given:?}");
    }
}

#[test]
fn any_value_of_a_header_may_fit() {
    let rules = rules(&[rule("v1", &[("x-group", "exact", "b"), ("x-group", "prefix", "c")])]);
    let of = |values: [&[u8]; 2]| {
        let pairs: Vec<_> = values.iter().map(|&value| ("x-group", value)).collect();
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(name, HeaderValue::from_bytes(value).expect("a value"));
        }
        rules.first_fit(&map)
    };
    assert_eq!(of([b"b", b"cc"]), Some((0, 1)));
    assert_eq!(of([b"cc", b"b"]), Some((0, 1)));
    assert_eq!(of([b"b", b"b"]), None, "both conditions have to fit");
}

#[test]
fn problems_say_where_they_are() {
    let many: Vec<_> = (0..9).map(|_| ("x-a", "exact", "1")).collect();
    for (spec, path, part) in [
        (rule("other", &[("x-a", "exact", "1")]), "variant", "no variant other"),
        (rule("v1", &[]), "headers", "1 to 8 headers, found 0"),
        (rule("v1", &many), "headers", "found 9"),
        (rule("v1", &[("x-a", "exact", "1"), ("x a", "exact", "1")]), "headers.1.name", "'x a'"),
        (rule("v1", &[(":path", "exact", "1")]), "headers.0.name", "':path'"),
        (rule("v1", &[("", "exact", "1")]), "headers.0.name", "''"),
        (rule("v1", &[("x-a", "none", "1")]), "headers.0", "one of exact, prefix and regex"),
        (rule("v1", &[("x-a", "regex", "(")]), "headers.0.regex", "unclosed"),
    ] {
        let problem = problem(spec);
        assert_eq!(problem.path, format!("spec.match.1.{path}"));
        assert!(problem.message.contains(part), "{problem}");
    }
    let mut both = rule("v1", &[("x-a", "exact", "1")]);
    both.headers[0].prefix = Some("1".to_owned());
    assert_eq!(problem(both).path, "spec.match.1.headers.0");

    let one = rule("v1", &[("x-a", "exact", "1")]);
    assert!(Rules::new(&vec![one.clone(); 64], place).is_ok());
    let problem = Rules::new(&vec![one; 65], place).expect_err("a problem");
    assert_eq!(problem.path, "spec.match");
}

#[test]
fn the_last_of_all_rules_can_fit() {
    let specs: Vec<_> = (0..64).map(|i| (format!("x-h{}", i % 7), i.to_string())).collect();
    let specs: Vec<_> =
        specs.iter().map(|(header, value)| rule("v1", &[(header, "exact", value)])).collect();
    let last = headers(&[("x-h0", b"63")]);
    assert_eq!(rules(&specs).first_fit(&last), Some((63, 1)));
}

const NAMES: [&str; 4] = ["x-a", "x-b", "x-c", "x-d"];

fn condition() -> impl Strategy<Value = (usize, &'static str, String)> {
    (0..4_usize, prop::sample::select(vec!["exact", "prefix", "regex"]), "[ab]{0,2}")
}

proptest! {
    /// The word of bits comes to what the definition says, rule by rule.
    #[test]
    fn the_first_fit_is_the_one_by_definition(
        specs in prop::collection::vec(prop::collection::vec(condition(), 1..4), 0..12),
        values in prop::collection::vec((0..4_usize, "[ab]{0,3}"), 0..6),
    ) {
        let specs: Vec<RuleSpec> = specs.iter().map(|conditions| {
            let headers: Vec<_> =
                conditions.iter().map(|(at, way, text)| (NAMES[*at], *way, text.as_str())).collect();
            rule("v1", &headers)
        }).collect();
        let mut map = HeaderMap::new();
        for (at, value) in &values {
            map.append(NAMES[*at], HeaderValue::from_str(value).expect("a value"));
        }
        let fits = |asked: &HeaderMatch| map.get_all(asked.name.as_str()).iter().any(|value| {
            let value = value.to_str().expect("text");
            // The patterns here have no signs of their own.
            match asked.matcher().expect("one way") {
                Matcher::Exact(text) | Matcher::Regex(text) => value == text,
                Matcher::Prefix(text) => value.starts_with(text),
            }
        });
        let expected = specs.iter().position(|spec| spec.headers.iter().all(fits));
        let found = rules(&specs).first_fit(&map).map(|(rule, _)| rule);
        prop_assert_eq!(found, expected);
    }
}
