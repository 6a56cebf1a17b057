//! Lanes: a version's own threads for runs that would hold up a network
//! thread, with greedy batching. When a lane frees up it takes all compatible
//! work that waits; there is no timer unless one is configured.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::batching::may_share;
use super::execute::{Patience, run_together};
use super::job::Job;
use super::servable::Loaded;

/// Jobs set aside because they could not share the batch at hand; at this
/// many the lane stops looking further down its queue.
const MAX_SET_ASIDE: usize = 64;

/// How much nicer than network threads lanes are: with every core busy, the
/// thread that answers cheap requests and health checks goes first.
const NICENESS: i32 = 5;

/// Lane threads that run something, over all versions.
static AT_WORK: AtomicUsize = AtomicUsize::new(0);

/// Whether any lane runs something.
pub fn lanes_at_work() -> bool {
    AT_WORK.load(Ordering::Relaxed) > 0
}

/// The way into a version's lanes. Dropping it lets the threads finish what
/// waits and end.
pub(super) struct Lane {
    jobs: Sender<Job>,
}

impl Lane {
    /// Starts the version's lane threads.
    pub(super) fn start(model: &Arc<Loaded>) -> std::io::Result<Lane> {
        let (jobs, waiting) = bounded(model.options.queue_requests);
        for number in 0..model.options.lanes.max(1) {
            let (model, waiting) = (Arc::clone(model), waiting.clone());
            std::thread::Builder::new()
                .name(format!("lane-{}-{number}", model.name))
                .spawn(move || serve(&model, &waiting))?;
        }
        Ok(Lane { jobs })
    }

    /// Queues a job; false, and the job is dropped, when the queue is full.
    pub(super) fn submit(&self, job: Job) -> bool {
        self.jobs.try_send(job).is_ok()
    }
}

fn serve(model: &Loaded, waiting: &Receiver<Job>) {
    // Refused without the privilege to undo it later, which nobody needs.
    let _ = rustix::process::nice(NICENESS);
    let mut aside: VecDeque<Job> = VecDeque::new();
    loop {
        let Some(first) = aside.pop_front().or_else(|| waiting.recv().ok()) else { return };
        AT_WORK.fetch_add(1, Ordering::Relaxed);
        run_together(model, fill(model, first, &mut aside, waiting), Patience::UntilDeadline);
        AT_WORK.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The batch that starts with `first`: everything compatible that waits, up
/// to `max_batch_rows`.
fn fill(
    model: &Loaded,
    first: Job,
    aside: &mut VecDeque<Job>,
    waiting: &Receiver<Job>,
) -> Vec<Job> {
    if !model.may_batch() || !first.work.is_even() {
        return vec![first];
    }
    let mut rows = first.work.rows();
    let mut batch = vec![first];
    let mut fits = |job: &Job, batch: &[Job]| {
        let fits = may_share(&batch[0].work, &job.work)
            && rows + job.work.rows() <= model.options.max_batch_rows;
        if fits {
            rows += job.work.rows();
        }
        fits
    };
    for _ in 0..aside.len() {
        let Some(job) = aside.pop_front() else { break };
        if fits(&job, &batch) { batch.push(job) } else { aside.push_back(job) }
    }
    let company_until = Instant::now() + model.options.max_batch_delay;
    while aside.len() < MAX_SET_ASIDE && batch.len() < model.options.max_batch_rows {
        let next = if model.options.max_batch_delay.is_zero() {
            waiting.try_recv().ok()
        } else {
            waiting.recv_deadline(company_until).ok()
        };
        let Some(job) = next else { break };
        if fits(&job, &batch) { batch.push(job) } else { aside.push_back(job) }
    }
    batch
}
