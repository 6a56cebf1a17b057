//! How many requests may wait for a model's lanes at a time: learnt from how
//! long they wait, shared out by class.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::law::{admits, idle_after, next_limit};
use crate::telemetry::ModelMetrics;
use crate::types::Priority;

/// Between what a limit moves, and what it aims at. At most 65,535 enter,
/// whatever `max` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimiterOptions {
    pub min: usize,
    pub max: usize,
    /// How long requests may wait where more come than can be answered.
    pub patience: Duration,
}

/// One for each model, over all its versions. Only work that waits for lanes
/// enters it; runs on network threads do not pass here.
///
/// A limit begins at its maximum, and is there again after the model was idle,
/// so that a burst is not refused for what was before it.
#[derive(Debug)]
pub struct Limiter {
    /// How many are inside, 16 bits for each class.
    inside: AtomicU64,
    /// Bits of an `f64`. Lanes that learn at the same moment may overwrite each other.
    limit: AtomicU64,
    /// Least and most, 32 bits each.
    bounds: AtomicU64,
    /// Nanoseconds.
    patience: AtomicU64,
    began: Instant,
    /// From when on the model is idle unless it runs again; nanoseconds from `began`.
    idle_at: AtomicU64,
    metrics: Arc<ModelMetrics>,
}

/// Leave for one request to wait and run. Gives its place back when dropped.
#[derive(Debug)]
pub struct Permit {
    limiter: Arc<Limiter>,
    class: Priority,
}

/// Bits of the count of one class.
const BITS: usize = 16;

impl Limiter {
    /// Without bounds until a version that is loaded sets them.
    pub fn new(metrics: Arc<ModelMetrics>) -> Arc<Limiter> {
        let limiter = Limiter {
            inside: AtomicU64::new(0),
            limit: AtomicU64::new(0),
            bounds: AtomicU64::new(0),
            patience: AtomicU64::new(0),
            began: Instant::now(),
            idle_at: AtomicU64::new(0),
            metrics,
        };
        limiter.set_bounds(LimiterOptions { min: 1, max: usize::MAX, patience: Duration::ZERO });
        Arc::new(limiter)
    }

    /// Takes over the bounds of a version that is loaded. The limit begins
    /// anew where they differ.
    pub fn set_bounds(&self, options: LimiterOptions) {
        let patience = u64::try_from(options.patience.as_nanos()).unwrap_or(u64::MAX);
        self.patience.store(patience, Ordering::Relaxed);
        let max = options.max.clamp(1, usize::from(u16::MAX)) as u64;
        let min = (options.min.max(1) as u64).min(max);
        if self.bounds.swap(min << 32 | max, Ordering::Relaxed) != min << 32 | max {
            self.set(max as f64);
        }
    }

    /// Whether a request of this class would be refused; two loads, for
    /// refusing before a body is read.
    pub fn is_full(&self, class: Priority) -> bool {
        let inside = self.inside.load(Ordering::Relaxed);
        inside != 0 && !admits(self.learnt(), by_class(inside), class)
    }

    /// `None` when the class has its share.
    pub fn enter(self: &Arc<Limiter>, class: Priority, now: Instant) -> Option<Permit> {
        let one = 1 << (BITS * class as usize);
        let mut inside = self.inside.load(Ordering::Relaxed);
        loop {
            if inside == 0 {
                if self.nanos(now) >= self.idle_at.load(Ordering::Relaxed) {
                    self.set(self.bounds().1);
                }
            } else if !admits(self.learnt(), by_class(inside), class) {
                return None;
            }
            let (relaxed, next) = (Ordering::Relaxed, inside + one);
            match self.inside.compare_exchange_weak(inside, next, relaxed, relaxed) {
                Ok(_) => return Some(Permit { limiter: Arc::clone(self), class }),
                Err(now) => inside = now,
            }
        }
    }

