//! Options of one model.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use super::onnxruntime::{MAX_INTRA_OP_THREADS, Optimization, SessionOptions};
use super::range::{Problem, Validate, within};
use super::{ConfigError, parse};

/// How a model is run and queued for: `models.defaults`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServingOptions {
    pub execution: Execution,
    pub batching: Batching,
    /// Most rows that requests are gathered to for one run. A request of more
    /// rows runs alone.
    pub max_batch_rows: usize,
    /// How long a lane waits for a batch to fill. 0 means it takes what is there.
    pub max_batch_delay_us: u64,
    /// Threads of this model's own, for runs that are too long for network threads.
    pub lanes: usize,
    /// Most requests that wait for a lane; more are refused.
    pub queue_requests: usize,
    /// Longest time a request waits for a lane; 0 means as long as its deadline lets it.
    pub queue_timeout_ms: u64,
    /// How long requests may wait for a lane where more come than it can answer:
    /// how many may wait is learnt from it.
    pub queue_wait_ms: u64,
    /// Longest run that `execution: auto` leaves on network threads; 0 means none.
    pub inline_budget_us: u64,
    pub versions: Versions,
    /// Versions that answered before and stay loaded, so that a rollback takes
    /// no time.
    pub keep_previous: usize,
    pub mode: Mode,
    pub swap: Swap,
    pub signature: SignaturePolicy,
}

/// Where runs happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Execution {
    /// By measured cost.
    #[default]
    Auto,
    /// On the network thread that read the request, one by one.
    Inline,
    /// On the network thread, what one turn of it decoded as one batch.
    Turn,
    /// On threads of the model's own.
    Lane,
}

/// Whether rows of several requests may share a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Batching {
    /// Where the model was seen to treat its first dimension as rows.
    #[default]
    Auto,
    On,
    Off,
}

/// What makes the gateway load a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Its registry.
    #[default]
    Automatic,
    /// A request, through the protocol's repository extension or the admin API.
    Explicit,
}

/// What happens to the version in place while the next one is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Swap {
    /// It answers until the next one is ready.
    #[default]
    AvailabilityPreserving,
    /// It goes first where both do not fit into the memory; nothing answers meanwhile.
    ResourcePreserving,
}

/// Which versions may take the place of another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SignaturePolicy {
    /// Those that every caller of the version in place can go on calling.
    #[default]
    Compatible,
    Any,
}

/// What a label stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged, expecting = "expected a version, `latest` or `default`")]
pub enum LabelTarget {
    Version(NonZeroU64),
    Word(LabelWord),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LabelWord {
    /// The highest version that is ready.
    Latest,
    /// The version that answers when none is named.
    Default,
}

/// Which of a model's versions are loaded.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Versions {
    All,
    /// The highest so many.
    Latest(usize),
    Specific(Vec<u64>),
}

impl Default for ServingOptions {
    fn default() -> ServingOptions {
        ServingOptions {
            execution: Execution::Auto,
            batching: Batching::Auto,
            max_batch_rows: 64,
            max_batch_delay_us: 0,
            lanes: 1,
            queue_requests: 512,
            queue_timeout_ms: 0,
            queue_wait_ms: 100,
            inline_budget_us: 250,
            versions: Versions::Latest(1),
            keep_previous: 1,
            mode: Mode::Automatic,
            swap: Swap::AvailabilityPreserving,
            signature: SignaturePolicy::Compatible,
        }
    }
}

impl Validate for ServingOptions {
    fn validate(&self) -> Result<(), Problem> {
        within("max_batch_rows", self.max_batch_rows, 1..=65_536)?;
        within("max_batch_delay_us", self.max_batch_delay_us, 0..=1_000_000)?;
        within("lanes", self.lanes, 1..=256)?;
        within("queue_requests", self.queue_requests, 1..=1_000_000)?;
        within("queue_timeout_ms", self.queue_timeout_ms, 0..=3_600_000)?;
        within("queue_wait_ms", self.queue_wait_ms, 1..=3_600_000)?;
        within("inline_budget_us", self.inline_budget_us, 0..=1_000_000)?;
        within("keep_previous", self.keep_previous, 0..=100)?;
        match &self.versions {
            Versions::All => Ok(()),
            Versions::Latest(count) => within("versions.latest", *count, 1..=1_000_000),
            Versions::Specific(versions) if versions.is_empty() => {
                Err(Problem::new("versions.specific", "expected at least one version, got none"))
            }
            Versions::Specific(versions) => versions
                .iter()
                .enumerate()
                .try_for_each(|(i, v)| within(&format!("versions.specific.{i}"), *v, 1..=u64::MAX)),
        }
    }
}

