//! How one model's runs are placed and batched.

use std::time::Duration;

/// Where runs take place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Execution {
    /// Measured cost decides between `Turn` and `Lane`.
    #[default]
    Auto,
    /// Each request alone, at once, on the network thread that read it.
    Inline,
    /// On the network thread, as one batch with its turn of the event loop.
    Turn,
    /// Always on the version's own threads.
    Lane,
}

#[derive(Clone, Debug)]
pub struct ExecutionOptions {
    pub execution: Execution,
    /// Whether requests may share a run where a load-time check showed that rows are independent.
    pub batching: bool,
    /// Most rows of several requests in one run. A single request may have more.
    pub max_batch_rows: usize,
    /// How long a lane waits for company; zero means not at all.
    pub max_batch_delay: Duration,
    /// Threads of the version's lane.
    pub lanes: usize,
    /// Most requests that may wait for a lane; full means refuse (`queue_full`).
    pub queue_requests: usize,
    /// How long requests may wait for a lane where more come than it can
    /// answer; the limit of how many may wait is learnt from it.
    pub queue_wait: Duration,
    /// Longest wait for a lane; `None` leaves it to the request's deadline.
    pub queue_timeout: Option<Duration>,
    /// The longest run that may hold up a network thread.
    pub inline_budget: Duration,
}

impl Default for ExecutionOptions {
    fn default() -> ExecutionOptions {
        ExecutionOptions {
            execution: Execution::Auto,
            batching: true,
            max_batch_rows: 64,
            max_batch_delay: Duration::ZERO,
            lanes: 1,
            queue_requests: 512,
            queue_wait: Duration::from_millis(100),
            queue_timeout: None,
            inline_budget: Duration::from_micros(250),
        }
    }
}
