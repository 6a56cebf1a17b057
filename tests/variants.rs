//! What a request of a route gets: which variant, who stands in, and what is counted. In process,
//! with scripted engines.

#[path = "support/fake_routes.rs"]
mod fake_routes;

use std::borrow::Cow;
use std::time::{Duration, Instant};

use fake_routes::{Asked, Behaviour, World};
use http::{HeaderMap, HeaderName, HeaderValue};
use modelgate::types::{Code, Parameter};

const SPLIT: &str = r#"{
    "variants": [{"name": "candidate", "version": 2, "weight": 25}],
    "stickiness": {"key": [{"header": "x-user-id"}, {"parameter": "customer"}], "salt": "r/r-01"}
}"#;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let value = |text: &str| HeaderValue::from_str(text).expect("a value");
    pairs.iter().map(|(name, text)| (HeaderName::from_static(name), value(text))).collect()
}

fn user(number: usize) -> HeaderMap {
    headers(&[("x-user-id", &format!("user-{number}"))])
}

#[test]
fn a_unit_keeps_its_variant_whatever_else_it_asks() {
    let world = World::new(SPLIT, [Behaviour::Sound, Behaviour::Sound]);
    let mut candidates = 0;
    for number in 0..1_000 {
        let first = world.ask(&Asked::with(&user(number))).expect("an answer");
        let again = world.ask(&Asked::with(&user(number))).expect("an answer");
        assert_eq!(first, again);
        let expected = if first.variant == "candidate" { 2 } else { 1 };
        assert_eq!(first.version, expected);
        candidates += usize::from(first.variant == "candidate");
    }
    assert!((200..300).contains(&candidates), "{candidates} of 1,000 at 25 %");
    assert_eq!(world.assigned(), [2 * (1_000 - candidates as u64), 2 * candidates as u64]);
}

#[test]
fn a_key_in_the_body_is_the_same_unit_as_in_a_header() {
    let world = World::new(SPLIT, [Behaviour::Sound, Behaviour::Sound]);
    for number in 0..200 {
        let by_header = world.ask(&Asked::with(&user(number))).expect("an answer");
        let text = Parameter::Text(Cow::from(format!("user-{number}")));
        let none = HeaderMap::new();
        let asked = Asked { parameters: vec![("customer", text)], ..Asked::with(&none) };
        assert_eq!(world.ask(&asked).expect("an answer").variant, by_header.variant);
        let text = format!("{number}");
        let by_header = world.ask(&Asked::with(&headers(&[("x-user-id", &text)])));
        let asked = Asked {
            parameters: vec![("customer", Parameter::Int(number as i64))],
            ..Asked::with(&none)
        };
        assert_eq!(world.ask(&asked).expect("an answer").variant, by_header.expect("one").variant);
    }
}

#[test]
fn a_rule_goes_before_the_split_and_a_pin_before_the_rule() {
    let world = World::new(
        r#"{
            "variants": [{"name": "candidate", "version": 2, "weight": 0}],
            "match": [{"variant": "candidate", "headers": [{"name": "x-tenant", "exact": "us"}]}]
        }"#,
        [Behaviour::Sound, Behaviour::Sound],
    );
    let ours = headers(&[("x-tenant", "us")]);
    let by_rule = world.ask(&Asked::with(&ours)).expect("an answer");
    assert_eq!((by_rule.variant.as_str(), by_rule.version), ("candidate", 2));
    let pinned = Asked { version: "1", ..Asked::with(&ours) };
    let pinned = world.ask(&pinned).expect("an answer");
    assert_eq!((pinned.variant.as_str(), pinned.version), ("pinned", 1));
    let by_header = headers(&[("x-tenant", "us"), ("x-model-version", "2")]);
    let by_header = world.ask(&Asked::with(&by_header)).expect("an answer");
    assert_eq!((by_header.variant.as_str(), by_header.version), ("pinned", 2));
    let unknown = world.ask(&Asked { version: "9", ..Asked::with(&ours) });
    assert_eq!(unknown.map_err(|error| error.code), Err(Code::NotFound));
    assert_eq!(world.assigned(), [0, 1], "pins are not assigned");
    assert_eq!(world.requests("pinned", "ok"), 2.0);
}

