//! What of a model's predictions is kept, and how surely.

use std::collections::BTreeMap;

use http::HeaderName;

/// When a record counts as kept, and its answer may leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// Nothing is recorded.
    Off,
    /// When a queue took it; a full queue drops and counts.
    Async,
    /// When the kernel took it: survives the end of the process.
    #[default]
    Process,
    /// When the disk has it: survives a loss of power.
    Fsync,
}

impl Level {
    /// As the configuration writes it.
    pub fn label(self) -> &'static str {
        match self {
            Level::Off => "off",
            Level::Async => "async",
            Level::Process => "process",
            Level::Fsync => "fsync",
        }
    }
}

/// What happens to an answer whose record cannot be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// It leaves; a gap is recorded and counted.
    #[default]
    BestEffort,
    /// It is refused as `Unavailable`.
    Strict,
}

impl OnFailure {
    /// As the configuration writes it.
    pub fn label(self) -> &'static str {
        match self {
            OnFailure::BestEffort => "best_effort",
            OnFailure::Strict => "strict",
        }
    }
}

/// What becomes of the values of a feature or of an output.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Treatment {
    #[default]
    Keep,
    Drop,
    /// HMAC-SHA256 with the log's key, 16 bytes.
    Hash,
    /// The number of edges that are not above the value.
    Bin(Vec<f64>),
    /// The first so many characters of a text.
    Truncate(usize),
    /// Shape, digest and statistics of the whole tensor.
    Digest,
}

/// The policy of one model.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    pub level: Level,
    pub on_failure: OnFailure,
    /// Share of the units that are kept, 0 to 1. Failed requests, and answers
    /// that a shadow disagrees with, are always kept.
    pub sample: f64,
    /// Larger tensors become [`Treatment::Digest`].
    pub max_tensor_bytes: usize,
    /// Of texts that `features` does not name.
    pub texts: Treatment,
    /// By feature, or by input where it has none.
    pub features: BTreeMap<String, Treatment>,
    /// By output.
    pub outputs: BTreeMap<String, Treatment>,
    /// Names of the columns of an input, by input.
    pub names: BTreeMap<String, Vec<String>>,
    /// Of the key that variants stick to.
    pub unit: Treatment,
    /// The header that says who asks, and what becomes of it.
    pub principal: Option<(HeaderName, Treatment)>,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            level: Level::default(),
            on_failure: OnFailure::default(),
            sample: 1.0,
            max_tensor_bytes: 64 << 10,
            texts: Treatment::Drop,
            features: BTreeMap::new(),
            outputs: BTreeMap::new(),
            names: BTreeMap::new(),
            unit: Treatment::Hash,
            principal: None,
        }
    }
}
