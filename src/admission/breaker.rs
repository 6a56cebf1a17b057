//! Leaves a version alone that keeps failing, and tries it again now and then.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::telemetry::VersionMetrics;

/// Failures are counted over so long, from the first of them on.
const WINDOW: Duration = Duration::from_secs(10);

/// Requests within a window that are enough to judge by.
const ENOUGH: u32 = 20;

/// Of failures that no input explains, so many without a success in between
/// are enough.
const IN_A_ROW: u32 = 3;

/// Between two requests that find out whether the version has recovered.
const TRIAL_EVERY: Duration = Duration::from_secs(5);

/// The state of one version. While all is well a request costs one relaxed
/// load; from a first failure on, a short lock each, until a window has passed.
#[derive(Debug)]
pub struct Breaker {
    /// The kind of `state`.
    mode: AtomicU8,
    state: Mutex<State>,
    metrics: Arc<VersionMetrics>,
}

/// Whether a request may go to the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    Free,
    /// It failed before; this request finds out whether it still does.
    Trial,
    Shut,
}

/// How a request failed, as far as the version is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The run failed or panicked.
    Error,
    /// It ran for much longer than it used to, and was stopped.
    Hang,
    /// It made numbers that are none, out of numbers.
    NotFinite,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing failed lately.
    Well,
    /// Something failed; what came since then is counted. Successes before it
    /// are not, so that they cost nothing.
    Watched { since: Instant, requests: u32, failed: u32, in_a_row: u32 },
    /// Left alone. `since` is when it opened, or was tried last; `trying`
    /// until something comes of that.
    Open { since: Instant, trying: bool },
}

const WELL: u8 = 0;
const WATCHED: u8 = 1;
const OPEN: u8 = 2;

impl State {
    fn mode(self) -> u8 {
        match self {
            State::Well => WELL,
            State::Watched { .. } => WATCHED,
            State::Open { .. } => OPEN,
        }
    }

    fn passage(self, now: Instant) -> (State, Passage) {
        match self {
            State::Well | State::Watched { .. } => (self, Passage::Free),
            // A trial of which nothing is heard, because its caller left, is followed by another.
            State::Open { since, .. } if now.saturating_duration_since(since) >= TRIAL_EVERY => {
                (State::Open { since: now, trying: true }, Passage::Trial)
            }
            State::Open { .. } => (self, Passage::Shut),
        }
    }

    fn succeeded(self, now: Instant) -> State {
        match self {
            State::Well => State::Well,
            State::Watched { since, .. } if is_over(since, now) => State::Well,
            State::Watched { since, requests, failed, .. } => {
                State::Watched { since, requests: requests.saturating_add(1), failed, in_a_row: 0 }
            }
            State::Open { trying: true, .. } => State::Well,
            // It had begun before.
            State::Open { .. } => self,
        }
    }

    fn failed(self, failure: Failure, now: Instant) -> State {
        let severe = u32::from(failure != Failure::Error);
        let (since, requests, failed, in_a_row) = match self {
            State::Well => (now, 1, 1, severe),
            State::Watched { since, in_a_row, .. } if is_over(since, now) => {
                (now, 1, 1, in_a_row + severe)
            }
            State::Watched { since, requests, failed, in_a_row } => {
                (since, requests.saturating_add(1), failed.saturating_add(1), in_a_row + severe)
            }
            State::Open { trying: true, .. } => return State::Open { since: now, trying: false },
            State::Open { .. } => return self,
        };
        let mostly = requests >= ENOUGH && u64::from(failed) * 2 >= u64::from(requests);
        if mostly || in_a_row >= IN_A_ROW {
            State::Open { since: now, trying: false }
        } else {
            State::Watched { since, requests, failed, in_a_row }
        }
    }
}

fn is_over(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) >= WINDOW
}

impl Breaker {
    /// A version that is well.
    pub fn new(metrics: Arc<VersionMetrics>) -> Breaker {
        metrics.set_breaker_open(false);
        Breaker { mode: AtomicU8::new(WELL), state: Mutex::new(State::Well), metrics }
    }

    pub fn passage(&self, now: Instant) -> Passage {
        if self.mode.load(Ordering::Relaxed) != OPEN {
            return Passage::Free;
        }
        let mut state = self.locked();
        let (next, passage) = state.passage(now);
        self.put(&mut state, next);
        passage
    }

    pub fn succeeded(&self, now: Instant) {
        if self.mode.load(Ordering::Relaxed) != WELL {
            let mut state = self.locked();
            let next = state.succeeded(now);
            self.put(&mut state, next);
        }
    }

