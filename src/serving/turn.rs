//! Turn batching: what one turn of a network thread's event loop has decoded
//! for one model runs as one batch on that thread, without a wake-up.
//!
//! While a run holds the thread, further requests wait unseen in sockets. The
//! next turn reads them all; each enqueues its job here and yields. The
//! thread's [`flusher`] runs them once a whole pass over the run queue has
//! added nothing. Where turns have had one job for a while, requests run at
//! once instead, which at concurrency 1 saves the two wake-ups of a turn.

use std::cell::RefCell;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use smallvec::SmallVec;

use super::batching::may_share;
use super::execute::{Patience, run_together};
use super::job::Job;
use super::servable::Loaded;

/// Turns of one job in a row after which requests run at once, without a turn.
const LONELY_AFTER: u32 = 32;

/// Of the requests that run at once, every so manieth takes a turn all the
/// same, to find out whether there is company again.
const LOOK_AROUND: u32 = 32;

/// Passes over the run queue that may still add jobs before they run anyway.
const MAX_PASSES: u32 = 4;

#[derive(Default)]
struct Turn {
    groups: Vec<Group>,
    /// Jobs of all groups. Bounded by the connections and streams of this
    /// thread, each of which waits for its answer.
    waiting: usize,
    /// Set once a flusher serves this thread.
    flusher: Option<Waker>,
    /// Requests since a turn last had more than one job.
    alone: u32,
}

/// Jobs that will share runs.
struct Group {
    model: Arc<Loaded>,
    jobs: Vec<Job>,
    rows: usize,
    bytes: usize,
}

thread_local! {
    static TURN: RefCell<Turn> = RefCell::default();
}

/// Whether to take a turn: this thread has a flusher, and had company lately.
pub(super) fn is_worthwhile() -> bool {
    TURN.with_borrow_mut(|turn| {
        let Turn { flusher: Some(_), alone, .. } = turn else { return false };
        *alone = alone.saturating_add(1);
        *alone < LONELY_AFTER || alone.is_multiple_of(LOOK_AROUND) || turn.waiting > 0
    })
}

/// Bytes that wait in this turn for `model`.
pub(super) fn waiting_bytes(model: &Arc<Loaded>) -> usize {
    TURN.with_borrow(|turn| {
        turn.groups
            .iter()
            .filter(|group| Arc::ptr_eq(&group.model, model))
            .map(|group| group.bytes)
            .sum()
    })
}

/// Adds a job to this thread's turn.
pub(super) fn enqueue(model: &Arc<Loaded>, job: Job) {
    TURN.with_borrow_mut(|turn| {
        turn.waiting += 1;
        let (rows, bytes) = (job.work.rows(), job.work.bytes());
        let sociable = model.may_batch() && job.work.is_even();
        let group = turn.groups.iter_mut().find(|group| {
            sociable
                && Arc::ptr_eq(&group.model, model)
                && group.rows + rows <= model.options.max_batch_rows
                && group.jobs.first().is_some_and(|first| may_share(&first.work, &job.work))
        });
        match group {
            Some(group) => {
                group.jobs.push(job);
                group.rows += rows;
                group.bytes += bytes;
            }
            None => {
                turn.groups.push(Group { model: Arc::clone(model), jobs: vec![job], rows, bytes })
            }
        }
        if turn.waiting == 1
            && let Some(flusher) = &turn.flusher
        {
            flusher.wake_by_ref();
        }
    });
}

/// Serves this thread's turns; every network thread runs one, for ever.
pub async fn flusher() {
    let mut seen = 0;
    let mut passes = 0;
    poll_fn(|context| {
        let ready = TURN.with_borrow_mut(|turn| {
            if turn.flusher.as_ref().is_none_or(|waker| !waker.will_wake(context.waker())) {
                turn.flusher = Some(context.waker().clone());
            }
            if turn.waiting == 0 {
                return SmallVec::new();
            }
            if turn.waiting > seen && passes < MAX_PASSES {
                seen = turn.waiting;
                passes += 1;
                // To the end of the run queue: whoever is ready decodes first.
                context.waker().wake_by_ref();
                return SmallVec::new();
            }
            if turn.waiting > 1 {
                turn.alone = 0;
            }
            turn.waiting = 0;
            seen = 0;
            passes = 0;
            turn.groups.drain(..).collect::<SmallVec<[Group; 4]>>()
        });
        for group in ready {
            let patience = Patience::on_network_thread(&group.model);
            run_together(&group.model, group.jobs, patience);
        }
        Poll::<()>::Pending
    })
    .await;
}
