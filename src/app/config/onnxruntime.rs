//! `onnxruntime`: where the library is, and how sessions are made.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::expand;
use super::range::{Problem, Validate, within};

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct OnnxRuntimeConfig {
    /// The shared library; null means it is searched for.
    #[serde(deserialize_with = "expand::optional")]
    pub path: Option<PathBuf>,
    /// Threads that one run may use. 1 runs on the calling thread; 0 means one
    /// per core.
    pub intra_op_threads: usize,
    /// Whether idle threads of a session spin rather than sleep.
    pub spinning: bool,
    /// Whether sessions keep the memory of a run for the next one.
    pub arena: bool,
    /// How far graphs are rewritten when they are loaded.
    pub optimization: Optimization,
}

/// Names as ONNX Runtime has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimization {
    None,
    Basic,
    Extended,
    #[default]
    All,
}

/// How a model's session is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionOptions {
    /// 0 means one per core.
    pub intra_op_threads: usize,
    pub spinning: bool,
    pub arena: bool,
    pub optimization: Optimization,
}

impl Default for OnnxRuntimeConfig {
    fn default() -> OnnxRuntimeConfig {
        OnnxRuntimeConfig {
            path: None,
            intra_op_threads: 1,
            spinning: false,
            arena: false,
            optimization: Optimization::All,
        }
    }
}

impl OnnxRuntimeConfig {
    pub fn session(&self) -> SessionOptions {
        SessionOptions {
            intra_op_threads: self.intra_op_threads,
            spinning: self.spinning,
            arena: self.arena,
            optimization: self.optimization,
        }
    }
}

impl Validate for OnnxRuntimeConfig {
    fn validate(&self) -> Result<(), Problem> {
        within("intra_op_threads", self.intra_op_threads, 0..=MAX_INTRA_OP_THREADS)
    }
}

pub(super) const MAX_INTRA_OP_THREADS: usize = 1024;
