//! What the lifecycle is told by the configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::decide::VersionPolicy;
use crate::drift::live::LearningBounds;
use crate::engine::{ProbeLimits, SessionOptions};
use crate::predictions::Policy;
use crate::registry::Source;
use crate::routing::RouteDocument;
use crate::serving::ExecutionOptions;
use crate::types::{ModelName, Version};

/// How the versions of one model are loaded and chosen.
#[derive(Clone, Debug)]
pub struct ModelSettings {
    pub execution: ExecutionOptions,
    /// Share runs even where the load-time check could not show that rows are independent.
    pub force_batching: bool,
    pub session: SessionOptions,
    /// Names of an output's columns, by output.
    pub labels: BTreeMap<String, Vec<String>>,
    /// What is recorded of its requests.
    pub recording: Arc<Policy>,
    /// What its traffic is compared with.
    pub drift: DriftSettings,
    pub versions: VersionPolicy,
    /// Versions that served before and stay loaded, so that a rollback takes no time.
    pub keep_previous: usize,
    /// Loaded by request only.
    pub explicit: bool,
    /// Unload the version in place first, where two do not fit into the memory.
    pub resource_preserving: bool,
    /// Swap a version in although it breaks the callers of the one in place.
    pub any_signature: bool,
    /// Names that stand for versions in requests.
    pub version_labels: BTreeMap<String, LabelTarget>,
}

/// What the traffic of one model is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriftSettings {
    pub enabled: bool,
    /// A profile for all its versions; else each has its own.
    pub profile: Option<PathBuf>,
    /// How one is learnt from traffic where there is none; none where it is not.
    pub bootstrap: Option<LearningBounds>,
    /// Names of an input's columns, by input.
    pub features: BTreeMap<String, Vec<String>>,
}

/// What a label stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelTarget {
    /// The version that answers when none is named.
    Default,
    /// The highest version that is ready.
    Latest,
    Version(Version),
}

impl ModelSettings {
    /// A number for what loading depends on: versions loaded under another
    /// number have to be loaded anew.
    pub(super) fn number(&self) -> u64 {
        let ModelSettings { execution, force_batching, session, labels, .. } = self;
        number_of(&format!("{execution:?} {force_batching} {session:?} {labels:?}"))
    }
}

/// The same number for the same text, in every process.
pub(super) fn number_of(text: &str) -> u64 {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

/// Settings of a model: its name, and the text of its `model.yaml` where there
/// is one. An error says what is wrong with that.
pub type SettingsOf =
    Arc<dyn Fn(&ModelName, Option<&str>) -> Result<ModelSettings, String> + Send + Sync>;

/// A route that a file states. One that was applied by hand stands in the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct DeclaredRoute {
    pub document: RouteDocument,
    /// Such as `config`, or the file's name in the folder of routes.
    pub origin: String,
}

/// What the configuration says. Replaced as a whole when it is reloaded.
#[derive(Clone)]
pub struct Setup {
    /// The first that has a model provides it.
    pub sources: Vec<Arc<dyn Source>>,
    pub settings: SettingsOf,
    pub probe: ProbeLimits,
    /// Operator domains that models may use beside the standard's.
    pub allowed_domains: Vec<String>,
    /// Memory that all loaded models may hold together.
    pub memory_bytes: u64,
    /// Routes that files state; of those applied by hand with the same name these win.
    pub routes: Vec<DeclaredRoute>,
}
