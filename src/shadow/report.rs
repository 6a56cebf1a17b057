//! How a route's shadow compares, as the admin API and the command line show it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::compare::{Mismatch, Sketch};
use crate::routing::OutputKind;
use crate::types::{DType, ModelName, Version};

/// What `modelgate shadow diff` shows of one route: the comparison of one
/// version with one other by one set of rules. Any other begins a new one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShadowReport {
    pub route: Option<ModelName>,
    /// The champion's version, which answered.
    pub primary: Option<Version>,
    pub shadow: Option<Version>,
    /// When the comparison began, in Unix milliseconds.
    pub since: u64,
    /// Mirrored requests that were run, by outcome: `compared`, `failed`, `timeout`, `incompatible`.
    pub requests: BTreeMap<String, u64>,
    /// Mirrored requests that were not run, by reason: `queue_full`, `memory`,
    /// `busy`, `stale`, `breaker_open`, `not_ready`.
    pub dropped: BTreeMap<String, u64>,
    /// Share of the mirrored requests that were compared. What was dropped because there
    /// was much to do is missing from the figures below. None before the first.
    pub compared_share: Option<f64>,
    /// In the signature's order; the first 64.
    pub outputs: Vec<OutputReport>,
    pub compute: ComputeTimes,
    /// The newest mismatches, the newest last; none of a private route.
    pub samples: Vec<MismatchSample>,
}

/// How one output compares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputReport {
    pub name: String,
    /// Declared, or inferred from the first answer.
    pub kind: OutputKind,
    pub comparisons: u64,
    /// Of class scores: the best class of some row was another.
    pub disagreements: u64,
    pub disagreement_rate: f64,
    /// Disagreements because shape or datatype was another.
    pub mismatched: u64,
    /// Share of the `k` best classes that both have in common, mean over samples.
    pub top_k_overlap: Option<f64>,
    /// Of a regression: differences of each row. Otherwise the largest of each sample.
    pub absolute: Quantiles,
    /// As `absolute`, in parts of the primary's number.
    pub relative: Quantiles,
    /// Comparisons of the primary with itself, run a second time: what it
    /// disagrees with itself is no fault of the shadow.
    pub noise_comparisons: u64,
    pub noise_disagreements: u64,
    pub noise_rate: Option<f64>,
}

/// Quantiles of finite errors, each within 1 % of the true one; the maximum is exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    pub count: u64,
    /// Errors that were infinite, such as of NaN against a number.
    pub not_finite: u64,
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p99: Option<f64>,
    pub max: Option<f64>,
}

/// Time of runs, without any wait. The shadow and the second runs of the primary
/// had only idle cores; these two are the fair pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ComputeTimes {
    /// As requests were answered, possibly several by one run.
    pub primary: RunTimes,
    pub primary_again: RunTimes,
    pub shadow: RunTimes,
}

/// In microseconds, within 1 %.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunTimes {
    pub runs: u64,
    pub p50_us: Option<f64>,
    pub p99_us: Option<f64>,
}

/// One request on which the shadow disagreed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MismatchSample {
    pub request_id: String,
    /// Unix milliseconds.
    pub at: u64,
    pub primary: Version,
    pub shadow: Version,
    pub outputs: Vec<MismatchedOutput>,
    pub inputs: Vec<Excerpt>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MismatchedOutput {
    pub name: String,
    pub kind: OutputKind,
    /// Why the elements were not compared.
    pub mismatch: Option<Mismatch>,
    /// None of strings, and where it is infinite.
    pub max_absolute: Option<f64>,
    pub primary: Excerpt,
    pub shadow: Excerpt,
}

/// The beginning of a tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Excerpt {
    pub name: String,
    pub datatype: DType,
    pub shape: Vec<i64>,
    /// At most 32. Numbers that JSON has not are `"NaN"`, `"Infinity"` and `"-Infinity"`.
    pub values: Vec<serde_json::Value>,
    /// Of the whole tensor.
    pub elements: usize,
}

impl Quantiles {
    pub(super) fn of(sketch: &Sketch) -> Quantiles {
        Quantiles {
            count: sketch.count(),
            not_finite: sketch.not_finite(),
            p50: sketch.quantile(0.5),
            p90: sketch.quantile(0.9),
            p99: sketch.quantile(0.99),
            max: sketch.max(),
        }
    }
}

impl RunTimes {
    /// Of a sketch of microseconds.
    pub(super) fn of(sketch: &Sketch) -> RunTimes {
        RunTimes {
            runs: sketch.count(),
            p50_us: sketch.quantile(0.5),
            p99_us: sketch.quantile(0.99),
        }
    }
}
