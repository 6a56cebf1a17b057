//! Routes for tests.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{
    Attributes, HeaderMatch, Key, Route, RouteDocument, RouteSpec, RuleSpec, VariantSpec,
    VersionRef,
};
use crate::types::{ModelName, VariantName, Weight};

pub(super) fn percent(percent: f64) -> Weight {
    Weight::from_percent(percent).expect("a weight")
}

pub(super) fn name(name: &str) -> VariantName {
    VariantName::parse(name).expect("a variant's name")
}

pub(super) fn variant(of: &str, weight: f64, most: Option<f64>) -> VariantSpec {
    VariantSpec {
        name: name(of),
        version: VersionRef::Latest,
        weight: Some(percent(weight)),
        max_weight: most.map(percent),
    }
}

/// The route `fraud`, sticky by `x-user-id`.
pub(super) fn document(variants: Vec<VariantSpec>) -> RouteDocument {
    let mut spec = RouteSpec { variants, ..RouteSpec::default() };
    spec.stickiness.key = vec![Key::Header("x-user-id".to_owned())];
    RouteDocument::new(ModelName::parse("fraud").expect("a name"), spec)
}

pub(super) fn route(document: &RouteDocument) -> Route {
    Route::compile(document, None).expect("a route")
}

pub(super) fn rule(variant: &str, headers: &[(&str, &str, &str)]) -> RuleSpec {
    let headers = headers.iter().map(|&(header, way, text)| {
        let text = |asked: &str| (asked == way).then(|| text.to_owned());
        HeaderMatch {
            name: header.to_owned(),
            exact: text("exact"),
            prefix: text("prefix"),
            regex: text("regex"),
        }
    });
    RuleSpec { variant: name(variant), headers: headers.collect() }
}

pub(super) fn headers(pairs: &[(&'static str, &[u8])]) -> HeaderMap {
    let pair = |&(name, value): &(&'static str, &[u8])| {
        (HeaderName::from_static(name), HeaderValue::from_bytes(value).expect("a value"))
    };
    pairs.iter().map(pair).collect()
}

pub(super) fn attributes(headers: &HeaderMap) -> Attributes<'_> {
    Attributes { headers, parameters: &[], request_id: b"request" }
}