#[test]
fn a_route_may_refuse_pins() {
    let world = World::new(r#"{"versionPin": "refuse"}"#, [Behaviour::Sound, Behaviour::Sound]);
    let none = HeaderMap::new();
    let refused = world.ask(&Asked { version: "1", ..Asked::with(&none) }).expect_err("refused");
    assert_eq!(refused.code, Code::PermissionDenied);
    assert!(refused.message.contains("versionPin"), "{refused}");
    assert!(world.ask(&Asked::with(&none)).is_ok());
}

const ALL_TO_CANDIDATE: &str =
    r#"{"variants": [{"name": "candidate", "version": 2, "weight": 100}]}"#;

#[test]
fn the_champion_answers_where_the_variant_cannot() {
    let none = HeaderMap::new();
    for behaviour in [Behaviour::Fails, Behaviour::Panics, Behaviour::NotANumber, Behaviour::Absent]
    {
        let world = World::new(ALL_TO_CANDIDATE, [Behaviour::Sound, behaviour]);
        for _ in 0..10 {
            let answer = world.ask(&Asked::with(&none)).expect("the champion's answer");
            assert_eq!((answer.variant.as_str(), answer.version), ("champion", 1), "{behaviour:?}");
        }
        assert_eq!(world.assigned(), [0, 10], "{behaviour:?}");
        assert_eq!(world.fell_back(), [0, 10], "{behaviour:?}");
        assert_eq!(world.requests("champion", "ok"), 10.0, "{behaviour:?}");
    }
}

#[test]
fn a_variant_that_hangs_leaves_the_champion_its_time() {
    let world = World::new(ALL_TO_CANDIDATE, [Behaviour::Sound, Behaviour::Hangs]);
    let none = HeaderMap::new();
    let started = Instant::now();
    let timeout = Some(Duration::from_millis(300));
    let answer = world.ask(&Asked { timeout, ..Asked::with(&none) }).expect("in time");
    assert_eq!(answer.variant, "champion");
    assert!(started.elapsed() < Duration::from_millis(300), "{:?}", started.elapsed());
}

#[test]
fn a_variant_that_hangs_where_the_champion_does_not_is_left_alone() {
    let world = World::new(ALL_TO_CANDIDATE, [Behaviour::Sound, Behaviour::Hangs]);
    let none = HeaderMap::new();
    for _ in 0..6 {
        let asked = Asked { timeout: Some(Duration::from_millis(100)), ..Asked::with(&none) };
        assert_eq!(world.ask(&asked).expect("in time").variant, "champion");
    }
    assert!(world.candidate_is_shut());
    assert!(world.candidate_runs() <= 3, "{} runs", world.candidate_runs());
    let world = World::new("{}", [Behaviour::Hangs, Behaviour::Sound]);
    for _ in 0..6 {
        // Far above what a busy machine may take to wake the lane: a request whose deadline is
        // shorter than the wait of the one before is refused at the door.
        let asked = Asked { timeout: Some(Duration::from_millis(250)), ..Asked::with(&none) };
        let error = world.ask(&asked).expect_err("nobody else answers");
        assert_eq!(error.code, Code::DeadlineExceeded, "the input may be the reason: {error}");
    }
}

#[test]
fn without_a_fallback_the_variants_failure_is_the_answer() {
    let spec = r#"{
        "variants": [{"name": "candidate", "version": 2, "weight": 100}], "fallback": "none"
    }"#;
    let world = World::new(spec, [Behaviour::Sound, Behaviour::Fails]);
    let error = world.ask(&Asked::with(&HeaderMap::new())).expect_err("it fails");
    assert_eq!(error.code, Code::InvalidArgument);
    let world = World::new(spec, [Behaviour::Sound, Behaviour::Absent]);
    let error = world.ask(&Asked::with(&HeaderMap::new())).expect_err("it is not there");
    assert_eq!(error.code, Code::Unavailable);
    assert!(error.message.contains("candidate"), "{error}");
}

#[test]
fn the_champion_has_nobody_to_stand_in() {
    let world = World::new(ALL_TO_CANDIDATE, [Behaviour::Absent, Behaviour::Fails]);
    let error = world.ask(&Asked::with(&HeaderMap::new())).expect_err("nobody can");
    assert_eq!(error.code, Code::InvalidArgument, "the variant's own reason: {error}");
    let world = World::new("{}", [Behaviour::Absent, Behaviour::Sound]);
    let error = world.ask(&Asked::with(&HeaderMap::new())).expect_err("never another version");
    assert_eq!(error.code, Code::Unavailable);
}

#[test]
fn what_both_cannot_take_is_the_callers_fault() {
    let world = World::new(ALL_TO_CANDIDATE, [Behaviour::Fails, Behaviour::Fails]);
    for _ in 0..30 {
        let error = world.ask(&Asked::with(&HeaderMap::new())).expect_err("both fail");
        assert_eq!(error.code, Code::InvalidArgument);
    }
    assert_eq!(world.requests("candidate", "invalid_argument"), 30.0);
    assert!(!world.candidate_is_shut(), "garbage shuts nobody out");
}

#[test]
fn what_the_champion_makes_no_number_of_either_is_no_fault() {
    let both = [Behaviour::NotANumber, Behaviour::NotANumber];
    let world = World::new(ALL_TO_CANDIDATE, both);
    for _ in 0..6 {
        assert!(world.ask(&Asked::with(&HeaderMap::new())).is_ok());
    }
    assert!(!world.candidate_is_shut());
    let world = World::new(ALL_TO_CANDIDATE, [Behaviour::Sound, Behaviour::NotANumber]);
    for _ in 0..6 {
        assert!(world.ask(&Asked::with(&HeaderMap::new())).is_ok());
    }
    assert!(world.candidate_is_shut(), "the champion made a number of it");
}

#[test]
fn a_variant_that_keeps_failing_is_left_alone() {
    let world = World::new(ALL_TO_CANDIDATE, [Behaviour::Sound, Behaviour::Fails]);
    for _ in 0..40 {
        assert!(world.ask(&Asked::with(&HeaderMap::new())).is_ok());
    }
    assert!(world.candidate_is_shut());
    assert!(world.candidate_runs() < 40, "{} runs", world.candidate_runs());
    assert_eq!(world.fell_back(), [0, 40]);
}

#[test]
fn classes_are_lowered_by_header_and_other_words_refused() {
    let world = World::new("{}", [Behaviour::Sound, Behaviour::Sound]);
    for (class, taken) in [("batch", true), ("critical", true), ("urgent", false)] {
        let asked = headers(&[("x-request-priority", class)]);
        assert_eq!(world.ask(&Asked::with(&asked)).is_ok(), taken, "{class}");
    }
}
