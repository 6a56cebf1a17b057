//! The limiter in virtual time: one lane, requests that come as they like.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::limiter::tests::limiter;
use super::{Limiter, Permit};
use crate::types::Priority;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Time of a run by its rows.
type Run = fn(u32) -> Duration;

/// A model on one lane.
struct Lane {
    limiter: Arc<Limiter>,
    began: Instant,
    run: Run,
    most_rows: usize,
    waiting: VecDeque<(Duration, Permit)>,
    running: Vec<(Duration, Permit)>,
    started: Duration,
    free_at: Duration,
    served: Vec<Served>,
    refused: Vec<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Served {
    came: Duration,
    waited: Duration,
    done: Duration,
}

impl Lane {
    fn new(run: Run, most_rows: usize) -> Lane {
        Lane {
            limiter: limiter(2, 512),
            began: Instant::now(),
            run,
            most_rows,
            waiting: VecDeque::new(),
            running: Vec::new(),
            started: Duration::ZERO,
            free_at: Duration::ZERO,
            served: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Lets time pass, and then one request come.
    fn comes(&mut self, at: Duration) {
        self.until(at);
        match self.limiter.enter(Priority::Normal, self.began + at) {
            None => self.refused.push(at),
            Some(permit) => self.waiting.push_back((at, permit)),
        }
        if self.running.is_empty() {
            self.start(at);
        }
    }

    fn until(&mut self, at: Duration) {
        while !self.running.is_empty() && self.free_at <= at {
            let count = self.running.len() as u32;
            let waited: Duration = self.running.iter().map(|(came, _)| self.started - *came).sum();
            let ran = self.free_at - self.started;
            self.limiter.observe(waited / count, ran, self.began + self.free_at);
            for (came, _permit) in self.running.drain(..) {
                let waited = self.started - came;
                self.served.push(Served { came, waited, done: self.free_at });
            }
            self.start(self.free_at);
        }
    }

    fn start(&mut self, at: Duration) {
        let rows = self.waiting.len().min(self.most_rows);
        if rows > 0 {
            self.running.extend(self.waiting.drain(..rows));
            self.started = at;
            self.free_at = at + (self.run)(rows as u32);
        }
    }

    /// Requests at random, so many a second, from one moment to another.
    fn load(&mut self, rate: f64, from: Duration, upto: Duration) {
        let (mut state, mut at) = (rate.to_bits() ^ from.as_nanos() as u64, from);
        while at < upto {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let uniform = ((state >> 11) as f64 + 1.0) / (1u64 << 53) as f64;
            at += Duration::from_secs_f64(-uniform.ln() / rate);
            self.comes(at);
        }
    }

    /// Requests served within `deadline` per second, of those that came in between.
    fn goodput(&self, from: Duration, upto: Duration, deadline: Duration) -> f64 {
        let good = self.between(from, upto).filter(|one| one.done - one.came <= deadline);
        good.count() as f64 / (upto - from).as_secs_f64()
    }

    /// What 99 of a hundred requests do not wait for longer than.
    fn p99_wait(&self, from: Duration, upto: Duration) -> Duration {
        let mut waits: Vec<_> = self.between(from, upto).map(|one| one.waited).collect();
        waits.sort();
        waits[waits.len() * 99 / 100]
    }

    fn between(&self, from: Duration, upto: Duration) -> impl Iterator<Item = &Served> {
        self.served.iter().filter(move |one| (from..upto).contains(&one.came))
    }

    fn refused(&self, from: Duration, upto: Duration) -> usize {
        self.refused.iter().filter(|at| (from..upto).contains(*at)).count()
    }
}

fn two_ms(_: u32) -> Duration {
    2 * MS
}

#[test]
fn goodput_stays_near_its_peak_whatever_is_offered() {
    // One lane of 2 ms runs serves 500 a second.
    for (offered, least) in [(450.0, 430.0), (500.0, 450.0), (1_000.0, 495.0), (5_000.0, 495.0)] {
        let mut lane = Lane::new(two_ms, 1);
        lane.load(offered, Duration::ZERO, 10 * SECOND);
        let goodput = lane.goodput(SECOND, 10 * SECOND, 100 * MS);
        assert!(goodput >= least, "{goodput} of {offered}");
    }
}

#[test]
fn waits_are_a_few_runs_soon_after_an_overload_begins() {
    let runs: [(Run, u32); 3] = [(two_ms, 2), (|_| 20 * MS, 20), (|_| 150 * MS, 150)];
    for (run, ms) in runs {
        for times in [2.0, 10.0] {
            let mut lane = Lane::new(run, 1);
            lane.load(times * 1_000.0 / f64::from(ms), Duration::ZERO, 20 * SECOND);
            let settled = lane.p99_wait(5 * SECOND / 2, 20 * SECOND);
            assert!(settled <= 10 * ms * MS, "{times} x of {ms} ms: {settled:?}");
        }
    }
}

#[test]
fn a_burst_on_an_idle_model_is_served() {
    let mut lane = Lane::new(two_ms, 1);
    for second in 0..5 {
        for _ in 0..200 {
            lane.comes(second * SECOND);
        }
    }
    lane.until(10 * SECOND);
    assert_eq!((lane.served.len(), lane.refused.len()), (1_000, 0));
}

#[test]
fn a_limit_recovers_after_overload() {
    let mut lane = Lane::new(two_ms, 1);
    lane.load(5_000.0, Duration::ZERO, 5 * SECOND);
    assert!(lane.limiter.limit() < 12, "{}", lane.limiter.limit());
    lane.load(250.0, 5 * SECOND, 8 * SECOND);
    assert_eq!(lane.refused(5 * SECOND + 100 * MS, 8 * SECOND), 0);
    assert!(lane.p99_wait(5 * SECOND + 100 * MS, 8 * SECOND) < 20 * MS);
    assert_eq!(lane.limiter.limit(), 512);
}

#[test]
fn batches_are_not_choked() {
    // 32 rows take 5.1 ms, so that one lane can serve 6,274 a second.
    let run: Run = |rows| 2 * MS + rows * MS / 10;
    let mut lane = Lane::new(run, 32);
    lane.load(20_000.0, Duration::ZERO, 5 * SECOND);
    let goodput = lane.goodput(SECOND, 5 * SECOND, 100 * MS);
    assert!(goodput >= 0.95 * 6_153.0, "{goodput}");
    let waits = lane.p99_wait(SECOND, 5 * SECOND);
    assert!(waits <= 20 * MS, "{waits:?}");
}
