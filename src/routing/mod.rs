//! Which version answers a request: routes, their rules, buckets and splits.
//! Pure: what a request carries in, a variant out; no clock and no I/O.
//!
//! - `document`, `validate`, `lint`: a route as people write it, what may be
//!   wrong with it, and what is hardly meant
//! - `route`, `explain`: the same made ready for requests, its decision, and why
//! - `rules`, `pattern`, `key`, `bucket`, `split`: the parts of a decision
//! - `moved`: what a change does to those who call
//! - `units`, `srm`: distinct units by variant, and whether their ratio fits
//!
//! # The bucketing function
//!
//! Every replica, and every client that cares to, comes to the same bucket:
//!
//! ```text
//! hash = XXH64(utf8(salt) ‖ 0x00 ‖ unit, seed 0)
//! slot = ((hash >> 32) * 100000) >> 32          0 to 99,999, integers only
//! ```
//!
//! - **Salt.** `<base>/split` for the split, `<base>/shadow` for the shadow's
//!   sample, so that the two are independent. The base is the route's
//!   `stickiness.salt`, else `<route>/r-01`. Routes with the same base give a
//!   unit the same slot.
//! - **Unit.** The bytes of the first of the route's keys that the request
//!   carries, else of its request id.
//!   - A header, or key of gRPC's metadata: its first value as it came, not
//!     trimmed, folded or decoded (binary metadata is its base64 text).
//!   - A parameter: a text is its UTF-8, a whole number its decimal digits, a
//!     truth value `true` or `false`. Other numbers are written differently by
//!     different languages, and count as missing.
//!   - An empty value counts as missing: all callers without a name would
//!     share one bucket otherwise.
//! - **Split.** Every variant but the champion owns the slots from `off` to
//!   `off + weight`, in thousandths of a percent, where `off` is the sum of the
//!   `maxWeight` of the variants before it in the document. Those that give no
//!   `maxWeight` share equally, rounded down, what the others leave of 100 %.
//!   The champion owns every other slot. So a growing weight takes units from
//!   the champion alone, and a shrinking one gives them back to it.
//! - **Shadow.** A request is mirrored when its slot under the shadow's salt is
//!   below the shadow's `percent`.
//!
//! For `fraud/r-01/split` and `user-1` the hash is `15d7c8eacd5c8e56`, the slot
//! 8532. `tests/bucket/` has the function in Python and in JavaScript.

mod bucket;
mod document;
mod explain;
mod key;
mod lint;
mod moved;
mod pattern;
mod route;
mod rules;
mod split;
mod srm;
#[cfg(test)]
mod tests_support;
mod units;
mod validate;

pub use bucket::SLOTS;
pub use document::{
    API_VERSION, Comparison, Fallback, HeaderMatch, KIND, Key, Matcher, Metadata, OnNewVersion,
    OutputComparison, OutputKind, Problem, RouteDocument, RouteSpec, RuleSpec, ShadowSpec,
    Stickiness, VariantSpec, VersionPin, VersionRef,
};
pub use explain::Explanation;
pub use lint::lint;
pub use moved::moved_units;
pub use route::{Attributes, By, Decision, Route, Unit, UnitKind, Variant};
pub use split::MAX_VARIANTS;
pub use srm::ln_bayes_factor;
pub use units::Units;