    /// Learns from one run that ended `now`: how long its requests had waited
    /// on average, and how long it took, all of the batch. Requests whose
    /// callers had left are not to be counted.
    pub fn observe(&self, waited: Duration, ran: Duration, now: Instant) {
        let (min, max) = self.bounds();
        self.idle_at.store(self.nanos(now + idle_after(ran)), Ordering::Relaxed);
        let patience = Duration::from_nanos(self.patience.load(Ordering::Relaxed));
        self.set(next_limit(self.learnt(), waited, ran, patience).clamp(min, max));
    }

    /// The limit at this moment.
    pub fn limit(&self) -> usize {
        self.learnt() as usize
    }

    /// Requests that wait or run.
    pub fn inside(&self) -> usize {
        by_class(self.inside.load(Ordering::Relaxed)).iter().sum()
    }

    fn nanos(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.began).as_nanos();
        u64::try_from(since).unwrap_or(u64::MAX)
    }

    fn learnt(&self) -> f64 {
        f64::from_bits(self.limit.load(Ordering::Relaxed))
    }

    fn set(&self, limit: f64) {
        self.limit.store(limit.to_bits(), Ordering::Relaxed);
        self.metrics.set_admission_limit(limit as u64);
    }

    fn bounds(&self) -> (f64, f64) {
        let bounds = self.bounds.load(Ordering::Relaxed);
        ((bounds >> 32) as f64, (bounds & u64::from(u32::MAX)) as f64)
    }
}

fn by_class(inside: u64) -> [usize; 4] {
    std::array::from_fn(|class| usize::from((inside >> (BITS * class)) as u16))
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limiter.inside.fetch_sub(1 << (BITS * self.class as usize), Ordering::Relaxed);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::telemetry::{Telemetry, TelemetryOptions};
    use crate::types::ModelName;

    pub(crate) fn limiter(min: usize, max: usize) -> Arc<Limiter> {
        let name = ModelName::parse("m").expect("a name");
        let metrics = Telemetry::new(TelemetryOptions::default()).model(&name);
        let limiter = Limiter::new(metrics);
        limiter.set_bounds(LimiterOptions { min, max, patience: Duration::from_millis(5) });
        limiter
    }

    #[test]
    fn places_are_given_back() {
        let limiter = limiter(1, 10);
        let enter = || limiter.enter(Priority::Normal, Instant::now());
        let held: Vec<Permit> = std::iter::from_fn(enter).take(100).collect();
        assert_eq!((held.len(), limiter.inside()), (9, 9));
        assert!(limiter.is_full(Priority::Normal));
        assert!(limiter.is_full(Priority::Batch));
        assert!(!limiter.is_full(Priority::Critical));
        drop(held);
        assert_eq!(limiter.inside(), 0);
        assert!(!limiter.is_full(Priority::Shadow));
    }

    #[test]
    fn a_limit_stays_within_its_bounds_and_is_high_again_after_a_pause() {
        let limiter = limiter(3, 40);
        let (second, run) = (Duration::from_secs(1), Duration::from_millis(2));
        let start = Instant::now();
        let enter = |at| limiter.enter(Priority::Normal, at).expect("room");
        let held = enter(start);
        for _ in 0..200 {
            limiter.observe(second, run, start);
        }
        let low = limiter.limit();
        assert!((3..8).contains(&low), "{low}");
        drop(enter(start + second));
        assert_eq!(limiter.limit(), low, "one was inside all the time");
        drop(held);
        drop(enter(start + 10 * run));
        assert_eq!(limiter.limit(), low, "a gap between two requests is no pause");
        drop(enter(start + second));
        assert_eq!(limiter.limit(), 40);
        for _ in 0..200 {
            limiter.observe(Duration::ZERO, second, start);
        }
        assert_eq!(limiter.limit(), 40);
        limiter.set_bounds(LimiterOptions { min: 1, max: 1_000_000, patience: Duration::ZERO });
        assert_eq!(limiter.limit(), 65_535);
    }

    #[test]
    fn threads_never_exceed_the_limit_together() {
        let limiter = limiter(5, 5);
        let most = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        if let Some(_permit) = limiter.enter(Priority::Critical, Instant::now()) {
                            most.fetch_max(limiter.inside(), Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(limiter.inside(), 0);
        assert!((1..=5).contains(&most.load(Ordering::Relaxed)));
    }
}
