//! When each request is due, and which model it asks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

/// Who decides when a request leaves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// The schedule: this many requests per second.
    Open { rate: f64 },
    /// The server: each caller's next request follows its answer.
    Closed,
}

/// Hands out requests in order to all callers of a run.
///
/// An open-loop ticket says when its request is due. A caller that comes late
/// because its last answer did gets the oldest ticket that is left, so every
/// request of the schedule is sent or counted as unsent; none is skipped.
#[derive(Debug)]
pub struct Schedule {
    pace: Pace,
    start: Instant,
    measure_from: Instant,
    end: Instant,
    next: AtomicU64,
}

/// The right to send one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ticket {
    pub number: u64,
    /// None: at once.
    pub due: Option<Instant>,
}

impl Schedule {
    pub fn new(pace: Pace, start: Instant, warmup: Duration, duration: Duration) -> Self {
        let measure_from = start + warmup;
        Self { pace, start, measure_from, end: measure_from + duration, next: AtomicU64::new(0) }
    }

    /// Returns the next request, or None at the end of the run.
    pub fn take(&self, now: Instant) -> Option<Ticket> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let due = match self.pace {
            Pace::Open { rate } => Some(self.start + Duration::from_secs_f64(number as f64 / rate)),
            Pace::Closed => None,
        };
        (due.unwrap_or(now) < self.end).then_some(Ticket { number, due })
    }

    pub fn start(&self) -> Instant {
        self.start
    }

    /// Requests from here on are measured; those before warm up.
    pub fn measure_from(&self) -> Instant {
        self.measure_from
    }

    pub fn end(&self) -> Instant {
        self.end
    }
}

/// Spreads requests over models by weight, the same way for the same seed.
#[derive(Clone, Debug)]
pub struct Mix {
    seed: u64,
    /// Each model's share ends here.
    bounds: Vec<u64>,
}

impl Mix {
    /// Takes one weight per model, none of them zero.
    pub fn new(seed: u64, weights: impl IntoIterator<Item = u32>) -> Self {
        let bounds = weights.into_iter().scan(0, |sum, weight| {
            *sum += u64::from(weight);
            Some(*sum)
        });
        Self { seed, bounds: bounds.collect() }
    }

    /// Returns the index of the model that request `number` asks.
    pub fn pick(&self, number: u64) -> usize {
        let Some(whole) = self.bounds.last().filter(|_| self.bounds.len() > 1) else {
            return 0;
        };
        let point = splitmix64(self.seed ^ splitmix64(number)) % whole;
        self.bounds.partition_point(|bound| *bound <= point)
    }
}

/// A well-mixed function of 64 bits: good enough to spread, cheap enough per request.
pub fn splitmix64(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn open_schedule_does_not_depend_on_when_it_is_asked() {
        let start = Instant::now();
        let schedule = Schedule::new(Pace::Open { rate: 4.0 }, start, SECOND, SECOND);
        let late = start + 60 * SECOND;
        let due: Vec<_> = std::iter::from_fn(|| schedule.take(late)).map(|t| t.due).collect();
        let expected: Vec<_> =
            (0..8).map(|i| Some(start + Duration::from_millis(250 * i))).collect();
        assert_eq!(due, expected);
    }

    #[test]
    fn closed_schedule_ends_with_the_run() {
        let start = Instant::now();
        let schedule = Schedule::new(Pace::Closed, start, SECOND, SECOND);
        assert_eq!(schedule.take(start), Some(Ticket { number: 0, due: None }));
        assert_eq!(schedule.take(start + 2 * SECOND), None);
    }

    #[test]
    fn mix_follows_the_weights() {
        let mix = Mix::new(7, [1, 3]);
        let second = (0..10_000).filter(|number| mix.pick(*number) == 1).count();
        assert!((7_300..7_700).contains(&second), "{second} of 10000 for a weight of 3 in 4");
    }
}
