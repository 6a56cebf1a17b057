//! `predictions`: what is recorded of requests and answers, and how surely.

use std::collections::BTreeMap;
use std::path::PathBuf;

use http::HeaderName;
use serde::{Deserialize, Serialize};

use super::expand;
use super::range::{Problem, Validate, within};
use super::registries::RegistryConfig;
use crate::predictions::{self, Policy};
use crate::types::ModelName;

/// Most names that one list of a policy may hold.
const MAX_NAMES: usize = 4096;

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct PredictionsConfig {
    /// The log's folder; null means `predictions` in the data folder.
    #[serde(deserialize_with = "expand::optional")]
    pub dir: Option<PathBuf>,
    /// The policy of models that `models` does not name.
    pub defaults: RecordPolicy,
    /// By name of the model: what differs.
    pub models: BTreeMap<String, RecordOverrides>,
    /// The key of hashes, as `${file:/path}`; null means one that the log's
    /// folder keeps. Gateways whose hashes are to match share it.
    #[serde(deserialize_with = "expand::optional", serialize_with = "hidden")]
    pub hash_key: Option<String>,
    /// A segment is closed, to become Parquet, at this size or age.
    pub segment_bytes: u64,
    pub segment_age_ms: u64,
    /// How long at most a record at level `process` stays with the kernel alone.
    pub flush_ms: u64,
    /// Appends are left to a thread of the log's own after two in a row that
    /// took longer, or one that took ten times as long.
    pub slow_append_ms: u64,
    /// What waits at level `async`; more is dropped and counted.
    pub queue_records: usize,
    pub queue_bytes: usize,
    pub retention: RetentionConfig,
    /// An object store that Parquet is copied to, as registries are named;
    /// null keeps it here alone.
    pub store: Option<RegistryConfig>,
    /// Most bytes that are copied in a second.
    pub store_bytes_per_second: u64,
}

/// What goes, the oldest first.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionConfig {
    /// Null means for ever.
    pub max_age_hours: Option<u64>,
    /// Of Parquet and of segments that wait to become it.
    pub max_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecordPolicy {
    pub level: Level,
    pub on_failure: OnFailure,
    /// Share of the units that are recorded, 0 to 1.
    pub sample: f64,
    /// Tensors that have more, of a row where rows are told apart, become a
    /// digest and statistics.
    pub max_tensor_bytes: usize,
    /// What becomes of texts that `features` does not name.
    pub texts: Treatment,
    /// By feature, or by input.
    pub features: BTreeMap<String, Treatment>,
    /// By output.
    pub outputs: BTreeMap<String, Treatment>,
    /// What becomes of the key that variants stick to: keep, drop or hash.
    pub unit: Treatment,
    /// Says who asks; null means nobody does.
    pub principal: Option<Principal>,
}

/// What an entry of `predictions.models` says. What it leaves out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecordOverrides {
    pub level: Option<Level>,
    pub on_failure: Option<OnFailure>,
    pub sample: Option<f64>,
    pub max_tensor_bytes: Option<usize>,
    pub texts: Option<Treatment>,
    pub features: BTreeMap<String, Treatment>,
    pub outputs: BTreeMap<String, Treatment>,
    pub unit: Option<Treatment>,
    pub principal: Option<Principal>,
}

/// The header that says who asks.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    pub header: String,
    #[serde(default = "hash")]
    pub treatment: Treatment,
}

fn hash() -> Treatment {
    Treatment::Hash
}

/// When a record counts as kept, and its answer may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing is recorded.
    Off,
    /// When a queue took it.
    Async,
    /// When the kernel took it.
    Process,
    /// When the disk has it.
    Fsync,
}

/// What happens to an answer whose record cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// It leaves, and a gap is counted.
    BestEffort,
    /// It is refused.
    Strict,
}

/// What becomes of values before anything is written.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Treatment {
    Keep,
    Drop,
    /// With the log's key.
    Hash,
    /// The whole tensor's digest and statistics.
    Digest,
    /// The number of edges that are not above the value.
    Bin(Vec<f64>),
    /// The first so many characters.
    Truncate(usize),
}

impl Default for PredictionsConfig {
    fn default() -> PredictionsConfig {
        PredictionsConfig {
            dir: None,
            defaults: RecordPolicy::default(),
            models: BTreeMap::new(),
            hash_key: None,
            segment_bytes: 16 << 20,
            segment_age_ms: 60_000,
            flush_ms: 200,
            slow_append_ms: 5,
            queue_records: 65_536,
            queue_bytes: 64 << 20,
            retention: RetentionConfig::default(),
            store: None,
            store_bytes_per_second: 20 << 20,
        }
    }
}

