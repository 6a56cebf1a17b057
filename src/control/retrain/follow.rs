//! What became of a request: a run, a new version, its promotion or its end. Pure.

use serde::{Deserialize, Serialize};

use super::evidence::Rule;
use super::facts::{Delivery, Facts, Offered, Standing};
use crate::types::{Digest, Version};

/// Looks in a row in which a version has to be missing, or another has to
/// answer in its place, before that counts: at a start versions come one by one.
const LOOKS: u32 = 3;

/// The last request of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    pub id: String,
    pub at: i64,
    pub version: Version,
    pub digest: Digest,
    pub profile: String,
    pub rule: Rule,
    /// Nothing was sent.
    pub dry_run: bool,
    /// The highest version that was there when it was asked for.
    pub above: Version,
    pub outcome: Outcome,
    /// When that came about.
    pub outcome_at: i64,
    /// Looks in a row in which the version that arrived was missed.
    #[serde(default)]
    missed: u32,
}

/// How far a request has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Outcome {
    /// It is on its way.
    Pending,
    /// Somebody took it. A run may be in flight.
    Delivered,
    /// Nobody took it.
    Failed,
    /// A new version is there, and is being tried.
    Arrived { version: Version, digest: Digest },
    /// The new version answers.
    Promoted { version: Version, digest: Digest },
    /// The new version was refused, removed or rolled back.
    Rejected { version: Version, digest: Digest, why: String },
}

impl Outcome {
    pub fn label(&self) -> &'static str {
        match self {
            Outcome::Pending => "pending",
            Outcome::Delivered => "delivered",
            Outcome::Failed => "failed",
            Outcome::Arrived { .. } => "arrived",
            Outcome::Promoted { .. } => "promoted",
            Outcome::Rejected { .. } => "rejected",
        }
    }
}

impl Asked {
    pub fn new(id: String, at: i64, about: &super::evidence::Evidence, above: Version) -> Asked {
        Asked {
            id,
            at,
            version: about.version,
            digest: about.digest,
            profile: about.profile.clone(),
            rule: about.rule.unwrap_or(Rule::InputDrift),
            dry_run: false,
            above,
            outcome: Outcome::Pending,
            outcome_at: at,
            missed: 0,
        }
    }

    /// Whether somebody may be training.
    pub fn is_in_flight(&self) -> bool {
        !self.dry_run && matches!(self.outcome, Outcome::Pending | Outcome::Delivered)
    }

    /// Takes in what is there now. Gives each step that it has come on, in order.
    pub fn follow(&mut self, facts: &Facts) -> Vec<Outcome> {
        let mut steps = Vec::new();
        while let Some(next) = self.next(facts) {
            self.outcome = next.clone();
            self.outcome_at = facts.now;
            self.missed = 0;
            steps.push(next);
        }
        steps
    }

    fn next(&mut self, facts: &Facts) -> Option<Outcome> {
        if let Some(newer) = self.newer(&facts.offered) {
            return Some(Outcome::Arrived { version: newer.version, digest: newer.digest });
        }
        match self.outcome.clone() {
            Outcome::Pending => match facts.delivery? {
                Delivery::Pending => None,
                Delivery::Delivered => Some(Outcome::Delivered),
                Delivery::Failed => Some(Outcome::Failed),
            },
            Outcome::Delivered | Outcome::Failed | Outcome::Rejected { .. } => None,
            Outcome::Arrived { version, digest } => {
                let here = facts.offered.iter().find(|of| of.digest == digest);
                match here.map(|of| &of.standing) {
                    Some(Standing::Tried) => None,
                    Some(Standing::Serving) => Some(Outcome::Promoted { version, digest }),
                    Some(Standing::Rejected(why)) => {
                        Some(Outcome::Rejected { version, digest, why: why.clone() })
                    }
                    None => self.missed(facts, version, digest, "it was removed"),
                }
            }
            Outcome::Promoted { version, digest } => {
                let here = facts.offered.iter().find(|of| of.digest == digest);
                match here.map(|of| &of.standing) {
                    Some(Standing::Serving) => {
                        self.missed = 0;
                        None
                    }
                    // A later one may have taken its place.
                    _ if facts.offered.iter().any(|of| is_after(of, version)) => None,
                    _ => self.missed(facts, version, digest, "it was rolled back"),
                }
            }
        }
    }

    /// The version that came of it, where it is another than the one known:
    /// higher than all that were there, and of other content.
    fn newer<'a>(&self, offered: &'a [Offered]) -> Option<&'a Offered> {
        let known = match &self.outcome {
            Outcome::Promoted { .. } => return None,
            Outcome::Arrived { version, .. } | Outcome::Rejected { version, .. } => *version,
            _ => self.above,
        };
        let is_new = |of: &&Offered| of.version > known && of.digest != self.digest;
        offered.iter().filter(is_new).max_by_key(|of| of.version)
    }

    /// Counts a look at which something else serves and the version does not.
    fn missed(
        &mut self,
        facts: &Facts,
        version: Version,
        digest: Digest,
        why: &str,
    ) -> Option<Outcome> {
        if facts.offered.iter().any(|of| of.standing == Standing::Serving) {
            self.missed += 1;
        }
        (self.missed >= LOOKS).then(|| Outcome::Rejected { version, digest, why: why.to_owned() })
    }
}

fn is_after(offered: &Offered, version: Version) -> bool {
    offered.version > version && offered.standing == Standing::Serving
}
