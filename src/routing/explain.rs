//! Decisions for people: what a route would do with a request, and why.

use http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::route::{Attributes, By, Decision, Route, Unit, UnitKind};
use crate::types::{ModelName, VariantName};

/// A decision for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    pub route: ModelName,
    pub model: ModelName,
    pub variant: VariantName,
    /// `rule 1` (the first is 1), `split`, or `pin`.
    pub by: String,
    /// Where the unit stood, such as `header x-user-id`, or `request id`.
    pub unit_kind: String,
    /// `***` of headers that let their reader in somewhere.
    pub unit: String,
    /// Of the split, in full.
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
    /// What the route does with a request. The unit is shown even where the
    /// decision needs none.
    pub fn explain(&self, attributes: &Attributes<'_>) -> Explanation {
        let mut digits = itoa::Buffer::new();
        let (kind, bytes) = self.keys.find(attributes, &mut digits);
        let unit = self.unit(kind, bytes);
        self.describe(&self.decide(attributes), &unit, bytes)
    }

    /// What the route does with the requests of a unit that no rule fits.
    /// The bytes stand for the value of the route's first key, or for the
    /// request id where it has none.
    pub fn explain_unit(&self, unit: &[u8]) -> Explanation {
        let kind = self.keys.first();
        let headers = HeaderMap::new();
        // Taken for the request id, the bytes come to the same unit.
        let bare = Attributes { headers: &headers, parameters: &[], request_id: unit };
        self.describe(&self.decide(&bare), &self.unit(kind, unit), unit)
    }

    fn describe(&self, decision: &Decision, unit: &Unit, bytes: &[u8]) -> Explanation {
        Explanation {
            route: self.name.clone(),
            model: self.model.clone(),
            variant: self.variants[decision.variant].name.clone(),
            by: match decision.by {
                By::Rule(rule) => format!("rule {}", rule + 1),
                By::Split => "split".to_owned(),
            },
            unit_kind: self.keys.describe(unit.kind),
            unit: self.shown(unit.kind, bytes),
            salt: self.split_salt_text.clone(),
            hash: format!("{:016x}", unit.hash),
            slot: unit.slot,
            range: self.split.range(decision.variant),
            propensity: self.propensity(decision),
            mirrored: self.mirrors(unit),
            shadow_slot: self.shadow.as_ref().map(|_| unit.shadow_slot),
        }
    }

    fn shown(&self, kind: UnitKind, bytes: &[u8]) -> String {
        if self.keys.is_secret(kind) {
            return "***".to_owned();
        }
        String::from_utf8_lossy(bytes).into_owned()
    }
}