    pub fn failed(&self, failure: Failure, now: Instant) {
        let mut state = self.locked();
        let next = state.failed(failure, now);
        self.put(&mut state, next);
    }

    /// For metrics and status.
    pub fn is_open(&self) -> bool {
        self.mode.load(Ordering::Relaxed) == OPEN
    }

    fn put(&self, state: &mut State, next: State) {
        let was = state.mode();
        *state = next;
        if was != next.mode() {
            self.mode.store(next.mode(), Ordering::Relaxed);
            self.metrics.set_breaker_open(next.mode() == OPEN);
        }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{Telemetry, TelemetryOptions, VersionLabels};
    use crate::types::{ModelName, Version};

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker() -> Breaker {
        let name = ModelName::parse("m").expect("a name");
        let telemetry = Telemetry::new(TelemetryOptions::default());
        Breaker::new(telemetry.version(VersionLabels::champion(name, Version::FIRST)))
    }

    /// What becomes of a version: `+` a success, `-` an error, `h` a hang, `n`
    /// no numbers, `_` a second without anything.
    fn after(events: &str, start: Instant) -> (Breaker, Instant) {
        let (breaker, mut now) = (breaker(), start);
        for event in events.chars() {
            match event {
                '+' => breaker.succeeded(now),
                '-' => breaker.failed(Failure::Error, now),
                'h' => breaker.failed(Failure::Hang, now),
                'n' => breaker.failed(Failure::NotFinite, now),
                _ => now += SECOND,
            }
        }
        (breaker, now)
    }

    #[test]
    fn it_opens_on_half_of_twenty_or_on_three_severe_ones() {
        let start = Instant::now();
        for (events, open) in [
            ("", false),
            ("-------------------", false),
            ("--------------------", true),
            ("-+-+-+-+-+-+-+-+-+-+-", true),
            ("-++-++-++-++-++-++-++-++-++-++", false),
            // What came before the first failure does not count.
            ("++++++++++++++++++++--------------------", true),
            // Nor what lies in an earlier window.
            ("----------__________----------", false),
            ("----------_____----------", true),
            ("hh", false),
            ("hhh", true),
            ("hnh", true),
            ("h-h-n", true),
            ("hh+h", false),
            // Rare, and nothing but.
            ("h___________h___________h", true),
            ("h___________+h___________h", false),
        ] {
            let (breaker, _) = after(events, start);
            assert_eq!(breaker.is_open(), open, "{events}");
        }
    }

    #[test]
    fn an_open_one_is_tried_every_five_seconds_until_a_trial_succeeds() {
        let start = Instant::now();
        let (breaker, now) = after("hhh", start);
        let passages = |from: u32| -> Vec<Passage> {
            (from..from + 6).map(|second| breaker.passage(now + second * SECOND)).collect()
        };
        use Passage::{Free, Shut, Trial};
        assert_eq!(passages(0), [Shut, Shut, Shut, Shut, Shut, Trial]);
        breaker.failed(Failure::Error, now + 6 * SECOND);
        assert_eq!(passages(6), [Shut, Shut, Shut, Shut, Shut, Trial]);
        // Of this trial nothing is heard.
        assert_eq!(passages(12), [Shut, Shut, Shut, Shut, Trial, Shut]);
        breaker.succeeded(now + 18 * SECOND);
        assert!(!breaker.is_open());
        assert_eq!(passages(18), [Free; 6]);
        breaker.failed(Failure::Hang, now + 25 * SECOND);
        assert!(!breaker.is_open(), "it begins anew");
    }

    #[test]
    fn answers_from_before_it_opened_change_nothing() {
        let start = Instant::now();
        let (breaker, now) = after("hhh", start);
        breaker.succeeded(now + SECOND);
        assert!(breaker.is_open());
        breaker.failed(Failure::Error, now + 4 * SECOND);
        assert_eq!(breaker.passage(now + 5 * SECOND), Passage::Trial);
    }

    #[test]
    fn only_one_of_many_threads_gets_the_trial() {
        let (breaker, now) = after("nnn", Instant::now());
        for round in 1..50 {
            let at = now + round * TRIAL_EVERY;
            let trials: usize = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4)
                    .map(|_| {
                        scope.spawn(|| {
                            let passages = (0..20).map(|_| breaker.passage(at));
                            passages.filter(|passage| *passage == Passage::Trial).count()
                        })
                    })
                    .collect();
                threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
            });
            assert_eq!(trials, 1, "round {round}");
        }
    }
}
