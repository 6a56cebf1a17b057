//! The thread that counts what takes long, and looks at all counts.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::against::Against;
use super::monitor::Monitor;
use super::pair::Pair;
use super::watch::{Role, Watch};
use super::{DriftOptions, Shared};
use crate::background;
use crate::drift::profile::Column;
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
    let (mut monitors, mut pairs) = (HashMap::new(), HashMap::new());
    let mut last = Instant::now();
    while !shared.closed.load(Ordering::Relaxed) {
        while let Some(seen) = shared.take() {
            if !seen.watch.count(seen.role, seen.rows()) {
                shared.metrics.dropped(DriftDrop::Busy);
            }
            if last.elapsed() >= options.every {
                break;
            }
        }
        if last.elapsed() >= options.every {
            last = Instant::now();
            shared.find_champions();
            let (watches, now) = (shared.watches(), now_us());
            look(&watches, &mut monitors, now, options);
            compare(&watches, &mut pairs, now, options);
        }
        thread::park_timeout(PAUSE.min(options.every));
    }
}

/// A watch by its place in memory, which nobody else has while its monitor holds it weakly.
type Monitors = HashMap<(*const Watch, Role), (Weak<Watch>, Monitor)>;

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

/// Likewise of what a version is compared with.
type Pairs = HashMap<*const Against, (Weak<Against>, Pair)>;

/// Compares every version with its champion.
fn compare(watches: &[Arc<Watch>], pairs: &mut Pairs, now: i64, options: &DriftOptions) {
    pairs.retain(|_, (against, _)| against.strong_count() > 0);
    for watch in watches {
        let Some(against) = watch.against() else { continue };
        let Some((counted, champion)) = against.counted.as_ref().zip(against.watch.upgrade())
        else {
            continue;
        };
        let champion = champion.active().and_then(|active| active.total(Role::Primary));
        let champion = match champion {
            Some(total) => counted.places.iter().map(|place| total[*place].clone()).collect(),
            None => counted.profile.columns().map(Column::tally).collect::<Vec<_>>(),
        };
        let (_, pair) = pairs.entry(Arc::as_ptr(&against)).or_insert_with(|| {
            let pair = Pair::new(&counted.profile, champion.clone(), now, options);
            (Arc::downgrade(&against), pair)
        });
        let candidate = Role::ALL.map(|role| counted.tap.total(role));
        let found = pair.step(&counted.profile, now, &champion, candidate, options);
        for (place, found) in counted.comparisons.iter().zip(found) {
            place.store(found.map(Arc::new));
        }
    }
}

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
