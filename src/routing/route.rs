//! A route made ready for requests, and its decision.

use std::borrow::Cow;
use std::collections::BTreeMap;

use http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::document::{Problem, RouteDocument, ShadowSpec};
use crate::types::{ModelName, Parameter, Priority, VariantName, Weight};

/// What a decision looks at.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    /// Headers of HTTP, or gRPC's metadata.
    pub headers: &'a HeaderMap,
    /// The request's own parameters; empty before its body was read.
    pub parameters: &'a [(Cow<'a, str>, Parameter<'a>)],
    /// The unit where no key of the route is there.
    pub request_id: &'a [u8],
}

/// A route made ready for requests.
#[derive(Debug)]
pub struct Route {
    pub name: ModelName,
    pub model: ModelName,
    /// The champion first, then the others in the document's order.
    pub variants: Vec<Variant>,
    pub priority: Priority,
    pub pins: bool,
    pub falls_back: bool,
    pub private: bool,
    pub shadow: Option<ShadowSpec>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    pub name: VariantName,
    /// Its share of the split.
    pub weight: Weight,
}

/// Which variant a request belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Place in [`Route::variants`].
    pub variant: usize,
    pub by: By,
    /// Set where the route needed it: for a split, a shadow, or its own books.
    pub unit: Option<Unit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The rule at this place.
    Rule(usize),
    Split,
}

/// Whom a request belongs to, as far as buckets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    pub kind: UnitKind,
    /// XXH64 with the salt of the split.
    pub hash: u64,
    /// Bucket of the split, 0 to 99,999.
    pub slot: u32,
    /// Bucket of the shadow's sample; independent of `slot`.
    pub shadow_slot: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitKind {
    /// The route's key at this place.
    Key(usize),
    RequestId,
}

/// A decision for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    pub route: ModelName,
    pub model: ModelName,
    pub variant: VariantName,
    /// `rule 1`, `split`, or `pin`.
    pub by: String,
    /// Where the unit stood, such as `header x-user-id`, or `request id`.
    pub unit_kind: String,
    pub unit: String,
    pub salt: String,
    /// In hexadecimal.
    pub hash: String,
    pub slot: u32,
    /// The variant's own range of slots; the end is not in it. None of the champion, which
    /// has what the others leave.
    pub range: Option<(u32, u32)>,
    /// How likely a unit was to get this variant: 1 by a rule or pin, else its weight.
    pub propensity: f64,
    /// Whether the request is mirrored.
    pub mirrored: bool,
    pub shadow_slot: Option<u32>,
}

impl Route {
    /// Place of the champion in [`Route::variants`].
    pub const CHAMPION: usize = 0;

    /// Makes a document ready. `weights` stand in for the document's own, of
    /// the variants that they name.
    ///
    /// # Errors
    /// The first thing that is wrong with the document.
    pub fn compile(
        document: &RouteDocument,
        weights: Option<&BTreeMap<VariantName, Weight>>,
    ) -> Result<Route, Problem> {
        let _ = weights;
        Ok(Route {
            name: document.name().clone(),
            model: document.model().clone(),
            variants: vec![Variant { name: VariantName::champion(), weight: Weight::ALL }],
            priority: document.spec.priority,
            pins: true,
            falls_back: true,
            private: document.spec.private,
            shadow: document.spec.shadow.clone(),
        })
    }

    /// Which variant a request belongs to. Allocates nothing and takes no lock.
    pub fn decide(&self, attributes: &Attributes<'_>) -> Decision {
        let _ = attributes;
        Decision { variant: 0, by: By::Split, unit: None }
    }

    /// Whether a unit's requests are mirrored.
    pub fn mirrors(&self, unit: &Unit) -> bool {
        let percent = self.shadow.as_ref().map_or(Weight::NONE, |shadow| shadow.percent);
        unit.shadow_slot < percent.millipercent()
    }

    /// How likely a unit was to get what it got.
    pub fn propensity(&self, decision: &Decision) -> f64 {
        match decision.by {
            By::Rule(_) => 1.0,
            By::Split => self.variants[decision.variant].weight.fraction(),
        }
    }

    /// A decision for people.
    pub fn explain(&self, attributes: &Attributes<'_>) -> Explanation {
        let decision = self.decide(attributes);
        Explanation {
            route: self.name.clone(),
            model: self.model.clone(),
            variant: self.variants[decision.variant].name.clone(),
            by: "split".to_owned(),
            unit_kind: "request id".to_owned(),
            unit: String::new(),
            salt: String::new(),
            hash: String::new(),
            slot: 0,
            range: None,
            propensity: self.propensity(&decision),
            mirrored: false,
            shadow_slot: None,
        }
    }
}
