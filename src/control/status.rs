//! What the lifecycle is doing, as the admin API and the command line show it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::types::{Digest, ModelName, RejectKind, Signature, Stage, Version};

/// `GET /admin/v1/models`. Times are Unix milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub registries: Vec<RegistryStatus>,
    pub models: Vec<ModelStatus>,
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
    /// Such as `stage`, `swap`, `rollback`, `release`, `load`, `unload`, `config`.
    pub action: String,
    pub model: Option<ModelName>,
    pub version: Option<Version>,
    pub digest: Option<Digest>,
    /// What came of it, such as the stage.
    pub outcome: String,
    pub reason: Option<String>,
}