impl Default for RetentionConfig {
    fn default() -> RetentionConfig {
        RetentionConfig { max_age_hours: None, max_bytes: 10 << 30 }
    }
}

impl Default for RecordPolicy {
    fn default() -> RecordPolicy {
        RecordPolicy {
            level: Level::Process,
            on_failure: OnFailure::BestEffort,
            sample: 1.0,
            max_tensor_bytes: 65_536,
            texts: Treatment::Drop,
            features: BTreeMap::new(),
            outputs: BTreeMap::new(),
            unit: Treatment::Hash,
            principal: None,
        }
    }
}

/// A key is never shown.
#[expect(clippy::ref_option, reason = "the form that serde calls")]
fn hidden<S: serde::Serializer>(key: &Option<String>, to: S) -> Result<S::Ok, S::Error> {
    key.as_ref().map(|_| "(hidden)").serialize(to)
}

impl PredictionsConfig {
    /// The policy of a model whose inputs have columns of these `names`.
    pub fn policy(&self, model: &ModelName, names: &BTreeMap<String, Vec<String>>) -> Policy {
        let mut policy = self.defaults.clone();
        if let Some(overrides) = self.models.get(model.as_str()) {
            overrides.apply_to(&mut policy);
        }
        policy.into_policy(names)
    }

    /// Whether any model's requests are recorded.
    pub fn records_anything(&self) -> bool {
        let levels = self.models.values().filter_map(|overrides| overrides.level);
        levels.chain([self.defaults.level]).any(|level| level != Level::Off)
    }

    /// Whether only policies differ: those may change while the gateway runs.
    pub fn is_same_log(&self, other: &PredictionsConfig) -> bool {
        let policies = |of: &PredictionsConfig| (of.defaults.clone(), of.models.clone());
        let (defaults, models) = policies(other);
        let same = PredictionsConfig { defaults, models, ..self.clone() };
        same == *other
            && self.default_level() == other.default_level()
            && self.records_anything() == other.records_anything()
    }

    /// What happens to labels that cannot be kept: they have no model of their own.
    pub fn default_on_failure(&self) -> predictions::OnFailure {
        self.defaults.on_failure.into()
    }

    /// The level of requests for models that do not exist, and of labels.
    pub fn default_level(&self) -> predictions::Level {
        self.defaults.level.into()
    }
}

impl RecordOverrides {
    fn apply_to(&self, policy: &mut RecordPolicy) {
        fn set<T: Clone>(setting: &mut T, option: &Option<T>) {
            if let Some(option) = option {
                setting.clone_from(option);
            }
        }
        set(&mut policy.level, &self.level);
        set(&mut policy.on_failure, &self.on_failure);
        set(&mut policy.sample, &self.sample);
        set(&mut policy.max_tensor_bytes, &self.max_tensor_bytes);
        set(&mut policy.texts, &self.texts);
        set(&mut policy.unit, &self.unit);
        if self.principal.is_some() {
            policy.principal.clone_from(&self.principal);
        }
        policy.features.extend(self.features.clone());
        policy.outputs.extend(self.outputs.clone());
    }
}

impl RecordPolicy {
    fn into_policy(self, names: &BTreeMap<String, Vec<String>>) -> Policy {
        let treatments = |of: BTreeMap<String, Treatment>| {
            of.into_iter().map(|(name, treatment)| (name, treatment.into())).collect()
        };
        Policy {
            level: self.level.into(),
            on_failure: self.on_failure.into(),
            sample: self.sample,
            max_tensor_bytes: self.max_tensor_bytes,
            texts: self.texts.into(),
            features: treatments(self.features),
            outputs: treatments(self.outputs),
            names: names.clone(),
            unit: self.unit.into(),
            principal: self.principal.and_then(|principal| {
                let header = HeaderName::from_bytes(principal.header.as_bytes()).ok()?;
                Some((header, principal.treatment.into()))
            }),
        }
    }
}

impl From<Level> for predictions::Level {
    fn from(level: Level) -> predictions::Level {
        match level {
            Level::Off => predictions::Level::Off,
            Level::Async => predictions::Level::Async,
            Level::Process => predictions::Level::Process,
            Level::Fsync => predictions::Level::Fsync,
        }
    }
}

