//! The thread that counts what takes long, and looks at all counts.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, Thread};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::monitor::Monitor;
use super::warming::{ASK_EVERY, Warming};
use super::watch::{Role, Watch};
use super::{DriftOptions, Seen, Shared};
use crate::background;
use crate::telemetry::DriftDrop;

/// How often it looks for rows, which wake nobody.
const PAUSE: Duration = Duration::from_millis(10);

/// Rows are looked after before requests that come next, as they are few and
/// nobody sees what is not counted; yet behind those that are being answered.
const NICE: i32 = 5;

pub(super) fn start(shared: Arc<Shared>, options: DriftOptions) -> io::Result<Thread> {
    let run = move || work(&shared, &options);
    let handle = thread::Builder::new().name("drift".to_owned()).spawn(run)?;
    Ok(handle.thread().clone())
}

fn work(shared: &Shared, options: &DriftOptions) {
    background::be_nice(NICE);
    let mut monitors = HashMap::new();
    let (mut last, mut asked) = (Instant::now(), Instant::now());
    while !shared.closed.load(Ordering::Relaxed) {
        while let Some(seen) = shared.take() {
            take_in(&seen, shared);
            if last.elapsed() >= options.every {
                break;
            }
        }
        if last.elapsed() >= options.every {
            last = Instant::now();
            look(&shared.watches(), &mut monitors, now_us(), options);
        }
        if asked.elapsed() >= ASK_EVERY {
            asked = Instant::now();
            shared.watches().iter().filter_map(|watch| watch.learner()).for_each(Warming::ask);
        }
        thread::park_timeout(PAUSE.min(options.every));
    }
}

fn take_in(seen: &Seen, shared: &Shared) {
    let watch = &seen.watch;
    if let Some(learner) = watch.learner() {
        return learner.learn((&watch.model, watch.version), seen.rows(), now_us());
    }
    if !watch.active().is_some_and(|active| active.count(seen.role, seen.rows())) {
        shared.metrics.dropped(DriftDrop::Busy);
    }
}

/// A watch by its place in memory, which nobody else has while its monitor holds it weakly.
type Monitors = HashMap<(*const Watch, Role), (std::sync::Weak<Watch>, Monitor)>;

/// Looks at everything that was counted of every version.
fn look(watches: &[Arc<Watch>], monitors: &mut Monitors, now: i64, options: &DriftOptions) {
    monitors.retain(|_, (watch, _)| watch.strong_count() > 0);
    for watch in watches {
        let Some(active) = watch.active() else { continue };
        for role in Role::ALL {
            let Some(total) = active.total(role) else { continue };
            let (_, monitor) = monitors
                .entry((Arc::as_ptr(watch), role))
                .or_insert_with(|| (Arc::downgrade(watch), Monitor::new(&active.profile, options)));
            active.reports[role as usize].store(Some(Arc::new(monitor.step(
                &active.profile,
                now,
                &total,
            ))));
        }
    }
}

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
