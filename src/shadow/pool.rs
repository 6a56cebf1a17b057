//! The shadow's threads. They run where a core would be idle, so that those
//! that answer requests never wait for them, and they alone take locks here.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::line::{Line, Next};
use super::run::{self, cpu_time};
use super::{Held, Shared};
use crate::background::Yielding;
use crate::telemetry::{ShadowDrop, ShadowOutcome};

/// Runs at a time, of all routes.
pub(super) const MOST_WORKERS: usize = 4;

/// How often the dispatcher looks for samples: often while they come, and
/// seldom when none came for [`QUIET`].
const OFTEN: Duration = Duration::from_micros(500);
const SELDOM: Duration = Duration::from_millis(20);
const QUIET: Duration = Duration::from_millis(100);

/// What dispatcher and workers share.
pub(super) struct Pool {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    line: Line<Box<Held>>,
    /// Threads, of which so many have nothing to do.
    workers: usize,
    idle: usize,
    /// Unset when a thread could not be started.
    may_grow: bool,
    closed: bool,
}

impl Pool {
    pub(super) fn new() -> Pool {
        let state = State { line: Line::new(), workers: 0, idle: 0, may_grow: true, closed: false };
        Pool { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Ends the threads, each after what it does at the moment.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// The next sample to run; waits for it. None when the pool is closed.
    fn next(&self) -> Option<Box<Held>> {
        let mut state = self.lock();
        while !state.closed {
            match state.line.next(Instant::now()) {
                Some(Next::Run(held)) => return Some(held),
                Some(Next::Drop(held, reason)) => held.drop_because(reason),
                None => {
                    state.idle += 1;
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                    state.idle -= 1;
                }
            }
        }
        None
    }

    /// A panic while it is locked leaves the line whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the dispatcher, which nobody wakes: whoever offers a sample only
/// pushes it to a queue.
pub(super) fn start(shared: &Arc<Shared>) -> io::Result<()> {
    let shared = Arc::clone(shared);
    thread::Builder::new().name("shadow".to_owned()).spawn(move || dispatch(&shared))?;
    Ok(())
}

fn dispatch(shared: &Arc<Shared>) {
    let mut yielding = Yielding::default();
    let mut last = Instant::now();
    loop {
        yielding.step_back_once();
        let now = Instant::now();
        match take_in(shared, now) {
            Took::Closed => return,
            Took::Some => last = now,
            Took::None => {}
        }
        thread::park_timeout(pause(now.saturating_duration_since(last)));
    }
}

fn pause(quiet: Duration) -> Duration {
    if quiet < QUIET { OFTEN } else { SELDOM }
}

enum Took {
    Closed,
    Some,
    None,
}

/// Brings what arrived into the line, and sees to it that somebody runs it.
fn take_in(shared: &Arc<Shared>, now: Instant) -> Took {
    let mut state = shared.pool.lock();
    if state.closed {
        return Took::Closed;
    }
    let mut took = Took::None;
    while let Some(held) = shared.arrived.take() {
        state.line.push(held, now);
        took = Took::Some;
    }
    for held in state.line.stale(now) {
        held.drop_because(ShadowDrop::Stale);
    }
    state.line.forget_idle(now);
    if state.line.has_next() {
        if state.idle > 0 {
            shared.pool.changed.notify_all();
        } else if state.workers < MOST_WORKERS && state.may_grow {
            let worker = Arc::clone(shared);
            let started = thread::Builder::new()
                .name(format!("shadow-{}", state.workers))
                .spawn(move || work(&worker));
            match started {
                Ok(_) => state.workers += 1,
                Err(error) => {
                    tracing::error!(%error, "no thread for a shadow");
                    state.may_grow = false;
                }
            }
        }
    }
    took
}

fn work(shared: &Shared) {
    let mut yielding = Yielding::default();
    while let Some(held) = shared.pool.next() {
        yielding.step_back_once();
        let route = Arc::clone(&held.sample.route);
        let began = cpu_time();
        let run = AssertUnwindSafe(|| run::mirror(&shared.books, &shared.telemetry, held));
        if catch_unwind(run).is_err() {
            route.metrics.shadow.ended(ShadowOutcome::Failed);
        }
        let used = cpu_time().saturating_sub(began);
        shared.pool.lock().line.ended(&route.route.name, used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::background;

    #[test]
    fn the_dispatcher_looks_often_only_while_samples_come() {
        assert_eq!(pause(Duration::ZERO), OFTEN);
        assert_eq!(pause(QUIET), SELDOM);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_threads_run_behind_all_others() {
        use crate::shadow::Mirror;
        use crate::telemetry::{Telemetry, TelemetryOptions};
        use std::fs;

        let telemetry = Arc::new(Telemetry::new(TelemetryOptions::default()));
        let _mirror = Mirror::start(&telemetry).expect("a thread");
        background::begin_to_yield();
        // After the name in brackets, from the state on: `policy` is the 41st field of all.
        let is_idle = |stat: &str| {
            let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split(' ').collect();
            stat.contains("(shadow)") && fields.get(39) == Some(&"5")
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let tasks = fs::read_dir("/proc/self/task").expect("threads").flatten();
            let mut stats =
                tasks.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
            if stats.any(|stat| is_idle(&stat)) {
                return;
            }
            assert!(Instant::now() < deadline, "no thread named shadow is of SCHED_IDLE");
            thread::sleep(Duration::from_millis(5));
        }
    }
}
