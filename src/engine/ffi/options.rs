//! How a session is built and how a run may be stopped.

use std::ffi::{CStr, c_int};
use std::ptr::{self, NonNull};

use serde::{Deserialize, Serialize};

use ort::sys::{ExecutionMode, GraphOptimizationLevel, OrtRunOptions, OrtSessionOptions};

use super::{Environment, api, check};

/// Largest tensor that folding constants at load may make: a model of a few
/// bytes could otherwise fill the memory while it loads.
const MAX_FOLDED_BYTES: &CStr = c"67108864";

/// How much ONNX Runtime rewrites the graph at load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Optimization {
    Disable,
    Basic,
    Extended,
    #[default]
    All,
}

/// How a model is run. The defaults are those that measured best for several
/// threads that share one session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionOptions {
    /// Threads inside one operator; 1 means the calling thread only, 0 one per core.
    pub intra_op_threads: usize,
    /// Whether waiting threads of the pool burn their core.
    pub spinning: bool,
    /// Whether freed memory is kept in an arena, which threads then contend for.
    pub arena: bool,
    pub optimization: Optimization,
    /// Whether the nodes of the graph run one after another.
    pub sequential: bool,
}

impl Default for SessionOptions {
    fn default() -> SessionOptions {
        SessionOptions {
            intra_op_threads: 1,
            spinning: false,
            arena: false,
            optimization: Optimization::All,
            sequential: true,
        }
    }
}

/// [`SessionOptions`] as ONNX Runtime takes them.
pub(super) struct RawOptions(NonNull<OrtSessionOptions>);

impl RawOptions {
    pub(super) fn new(_: &Environment, options: &SessionOptions) -> Result<RawOptions, String> {
        let mut raw = ptr::null_mut();
        // SAFETY: `raw` is a live local.
        check(unsafe { (api().CreateSessionOptions)(&mut raw) })?;
        let raw = RawOptions(NonNull::new(raw).ok_or("no session options")?);
        let level = match options.optimization {
            Optimization::Disable => GraphOptimizationLevel::ORT_DISABLE_ALL,
            Optimization::Basic => GraphOptimizationLevel::ORT_ENABLE_BASIC,
            Optimization::Extended => GraphOptimizationLevel::ORT_ENABLE_EXTENDED,
            Optimization::All => GraphOptimizationLevel::ORT_ENABLE_ALL,
        };
        let mode = match options.sequential {
            true => ExecutionMode::ORT_SEQUENTIAL,
            false => ExecutionMode::ORT_PARALLEL,
        };
        let threads = c_int::try_from(options.intra_op_threads)
            .map_err(|_| format!("{} threads are too many", options.intra_op_threads))?;
        let pointer = raw.as_ptr();
        // SAFETY: `pointer` is live until `raw` is dropped and nobody else has it.
        unsafe {
            check((api().SetSessionGraphOptimizationLevel)(pointer, level))?;
            check((api().SetSessionExecutionMode)(pointer, mode))?;
            check((api().SetIntraOpNumThreads)(pointer, threads))?;
            // Patterns are kept for every input shape ever seen, behind a lock that every
            // run takes: clients choose shapes, so that would be a leak they control.
            check((api().DisableMemPattern)(pointer))?;
            if options.sequential {
                check((api().SetInterOpNumThreads)(pointer, 1))?;
            }
            if !options.arena {
                check((api().DisableCpuMemArena)(pointer))?;
            }
        }
        let spinning = if options.spinning { c"1" } else { c"0" };
        raw.entry(c"session.intra_op.allow_spinning", spinning)?;
        raw.entry(c"session.inter_op.allow_spinning", spinning)?;
        // Not every release knows this one, and a model loads without it.
        let cap = c"optimization.constant_folding_max_output_size_in_bytes";
        if let Err(reason) = raw.entry(cap, MAX_FOLDED_BYTES) {
            tracing::debug!(reason, "constant folding is not capped");
        }
        Ok(raw)
    }

    pub(super) fn as_ptr(&self) -> *mut OrtSessionOptions {
        self.0.as_ptr()
    }

    fn entry(&self, key: &CStr, value: &CStr) -> Result<(), String> {
        // SAFETY: the options are live, and both strings are copied by the call.
        check(unsafe { (api().AddSessionConfigEntry)(self.as_ptr(), key.as_ptr(), value.as_ptr()) })
    }
}

impl Drop for RawOptions {
    fn drop(&mut self) {
        // SAFETY: made by `CreateSessionOptions`, released once.
        unsafe { (api().ReleaseSessionOptions)(self.as_ptr()) }
    }
}

/// The handle by which another thread stops the runs of one thread.
pub struct RunOptions(NonNull<OrtRunOptions>);

// SAFETY: after it is made the object is only read by `Run`, except for its terminate
// flag, which the C interface documents as settable from another thread during a run.
// The flag itself is no atomic: `stop` lets one thread at a time set or clear it.
unsafe impl Send for RunOptions {}
// SAFETY: as above.
unsafe impl Sync for RunOptions {}

impl RunOptions {
    pub fn new(_: &Environment) -> Result<RunOptions, String> {
        let mut raw = ptr::null_mut();
        // SAFETY: `raw` is a live local.
        check(unsafe { (api().CreateRunOptions)(&mut raw) })?;
        Ok(RunOptions(NonNull::new(raw).ok_or("no run options")?))
    }

    /// Stops every run that uses these options, between two nodes of its graph.
    pub fn terminate(&self) -> Result<(), String> {
        // SAFETY: live until dropped; the call is meant for another thread than the run's.
        check(unsafe { (api().RunOptionsSetTerminate)(self.as_ptr()) })
    }

    /// Lets runs use these options again.
    pub fn clear(&self) -> Result<(), String> {
        // SAFETY: live until dropped.
        check(unsafe { (api().RunOptionsUnsetTerminate)(self.as_ptr()) })
    }

    pub(super) fn as_ptr(&self) -> *mut OrtRunOptions {
        self.0.as_ptr()
    }
}

impl Drop for RunOptions {
    fn drop(&mut self) {
        // SAFETY: made by `CreateRunOptions`, released once; a run borrows it meanwhile.
        unsafe { (api().ReleaseRunOptions)(self.as_ptr()) }
    }
}