impl From<OnFailure> for predictions::OnFailure {
    fn from(on_failure: OnFailure) -> predictions::OnFailure {
        match on_failure {
            OnFailure::BestEffort => predictions::OnFailure::BestEffort,
            OnFailure::Strict => predictions::OnFailure::Strict,
        }
    }
}

impl From<Treatment> for predictions::Treatment {
    fn from(treatment: Treatment) -> predictions::Treatment {
        match treatment {
            Treatment::Keep => predictions::Treatment::Keep,
            Treatment::Drop => predictions::Treatment::Drop,
            Treatment::Hash => predictions::Treatment::Hash,
            Treatment::Digest => predictions::Treatment::Digest,
            Treatment::Bin(edges) => predictions::Treatment::Bin(edges),
            Treatment::Truncate(characters) => predictions::Treatment::Truncate(characters),
        }
    }
}

impl Validate for PredictionsConfig {
    fn validate(&self) -> Result<(), Problem> {
        self.defaults.validate().map_err(|problem| problem.within("defaults"))?;
        for (model, overrides) in &self.models {
            let mut policy = self.defaults.clone();
            overrides.apply_to(&mut policy);
            let place = format!("models.{model}");
            policy.validate().map_err(|problem| problem.within(&place))?;
        }
        if self.hash_key.as_ref().is_some_and(|key| key.trim().len() < 16) {
            return Err(Problem::new("hash_key", "expected at least 16 characters"));
        }
        within("segment_bytes", self.segment_bytes, 1 << 20..=1 << 30)?;
        within("segment_age_ms", self.segment_age_ms, 100..=86_400_000)?;
        within("flush_ms", self.flush_ms, 1..=60_000)?;
        within("slow_append_ms", self.slow_append_ms, 1..=60_000)?;
        within("queue_records", self.queue_records, 1..=10_000_000)?;
        within("queue_bytes", self.queue_bytes, 1 << 20..=1 << 34)?;
        within("retention.max_bytes", self.retention.max_bytes, 64 << 20..=1 << 50)?;
        let hours = self.retention.max_age_hours.unwrap_or(1);
        within("retention.max_age_hours", hours, 1..=1_000_000)?;
        within("store_bytes_per_second", self.store_bytes_per_second, 1 << 10..=1 << 40)?;
        match &self.store {
            Some(RegistryConfig::Dir(_)) => {
                Err(Problem::new("store", "expected s3, gcs or azure; a folder is `dir` above"))
            }
            Some(store) => store.validate().map_err(|problem| problem.within("store")),
            None => Ok(()),
        }
    }
}

impl Validate for RecordPolicy {
    fn validate(&self) -> Result<(), Problem> {
        within("sample", self.sample, 0.0..=1.0)?;
        within("max_tensor_bytes", self.max_tensor_bytes, 0..=4 << 20)?;
        for (place, treatments) in [("features", &self.features), ("outputs", &self.outputs)] {
            within(place, treatments.len(), 0..=MAX_NAMES)?;
            for (name, treatment) in treatments {
                treatment.check(&format!("{place}.{name}"))?;
            }
        }
        self.texts.check("texts")?;
        self.unit.check_key("unit")?;
        let Some(principal) = &self.principal else { return Ok(()) };
        if HeaderName::from_bytes(principal.header.as_bytes()).is_err() {
            let message = format!("'{}' is no name of a header", principal.header);
            return Err(Problem::new("principal.header", message));
        }
        principal.treatment.check_key("principal.treatment")
    }
}

impl Treatment {
    fn check(&self, path: &str) -> Result<(), Problem> {
        match self {
            Treatment::Bin(edges) => {
                let rises = edges.iter().zip(edges.iter().skip(1)).all(|(one, next)| one < next);
                let is_good = (1..=1024).contains(&edges.len())
                    && rises
                    && edges.iter().all(|edge| edge.is_finite());
                let message = "expected 1 to 1024 edges, each above the one before";
                if is_good { Ok(()) } else { Err(Problem::new(path, message)) }
            }
            Treatment::Truncate(characters) => within(path, *characters, 1..=65_536),
            Treatment::Keep | Treatment::Drop | Treatment::Hash | Treatment::Digest => Ok(()),
        }
    }

    fn check_key(&self, path: &str) -> Result<(), Problem> {
        match self {
            Treatment::Keep | Treatment::Drop | Treatment::Hash => Ok(()),
            _ => Err(Problem::new(path, "expected keep, drop or hash")),
        }
    }
}
