//! What a probe is asked and what it tells.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::engine::SessionOptions;
use crate::types::Signature;

/// What a probe may use. What exceeds a limit ends the probe's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeLimits {
    /// From start to report.
    pub wall_ms: u64,
    /// Processor time.
    pub cpu_ms: u64,
    /// Memory that loading and running the model adds to the process.
    pub memory_bytes: u64,
}

/// One model to try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeRequest {
    /// The folder of `model.onnx`, its weights and its `golden.json`.
    pub folder: PathBuf,
    pub session: SessionOptions,
    /// Names of an output's columns, by output, from `model.yaml`.
    pub labels: BTreeMap<String, Vec<String>>,
    /// Most rows of one run.
    pub max_batch_rows: usize,
    pub limits: ProbeLimits,
    /// Run only where a core would be idle.
    pub yields: bool,
    /// Operator domains that are allowed beside `ai.onnx` and `ai.onnx.ml`.
    pub allowed_domains: Vec<String>,
}

/// What trying a model has shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeReport {
    pub signature: Signature,
    /// Most memory that loading and running the model added to the process.
    pub peak_bytes: u64,
    pub load_ms: u64,
    /// Quickest run of one row; none where the model runs on no made-up input.
    pub run_us: Option<f64>,
    /// Golden inputs whose answers were compared.
    pub golden_cases: usize,
    /// Version of ONNX Runtime that tried it.
    pub onnxruntime: String,
    /// What kept the model from everything but its folder: `landlock`, `seccomp`, ...; what
    /// this machine's kernel lacks stands as `no landlock`.
    #[serde(default)]
    pub sandbox: Vec<String>,
}
