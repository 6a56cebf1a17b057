//! What the decision of a route costs. Bar: under 300 ns with 8 variants and
//! 20 rules over 5 headers, none of which fits.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue};
use modelgate::routing::{Attributes, Route, RouteDocument, Units};
use serde_json::{Value, json};

const VARIANTS: usize = 7;
const RULES: usize = 20;

fn route(spec: Value) -> Route {
    let document = json!({
        "apiVersion": "modelgate.dev/v1",
        "kind": "Route",
        "metadata": {"name": "fraud"},
        "spec": spec,
    });
    let document: RouteDocument = serde_json::from_value(document).expect("a document");
    Route::compile(&document, None).expect("a route")
}

/// Eight variants, the champion among them, and rules over so many headers,
/// with one way of comparing.
fn spec(rules_over: usize, way: &str, text: &str) -> Value {
    let variants: Vec<Value> =
        (0..VARIANTS).map(|i| json!({"name": format!("v{i}"), "weight": 10})).collect();
    let rule = |i: usize| {
        let header = format!("x-attribute-{}", i % rules_over);
        let text = text.replace('#', &i.to_string());
        json!({"variant": format!("v{}", i % VARIANTS), "headers": [{"name": header, way: text}]})
    };
    json!({
        "variants": variants,
        "match": (0..RULES).map(rule).collect::<Vec<_>>(),
        "stickiness": {"key": [{"header": "x-session"}, {"header": "x-user-id"}]},
    })
}

/// What clients send, the sticky key, and values that no rule fits.
fn headers(attributes: usize) -> HeaderMap {
    let usual = [
        ("host", "inference.example"),
        ("user-agent", "python-httpx/0.28"),
        ("content-type", "application/octet-stream"),
        ("content-length", "1234"),
        ("accept", "*/*"),
        ("x-request-id", "0198c2f0-7f6a-7cc0-9f1e-2f3a4b5c6d7e"),
        ("x-user-id", "user-123456"),
    ];
    let pair = |(name, value): (&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    let own = (0..attributes).map(|i| {
        let name = HeaderName::try_from(format!("x-attribute-{i}")).expect("a name");
        (name, HeaderValue::from_static("value-of-this-request"))
    });
    usual.into_iter().map(pair).chain(own).collect()
}

fn decide(c: &mut Criterion) {
    let mut group = c.benchmark_group("decide");
    let mut bench = |name: &str, spec: Value, headers: &HeaderMap| {
        let route = route(spec);
        group.bench_function(name, |b| {
            b.iter(|| {
                let attributes =
                    Attributes { headers: black_box(headers), parameters: &[], request_id: b"id" };
                black_box(&route).decide(&attributes)
            });
        });
    };
    bench("champion_only", json!({}), &headers(0));
    let exact = "value-of-that-request-#";
    for rules_over in [1, 5, 20] {
        let name = format!("8_variants_20_rules_over_{rules_over}");
        bench(&name, spec(rules_over, "exact", exact), &headers(rules_over));
    }
    bench("8_variants_20_rules_over_5_absent", spec(5, "exact", exact), &headers(0));
    bench("8_variants_20_prefixes_over_5", spec(5, "prefix", "value-of-that-#"), &headers(5));
    bench("8_variants_20_regexes_over_5", spec(5, "regex", "value-of-[a-z]+-#"), &headers(5));
    let mut shadowed = spec(5, "exact", exact);
    shadowed["shadow"] = json!({});
    bench("8_variants_20_rules_over_5_shadow", shadowed, &headers(5));
}

fn count(c: &mut Criterion) {
    let route = route(spec(5, "exact", "none"));
    let headers = headers(0);
    let attributes = Attributes { headers: &headers, parameters: &[], request_id: b"id" };
    let decision = route.decide(&attributes);
    let unit = decision.unit.expect("a unit");
    let units = Units::new(route.variants.len());
    c.bench_function("units_saw", |b| b.iter(|| units.saw(black_box(&unit), decision.variant)));
}

criterion_group!(benches, decide, count);
criterion_main!(benches);
