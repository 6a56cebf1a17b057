//! Which version answers a request: routes, their rules, buckets and splits.
//! Pure: what a request carries in, a variant out; no clock and no I/O.
//!
//! - `document`: a route as people write it, and what may be wrong with it
//! - `route`: the same made ready for requests, and its decision
//! - `bucket`, `split`, `rules`, `key`: the parts of a decision
//! - `units`, `srm`: distinct units by variant, and whether their ratio fits

mod document;
mod route;
mod units;

pub use document::{
    Comparison, Fallback, HeaderMatch, Key, Matcher, Metadata, OnNewVersion, OutputComparison,
    OutputKind, Problem, RouteDocument, RouteSpec, RuleSpec, ShadowSpec, Stickiness, VariantSpec,
    VersionPin, VersionRef,
};
pub use route::{Attributes, By, Decision, Explanation, Route, Unit, UnitKind, Variant};
pub use units::Units;
