//! What was decided, as the admin API and the command line show it.

use serde::{Deserialize, Serialize};

use super::facts::Delivery;
use super::lineage::Step;
use super::outbox::Entry;
use crate::types::{ModelName, Version};

/// `GET /admin/v1/retrain`. Times are Unix milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RetrainStatus {
    /// Whether anything is decided.
    pub enabled: bool,
    /// Requests that may still be made today.
    pub budget_left: u32,
    pub models: Vec<ModelRetrain>,
    /// Events on their way, given up, or delivered of late.
    pub outbox: Vec<DeliveryStatus>,
}

/// One model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelRetrain {
    pub model: ModelName,
    /// `nothing`, `watching`, `ticket`, `page`, `request` or `dry_run`.
    pub state: String,
    /// In words.
    pub why: String,
    /// Since when it is so.
    pub since: u64,
    pub dry_run: bool,
    pub cooldown_until: Option<u64>,
    /// The last request.
    pub request: Option<RequestStatus>,
    /// The newest steps from evidence to versions, the newest last.
    pub lineage: Vec<StepStatus>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestStatus {
    pub id: String,
    pub at: u64,
    pub version: Version,
    pub profile: String,
    /// `input_drift`, `output_drift`, `estimated_quality` or `quality`.
    pub rule: String,
    pub dry_run: bool,
    /// `pending`, `delivered`, `failed`, `arrived`, `promoted` or `rejected`.
    pub outcome: String,
    pub outcome_at: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepStatus {
    pub at: u64,
    pub step: String,
    pub id: String,
    pub version: Option<Version>,
    pub why: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeliveryStatus {
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub model: String,
    pub state: Delivery,
    pub attempts: u32,
    /// When it is tried next, or when it was delivered or given up.
    pub at: u64,
    /// Why the last attempt failed.
    pub error: Option<String>,
}

/// Of microseconds since 1970.
pub(super) fn ms(at: i64) -> u64 {
    u64::try_from(at / 1000).unwrap_or(0)
}

impl From<Step> for StepStatus {
    fn from(step: Step) -> StepStatus {
        StepStatus {
            at: ms(step.at),
            step: step.step,
            id: step.id,
            version: step.version,
            why: step.why,
        }
    }
}

impl From<&Entry> for DeliveryStatus {
    fn from(entry: &Entry) -> DeliveryStatus {
        DeliveryStatus {
            id: entry.event.id.clone(),
            kind: entry.event.kind.label().to_owned(),
            model: entry.event.subject.clone(),
            state: entry.state,
            attempts: entry.attempts,
            at: ms(entry.at),
            error: entry.error.clone(),
        }
    }
}
