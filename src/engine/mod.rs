//! What can compute. The only folder that names `ort`.
//!
//! [`Library`] finds and starts ONNX Runtime, [`OrtEngine`] is a loaded model, and
//! [`measure`] tries one. `ffi` holds every unsafe line; the rest says what it means:
//! `signature` and `learn` what the model takes and gives, `staging`, `strings` and
//! `outputs` how tensors get in and out, `stop` how a run ends at its deadline.

#[cfg(feature = "testing")]
mod fake;
mod ffi;
mod generated;
pub mod golden;
mod learn;
mod library;
mod measure;
mod memory;
mod outputs;
mod probe;
mod rows;
mod session;
mod signature;
mod staging;
mod stop;
mod strings;
mod warm;

use std::time::Instant;

use smallvec::SmallVec;
use thiserror::Error;

use crate::types::{DType, Signature, Tensor};

#[cfg(feature = "testing")]
pub use fake::FakeEngine;
pub use ffi::{Optimization, SessionOptions, disable_telemetry};
pub use library::Library;
pub use measure::{Cost, Measured, measure};
#[cfg(feature = "testing")]
pub use probe::{Confinement, enter_sandbox};
pub use probe::{Probe, ProbeLimits, ProbeReport, ProbeRequest, run_probe_child};
pub use session::OrtEngine;
pub use warm::warm;

/// One input of a run: packed little-endian elements (strings behind `u32`
/// lengths) at any alignment, whose length agrees with shape and type.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    pub dtype: DType,
    pub shape: &'a [i64],
    pub data: &'a [u8],
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EngineError {
    /// The library is missing, too old or refuses to start.
    #[error("{0}")]
    Library(String),
    /// The model cannot be loaded; ONNX Runtime's reason.
    #[error("the model cannot be loaded: {0}")]
    Load(String),
    /// The run failed; ONNX Runtime's reason, which may name shapes and nodes of the model.
    #[error("the model failed on this input: {0}")]
    Run(String),
    /// The deadline passed while the model ran, and the run was stopped.
    #[error("the run was stopped at its deadline")]
    Stopped,
}

/// Tensors of a run, in the order they were asked for.
pub type RunOutputs = SmallVec<[Tensor; 2]>;

/// A loaded model that can run on any thread, on several at once.
pub trait Engine: Send + Sync {
    fn signature(&self) -> &Signature;

    /// Bytes of memory the loaded model holds, as measured when it was loaded.
    fn memory_bytes(&self) -> u64;

    /// Runs the model on `inputs`, which stand in the signature's order, and
    /// returns the outputs whose indices `wanted` lists, in that order. A run
    /// that is still going at `deadline` is stopped.
    fn run(
        &self,
        inputs: &[Input<'_>],
        wanted: &[usize],
        deadline: Option<Instant>,
    ) -> Result<RunOutputs, EngineError>;
}
