//! The first load of a model: in a process of its own, which a hostile model may
//! kill without harm.
//!
//! `parent` starts this program again as `modelgate probe --child`, watches its time
//! and memory, and reads its answer; `child` is what runs there: it opens ONNX Runtime,
//! closes the `sandbox` behind itself, and only then looks at the model.

mod child;
mod memory;
mod messages;
mod parent;
mod report;
mod sandbox;
mod verdict;

pub use child::run as run_probe_child;
pub use parent::Probe;
pub use report::{ProbeLimits, ProbeReport, ProbeRequest};
#[cfg(feature = "testing")]
pub use sandbox::{Confinement, enter as enter_sandbox};

use std::sync::atomic::AtomicBool;

use crate::engine::Library;
use crate::types::Rejection;

impl Library {
    /// Tries a model in a process of its own, started from this program's own file, and
    /// waits for it: for `request.limits.wall_ms` at most, or until `cancelled` is set.
    /// For a thread that may wait.
    ///
    /// # Errors
    /// Why the model must not be served; [`RejectKind::Internal`] where the process could
    /// not be started or the probe was cancelled, which says nothing about the model.
    ///
    /// [`RejectKind::Internal`]: crate::types::RejectKind::Internal
    pub fn probe(
        &self,
        request: &ProbeRequest,
        cancelled: &AtomicBool,
    ) -> Result<ProbeReport, Rejection> {
        Probe::new(self, request).run(cancelled)
    }
}
