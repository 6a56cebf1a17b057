//! What the lifecycle is doing, as the admin API and the command line show it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::routing::{RouteDocument, VersionRef};
use crate::types::{Digest, ModelName, RejectKind, Signature, Stage, VariantName, Version, Weight};

/// `GET /admin/v1/models`. Times are Unix milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub registries: Vec<RegistryStatus>,
    pub models: Vec<ModelStatus>,
    /// Shared with the status before it where nothing changed. What requests count
    /// is not among it: [`Control::routes`](super::Control::routes) adds that.
    #[serde(default)]
    pub routes: Arc<Vec<Arc<RouteStatus>>>,
}

/// `GET /admin/v1/routes/{route}`: what is meant, and what is in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteStatus {
    pub name: ModelName,
    pub model: ModelName,
    /// Counts its changes, by whomever.
    pub revision: u64,
    /// Who states it: `config`, a file of the folder of routes, or `api`.
    pub origin: String,
    pub document: RouteDocument,
    /// The champion first, then in the document's order.
    pub variants: Vec<VariantStatus>,
    pub shadow: Option<VariantStatus>,
    /// Set while weights differ from the document's by hand.
    pub traffic: Option<TrafficChange>,
    /// Set while the champion is another than the document says: by a promotion,
    /// or because new versions are held back.
    pub champion: Option<Hold>,
    /// A version that was pushed and that the route's policy keeps back.
    pub held_back: Option<Version>,
    /// What cannot be satisfied for now.
    pub problems: Vec<String>,
    /// `ln` of the Bayes factor against the configured split of distinct units;
    /// above 6.9 (p < 0.001) something is wrong with the split.
    pub srm_log_bayes_factor: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VariantStatus {
    pub name: String,
    /// What the document says.
    pub declared: VersionRef,
    /// What it stands for now.
    pub version: Option<Version>,
    pub digest: Option<Digest>,
    /// In force, and by the document.
    pub weight: Weight,
    pub declared_weight: Weight,
    /// Slots of the split, the end not in it; none of the champion, which has the rest.
    pub slots: Option<(u32, u32)>,
    pub state: VariantState,
    /// Why it is not ready.
    pub reason: Option<String>,
    /// Requests that it was chosen for, and that the champion answered in its stead.
    pub assigned: u64,
    pub fell_back: u64,
    /// Whether it is left alone because it kept failing.
    pub breaker_open: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VariantState {
    Ready,
    /// On its way.
    Loading,
    /// There is no such version or label.
    Missing,
    /// It was tried and refused.
    Rejected,
    /// It could not answer the champion's callers.
    Incompatible,
}

/// Weights that were set by hand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrafficChange {
    pub weights: BTreeMap<VariantName, Weight>,
    pub actor: String,
    pub reason: String,
    pub since: u64,
}

/// What applying a document did, or would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteChange {
    pub name: ModelName,
    /// `created`, `changed`, `unchanged`, or `deleted`.
    pub outcome: String,
    pub revision: u64,
    /// Share of units that get another variant than before, in percent.
    pub moved_units: f64,
    /// What will not work yet, or is probably not meant.
    pub warnings: Vec<String>,
    /// What was there before.
    pub before: Option<RouteDocument>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegistryStatus {
    pub name: String,
    /// Where it is, without secrets.
    pub location: String,
    /// Whether what is served from it rests on an older listing.
    pub stale: bool,
    /// When it was last listed with success.
    pub synced_at: Option<u64>,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// Versions that are listed and cannot be taken yet.
    pub unfinished: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelStatus {
    pub name: ModelName,
    pub registry: String,
    /// Who answers requests that name no version.
    pub default: Option<Version>,
    /// Set by a rollback: what is served until it is released, whatever is pushed.
    pub hold: Option<Hold>,
    /// Names that stand for versions in requests.
    pub labels: BTreeMap<String, Version>,
    /// Whether versions are loaded by request only.
    pub explicit: bool,
    /// What is wrong with its newest options, while the ones before stay in force.
    pub options_error: Option<String>,
    /// Versions of the registry that nothing asks to load, newest first.
    pub unloaded: Vec<Version>,
    /// Newest first; the same number twice while its content is being replaced.
    pub versions: Vec<VersionStatus>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    pub version: Version,
    pub digest: Digest,
    pub actor: String,
    pub reason: String,
    pub since: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionStatus {
    pub version: Version,
    pub digest: Digest,
    pub stage: Stage,
    /// When it came to this stage.
    pub since: u64,
    /// Why it was rejected, or what it waits for.
    pub reason: Option<String>,
    pub rejected: Option<RejectKind>,
    /// Bytes of its files, and how many of them have arrived.
    pub bytes: u64,
    pub fetched_bytes: u64,
    /// Memory it holds, once it is loaded.
    pub memory_bytes: Option<u64>,
    /// Whether it is kept only so that a rollback takes no time.
    pub kept: bool,
    pub signature: Option<Signature>,
    pub probe: Option<ProbeStatus>,
}

/// What the probe measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeStatus {
    pub peak_bytes: u64,
    pub load_ms: u64,
    /// Quickest run of one row; none where the model runs on no made-up input.
    pub run_us: Option<f64>,
    /// Golden inputs whose answers were compared.
    pub golden_cases: usize,
}

/// One line of the audit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    pub at: u64,
    /// `gateway`, or who asked for it.
    pub actor: String,
    /// Such as `stage`, `swap`, `rollback`, `release`, `load`, `unload`,
    /// `route`, `traffic`, `promote`, `route_delete`.
    pub action: String,
    pub model: Option<ModelName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<ModelName>,
    pub version: Option<Version>,
    pub digest: Option<Digest>,
    /// What came of it, such as the stage.
    pub outcome: String,
    pub reason: Option<String>,
}
