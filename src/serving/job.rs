//! One request's share of a run: what goes in, what comes back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use tokio::sync::oneshot;

use crate::admission::Permit;
use crate::engine::RunOutputs;
use crate::telemetry::VersionMetrics;
use crate::types::{InferError, Priority, Tensor};

/// Indices of the outputs a request wants, in the order asked for.
pub type Wanted = SmallVec<[usize; 2]>;

/// A request that fits its model: inputs in the signature's order. A clone
/// shares the tensors' bytes.
#[derive(Clone, Debug)]
pub struct Work {
    pub inputs: SmallVec<[Tensor; 2]>,
    pub wanted: Wanted,
    /// The client has no use for an answer after this instant.
    pub deadline: Instant,
    /// Who goes first where work waits.
    pub priority: Priority,
    /// What its wait and its run count for; the version itself where there is none.
    pub variant: Option<Arc<VersionMetrics>>,
}

impl Work {
    /// Bytes of all inputs, the measure of cost.
    pub fn bytes(&self) -> usize {
        self.inputs.iter().map(|tensor| tensor.data().len()).sum()
    }

    /// Rows of the first dimension; 1 where the model has none to count.
    pub fn rows(&self) -> usize {
        self.inputs.first().and_then(|tensor| tensor.shape().rows()).unwrap_or(1)
    }

    /// Whether every input has as many rows, so that rows can be told apart in a batch.
    pub(super) fn is_even(&self) -> bool {
        let rows = self.rows();
        self.inputs.iter().all(|tensor| tensor.shape().rows() == Some(rows))
    }
}

/// The answer to [`Work`]. A clone shares the tensors' bytes.
#[derive(Clone, Debug)]
pub struct Done {
    /// In the order of [`Work::wanted`].
    pub outputs: RunOutputs,
    pub timings: Timings,
}

/// How long an answer took, without the way there and back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Before its run began.
    pub waited: Duration,
    /// Of the run, which others may have shared.
    pub ran: Duration,
    /// Of the run, the others' included.
    pub rows: usize,
}

/// Work on its way to a run, with the way back.
pub(super) struct Job {
    pub(super) work: Work,
    pub(super) queued_at: Instant,
    /// Held by work for a lane until its run is over, whether anybody waits or not.
    permit: Option<Permit>,
    reply: oneshot::Sender<Result<Done, NotDone>>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum NotDone {
    Failed(InferError),
    /// The run was too long for a network thread and was stopped: it belongs on a lane.
    TooDear(Work),
}

impl From<InferError> for NotDone {
    fn from(error: InferError) -> NotDone {
        NotDone::Failed(error)
    }
}

/// The way an answer comes back.
pub type Pending = oneshot::Receiver<Result<Done, NotDone>>;

impl Job {
    pub(super) fn new(work: Work) -> (Job, Pending) {
        let (reply, pending) = oneshot::channel();
        (Job { work, queued_at: Instant::now(), permit: None, reply }, pending)
    }

    /// A job for a lane.
    pub(super) fn permitted(work: Work, permit: Permit, queued_at: Instant) -> (Job, Pending) {
        let (reply, pending) = oneshot::channel();
        (Job { work, queued_at, permit: Some(permit), reply }, pending)
    }

    /// Whether the caller left.
    pub(super) fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    /// Hands the answer to the caller, or drops it when nobody waits.
    pub(super) fn answer(self, result: Result<Done, InferError>) {
        // First, so that who is answered finds its place free.
        drop(self.permit);
        let _ = self.reply.send(result.map_err(NotDone::Failed));
    }

    /// Hands the work back to the caller, to be started on a lane.
    pub(super) fn hand_back(self) {
        let _ = self.reply.send(Err(NotDone::TooDear(self.work)));
    }
}
