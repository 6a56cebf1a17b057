//! What is known of one model at one moment. Handed to the policy, time included.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::drift::live::Report;
use crate::types::{Digest, ModelName, Version};

/// All that one evaluation rests on.
#[derive(Clone, Debug)]
pub struct Facts {
    pub model: ModelName,
    /// Microseconds since 1970, as all times here.
    pub now: i64,
    /// Versions that callers are answered by, as far as they have a profile.
    pub served: Vec<Served>,
    /// What Prometheus found of all replicas together, and Alertmanager told.
    pub alerts: Vec<Alert>,
    /// Versions that the registry offers; empty while that is not known.
    pub offered: Vec<Offered>,
    /// What became of the last request's event; none where there is no such event.
    pub delivery: Option<Delivery>,
    /// Requests that may still be made today, for all models together.
    pub budget_left: u32,
}

/// A version that callers are answered by, and what a look at its counts found.
#[derive(Clone, Debug)]
pub struct Served {
    pub version: Version,
    pub digest: Digest,
    /// As metrics name it: the first digits of its digest.
    pub profile: Arc<str>,
    pub report: Arc<Report>,
    pub quality: Vec<Quality>,
}

/// A figure of live quality beside the one that was measured on the reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Such as `roc_auc`.
    pub metric: String,
    /// Such as `24h`.
    pub window: String,
    pub reference: f64,
    /// What chunks of the reference stay above, or below where less is better.
    pub bound: f64,
    pub less_is_better: bool,
    pub current: f64,
    /// The 95 % interval.
    pub interval: Option<(f64, f64)>,
    /// Rows that were labelled.
    pub labels: u64,
    /// Share of the window's predictions that have a label, 0 to 1.
    pub coverage: f64,
    pub source: QualitySource,
}

/// What a figure rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QualitySource {
    Labels,
    /// Scores alone, by the profile's calibration.
    Estimated,
}

/// An alert that fires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// The rule's name, such as `ModelFeatureDrift`.
    pub name: String,
    pub kind: AlertKind,
    /// Of which version; none where the rule does not tell them apart.
    pub version: Option<Version>,
    /// When it began to fire.
    pub since: i64,
}

/// What an alert is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// The feature, by its name in the profile.
    Drift(String),
    Quality,
}

/// A version that the registry offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    pub version: Version,
    pub digest: Digest,
    pub standing: Standing,
}

/// How far a version has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is being loaded, or is there beside the version that answers.
    Tried,
    /// Callers who name no version are answered by it.
    Serving,
    /// It was refused, for this reason.
    Rejected(String),
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// It is still being tried.
    Pending,
    Delivered,
    /// It was refused for good, or tried too often.
    Failed,
}

impl Quality {
    /// Whether enough labels say that quality is worse than chance explains:
    /// beyond what chunks of the reference reach, with the reference outside
    /// the interval.
    pub fn is_breach(&self) -> bool {
        let (low, high) = self.interval.unwrap_or((self.current, self.current));
        if self.less_is_better {
            self.current > self.bound && low > self.reference
        } else {
            self.current < self.bound && high < self.reference
        }
    }
}