/// What a file says about one model: `model.yaml`, or an entry of
/// `models.overrides`. What it leaves out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelOptions {
    pub execution: Option<Execution>,
    pub batching: Option<Batching>,
    pub max_batch_rows: Option<usize>,
    pub max_batch_delay_us: Option<u64>,
    pub lanes: Option<usize>,
    pub queue_requests: Option<usize>,
    pub queue_timeout_ms: Option<u64>,
    pub queue_wait_ms: Option<u64>,
    pub inline_budget_us: Option<u64>,
    pub versions: Option<Versions>,
    pub keep_previous: Option<usize>,
    pub mode: Option<Mode>,
    pub swap: Option<Swap>,
    pub signature: Option<SignaturePolicy>,
    /// Names that stand for versions in requests, such as `stable`.
    pub version_labels: BTreeMap<String, LabelTarget>,
    pub onnxruntime: SessionOverrides,
    /// By output: what its columns stand for, such as class names.
    pub labels: BTreeMap<String, Vec<String>>,
    /// By input: names of its columns, in their order.
    pub features: BTreeMap<String, Vec<String>>,
}

/// Differences from the section `onnxruntime`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SessionOverrides {
    pub intra_op_threads: Option<usize>,
    pub spinning: Option<bool>,
    pub arena: Option<bool>,
    pub optimization: Option<Optimization>,
}

/// How one model is served, all options decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSettings {
    pub serving: ServingOptions,
    pub session: SessionOptions,
    pub labels: BTreeMap<String, Vec<String>>,
    pub features: BTreeMap<String, Vec<String>>,
    pub version_labels: BTreeMap<String, LabelTarget>,
}

impl ModelOptions {
    /// Reads the text of a `model.yaml`.
    pub fn parse(text: &str) -> Result<ModelOptions, ConfigError> {
        parse::parse(text, "model.yaml")
    }

    pub(super) fn apply_to(&self, settings: &mut ModelSettings) {
        self.apply_to_serving(&mut settings.serving);
        let SessionOverrides { intra_op_threads, spinning, arena, optimization } = self.onnxruntime;
        set(&mut settings.session.intra_op_threads, &intra_op_threads);
        set(&mut settings.session.spinning, &spinning);
        set(&mut settings.session.arena, &arena);
        set(&mut settings.session.optimization, &optimization);
        for (output, names) in &self.labels {
            settings.labels.insert(output.clone(), names.clone());
        }
        for (input, names) in &self.features {
            settings.features.insert(input.clone(), names.clone());
        }
        for (label, target) in &self.version_labels {
            settings.version_labels.insert(label.clone(), *target);
        }
    }

    fn apply_to_serving(&self, serving: &mut ServingOptions) {
        set(&mut serving.execution, &self.execution);
        set(&mut serving.batching, &self.batching);
        set(&mut serving.max_batch_rows, &self.max_batch_rows);
        set(&mut serving.max_batch_delay_us, &self.max_batch_delay_us);
        set(&mut serving.lanes, &self.lanes);
        set(&mut serving.queue_requests, &self.queue_requests);
        set(&mut serving.queue_timeout_ms, &self.queue_timeout_ms);
        set(&mut serving.queue_wait_ms, &self.queue_wait_ms);
        set(&mut serving.inline_budget_us, &self.inline_budget_us);
        set(&mut serving.versions, &self.versions);
        set(&mut serving.keep_previous, &self.keep_previous);
        set(&mut serving.mode, &self.mode);
        set(&mut serving.swap, &self.swap);
        set(&mut serving.signature, &self.signature);
    }
}

fn set<T: Clone>(setting: &mut T, option: &Option<T>) {
    if let Some(option) = option {
        setting.clone_from(option);
    }
}

impl Validate for ModelOptions {
    fn validate(&self) -> Result<(), Problem> {
        // Defaults are in range, so only what this file says can be out of it.
        let mut serving = ServingOptions::default();
        self.apply_to_serving(&mut serving);
        serving.validate()?;
        if let Some(threads) = self.onnxruntime.intra_op_threads {
            within("onnxruntime.intra_op_threads", threads, 0..=MAX_INTRA_OP_THREADS)?;
        }
        for label in self.version_labels.keys() {
            check_label(label)?;
        }
        for (key, named) in [("labels", &self.labels), ("features", &self.features)] {
            if let Some((tensor, _)) = named.iter().find(|(_, names)| names.is_empty()) {
                let message = "expected at least one name, got none";
                return Err(Problem::new(format!("{key}.{tensor}"), message));
            }
        }
        let names = || self.features.values().flatten();
        let mut seen = BTreeSet::new();
        match names().find(|name| name.is_empty() || !seen.insert(name.as_str())) {
            Some(name) => {
                let message = format!("'{name}' is empty, or the name of two columns");
                Err(Problem::new("features", message))
            }
            None => Ok(()),
        }
    }
}

/// A label must not be taken for a version, nor break a path.
fn check_label(label: &str) -> Result<(), Problem> {
    let starts = label.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
    let plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if starts && plain && label.len() <= 64 {
        return Ok(());
    }
    let message = "expected 1 to 64 of A-Z a-z 0-9 . _ -, the first a letter";
    Err(Problem::new(format!("version_labels.{label}"), message))
}
