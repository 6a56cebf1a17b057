//! A route made ready for requests, and its decision.

use std::borrow::Cow;
use std::collections::BTreeMap;

use http::HeaderMap;

use super::bucket::{self, Salt};
use super::document::{Fallback, OnNewVersion, Problem, RouteDocument, ShadowSpec, VersionPin};
use super::key::Keys;
use super::rules::Rules;
use super::split::Split;
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
    /// With the defaults where the document asks for a shadow by `onNewVersion` alone.
    pub shadow: Option<ShadowSpec>,
    pub(super) keys: Keys,
    rules: Rules,
    pub(super) split: Split,
    /// What the hash of the split begins with.
    pub split_salt_text: String,
    split_salt: Salt,
    shadow_salt: Salt,
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
    /// Set where the route divides its units: by a split or by a shadow.
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
    /// Bucket of the shadow's sample; independent of `slot`. 0 on a route without a shadow.
    pub shadow_slot: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitKind {
    /// The route's key at this place.
    Key(usize),
    RequestId,
}

impl Route {
    /// Place of the champion in [`Route::variants`].
    pub const CHAMPION: usize = 0;

    /// Makes a document ready. `weights` stand in for the document's own, of
    /// the variants that they name.
    ///
    /// # Errors
    /// The first thing that is wrong with the document, or with `weights`: its
    /// path then begins with `weights`.
    pub fn compile(
        document: &RouteDocument,
        weights: Option<&BTreeMap<VariantName, Weight>>,
    ) -> Result<Route, Problem> {
        document.check_form()?;
        let spec = &document.spec;
        let mut split = Split::new(&spec.variants)?;
        if let Some(weights) = weights {
            split = split.with(weights)?;
        }
        let variants = split.variants();
        let place = |name: &VariantName| variants.iter().position(|other| other.name == *name);
        let rules = Rules::new(&spec.rules, place)?;
        let keys = Keys::new(&spec.stickiness)?;

        let salt = spec.stickiness.salt.clone();
        let salt = salt.unwrap_or_else(|| format!("{}/r-01", document.name()));
        let split_salt_text = format!("{salt}/split");
        let mirrors_new = spec.on_new_version == OnNewVersion::Shadow;
        let shadow = spec.shadow.clone().or_else(|| mirrors_new.then(ShadowSpec::default));
        Ok(Route {
            name: document.name().clone(),
            model: document.model().clone(),
            variants,
            priority: spec.priority,
            pins: spec.version_pin == VersionPin::Allow,
            falls_back: spec.fallback == Fallback::Champion,
            private: spec.private,
            shadow,
            keys,
            rules,
            split,
            split_salt: Salt::new(&split_salt_text),
            shadow_salt: Salt::new(&format!("{salt}/shadow")),
            split_salt_text,
        })
    }

    /// Which variant a request belongs to. Allocates nothing and takes no lock.
    pub fn decide(&self, attributes: &Attributes<'_>) -> Decision {
        let is_divided = self.shadow.is_some() || self.split.divides();
        let unit = is_divided.then(|| {
            let mut digits = itoa::Buffer::new();
            let (kind, bytes) = self.keys.find(attributes, &mut digits);
            self.unit(kind, bytes)
        });
        if let Some((rule, variant)) = self.rules.first_fit(attributes.headers) {
            return Decision { variant, by: By::Rule(rule), unit };
        }
        let variant = unit.map_or(0, |unit| self.split.pick(unit.slot));
        Decision { variant, by: By::Split, unit }
    }

    pub(super) fn unit(&self, kind: UnitKind, bytes: &[u8]) -> Unit {
        let hash = self.split_salt.hash(bytes);
        let sampled = self.shadow.as_ref().map(|_| bucket::slot(self.shadow_salt.hash(bytes)));
        let shadow_slot = sampled.unwrap_or(0);
        Unit { kind, hash, slot: bucket::slot(hash), shadow_slot }
    }

    /// The bytes of a request's key, where it carries one; `digits` holds a number's.
    pub fn key<'a>(
        &self,
        attributes: &Attributes<'a>,
        digits: &'a mut itoa::Buffer,
    ) -> Option<&'a [u8]> {
        match self.keys.find(attributes, digits) {
            (UnitKind::Key(_), bytes) => Some(bytes),
            (UnitKind::RequestId, _) => None,
        }
    }

    /// Whether a unit's requests are mirrored.
    pub fn mirrors(&self, unit: &Unit) -> bool {
        let percent = self.shadow.as_ref().map_or(Weight::NONE, |shadow| shadow.percent);
        unit.shadow_slot < percent.millipercent()
    }

    /// The slots of the split that the variant at a place has, the end not in
    /// it; `None` for the champion, which has what the others leave.
    pub fn slots(&self, variant: usize) -> Option<(u32, u32)> {
        self.split.range(variant)
    }

    /// How likely a unit was to get what it got.
    pub fn propensity(&self, decision: &Decision) -> f64 {
        match decision.by {
            By::Rule(_) => 1.0,
            By::Split => self.variants[decision.variant].weight.fraction(),
        }
    }
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
