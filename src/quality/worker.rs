//! The thread that joins. It runs where a core would be idle, so that those
//! that answer requests never wait for it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::join::Joiner;
use super::{MOST_SEEN, Shared, now_us};
use crate::background::Yielding;

/// How often it looks for answers, which wake nobody: often while they come,
/// and seldom when none came for [`QUIET`].
const OFTEN: Duration = Duration::from_millis(5);
const SELDOM: Duration = Duration::from_millis(50);
const QUIET: Duration = Duration::from_secs(1);

/// Answers that are taken in before labels get their turn.
const AT_A_TIME: usize = 1024;

pub(super) fn start(shared: Arc<Shared>, joiner: Joiner) -> io::Result<Thread> {
    let run = move || work(&shared, joiner);
    let handle = thread::Builder::new().name("quality".to_owned()).spawn(run)?;
    Ok(handle.thread().clone())
}

fn work(shared: &Shared, mut joiner: Joiner) {
    let mut yielding = Yielding::default();
    let mut last = Instant::now();
    while !shared.closed.load(Ordering::Relaxed) {
        yielding.step_back_once();
        let took = take_in(shared, &mut joiner);
        joiner.tick(now_us());
        if took >= AT_A_TIME {
            continue;
        }
        if took > 0 {
            last = Instant::now();
        }
        let pause = if last.elapsed() < QUIET { OFTEN } else { SELDOM };
        thread::park_timeout(pause);
    }
}

/// Takes in what has come; says how much.
fn take_in(shared: &Shared, joiner: &mut Joiner) -> usize {
    let now = now_us();
    // A label comes after its answer: whoever has the label finds the answer in the queue.
    let submitted = shared.labels.take();
    let most = if submitted.is_some() { MOST_SEEN } else { AT_A_TIME };
    let mut took = 0;
    while took < most
        && let Some(observed) = shared.seen.take()
    {
        shared.seen_bytes.fetch_sub(observed.bytes(), Ordering::Relaxed);
        joiner.saw(&observed, now);
        took += 1;
    }
    let Some(submitted) = submitted else { return took };
    shared.waiting.fetch_sub(submitted.labels.len(), Ordering::Relaxed);
    let labels = submitted.labels.into_iter();
    let outcomes = labels.map(|label| joiner.label(label, now)).collect();
    // The caller may have left.
    let _ = submitted.reply.send(outcomes);
    took.max(AT_A_TIME)
}
