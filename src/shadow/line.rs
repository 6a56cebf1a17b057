//! What waits for the shadow's threads, by route, and what goes next; pure.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::allowance::Allowance;
use super::pool::MOST_WORKERS;
use crate::telemetry::ShadowDrop;
use crate::types::ModelName;

/// How long a sample may wait beyond the time that its run may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// One that waits, and what its route says about it.
pub(super) trait Waits {
    fn route(&self) -> &ModelName;
    fn since(&self) -> Instant;
    fn limits(&self) -> Limits;
}

/// What a route allows its shadow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Limits {
    /// Runs at a time.
    pub(super) concurrency: usize,
    /// Of one core.
    pub(super) share: f64,
    /// For one run.
    pub(super) timeout: Duration,
}

impl Limits {
    /// Nothing is run.
    pub(super) const NONE: Limits = Limits { concurrency: 0, share: 0.0, timeout: Duration::ZERO };
}

/// What to do with one that has waited.
#[derive(Debug, PartialEq)]
pub(super) enum Next<T> {
    Run(T),
    Drop(T, ShadowDrop),
}

/// Routes take turns; one that has as many runs as it may, because they are
/// slow or stuck, is passed over. Bounded by what may wait at all (`Room`).
pub(super) struct Line<T> {
    lanes: HashMap<ModelName, Lane<T>>,
    /// Routes of which something waits, each once, the next one first.
    turns: VecDeque<ModelName>,
}

struct Lane<T> {
    waiting: VecDeque<T>,
    running: usize,
    limits: Limits,
    allowance: Allowance,
}

impl<T: Waits> Line<T> {
    pub(super) fn new() -> Line<T> {
        Line { lanes: HashMap::new(), turns: VecDeque::new() }
    }

    pub(super) fn push(&mut self, sample: T, now: Instant) {
        let limits = sample.limits();
        let route = sample.route().clone();
        let lane = self.lanes.entry(route.clone()).or_insert_with(|| Lane {
            waiting: VecDeque::new(),
            running: 0,
            limits,
            allowance: Allowance::new(limits.share, now),
        });
        if lane.waiting.is_empty() {
            self.turns.push_back(route);
        }
        lane.limits = limits;
        lane.waiting.push_back(sample);
    }

    /// What is to be done now, if anything is: the next route's oldest sample
    /// is dropped where it is stale or the route has used up its share, and is
    /// otherwise run if the route has a run to spare.
    pub(super) fn next(&mut self, now: Instant) -> Option<Next<T>> {
        for _ in 0..self.turns.len() {
            let route = self.turns.pop_front()?;
            let Some(lane) = self.lanes.get_mut(&route) else { continue };
            let next = lane.next(now);
            if !lane.waiting.is_empty() {
                self.turns.push_back(route);
            }
            if next.is_some() {
                return next;
            }
        }
        None
    }

    /// Whether something waits that may run.
    pub(super) fn has_next(&self) -> bool {
        self.turns.iter().filter_map(|route| self.lanes.get(route)).any(Lane::may_run)
    }

    /// Takes out what is stale, for when no worker is left to do it.
    pub(super) fn stale(&mut self, now: Instant) -> Vec<T> {
        let mut stale = Vec::new();
        for lane in self.lanes.values_mut() {
            while lane.is_stale(now) {
                stale.extend(lane.waiting.pop_front());
            }
        }
        let lanes = &self.lanes;
        self.turns.retain(|route| lanes.get(route).is_some_and(|lane| !lane.waiting.is_empty()));
        stale
    }

    /// A run of `route` has ended and has used so much of a core.
    pub(super) fn ended(&mut self, route: &ModelName, used: Duration) {
        if let Some(lane) = self.lanes.get_mut(route) {
            lane.running -= 1;
            lane.allowance.spend(used);
        }
    }

    /// Forgets routes that do nothing and have their whole allowance.
    pub(super) fn forget_idle(&mut self, now: Instant) {
        self.lanes.retain(|_, lane| {
            let is_idle = lane.waiting.is_empty() && lane.running == 0;
            !is_idle || !lane.allowance.is_full(lane.limits.share, now)
        });
    }
}

impl<T: Waits> Lane<T> {
    fn next(&mut self, now: Instant) -> Option<Next<T>> {
        if self.is_stale(now) {
            return self.waiting.pop_front().map(|sample| Next::Drop(sample, ShadowDrop::Stale));
        }
        if !self.may_run() {
            return None;
        }
        let sample = self.waiting.pop_front()?;
        if !self.allowance.allows(self.limits.share, now) {
            return Some(Next::Drop(sample, ShadowDrop::Busy));
        }
        self.running += 1;
        Some(Next::Run(sample))
    }

    fn may_run(&self) -> bool {
        self.running < self.limits.concurrency.min(MOST_WORKERS)
    }

    fn is_stale(&self, now: Instant) -> bool {
        let longest = self.limits.timeout + PATIENCE;
        self.waiting.front().is_some_and(|s| now.saturating_duration_since(s.since()) > longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Waiting {
        route: ModelName,
        number: u32,
        since: Instant,
        limits: Limits,
    }

    impl Waits for Waiting {
        fn route(&self) -> &ModelName {
            &self.route
        }

        fn since(&self) -> Instant {
            self.since
        }

        fn limits(&self) -> Limits {
            self.limits
        }
    }

    fn name(route: &str) -> ModelName {
        ModelName::parse(route).expect("a name")
    }

    fn waiting(route: &str, number: u32, since: Instant) -> Waiting {
        let limits = Limits { concurrency: 1, share: 1.0, timeout: Duration::from_secs(2) };
        Waiting { route: name(route), number, since, limits }
    }

    /// What is run, as `route number`.
    fn run(line: &mut Line<Waiting>, now: Instant) -> Option<String> {
        match line.next(now)? {
            Next::Run(sample) => Some(format!("{} {}", sample.route, sample.number)),
            Next::Drop(sample, reason) => panic!("{sample:?} was dropped: {reason:?}"),
        }
    }

    #[test]
    fn routes_take_turns_and_a_stuck_one_is_passed_over() {
        let now = Instant::now();
        let mut line = Line::new();
        for number in 0..3 {
            line.push(waiting("a", number, now), now);
        }
        line.push(waiting("b", 0, now), now);
        line.push(waiting("b", 1, now), now);
        assert_eq!(run(&mut line, now).as_deref(), Some("a 0"));
        assert_eq!(run(&mut line, now).as_deref(), Some("b 0"));
        assert!(run(&mut line, now).is_none() && !line.has_next());
        // `a` is stuck; `b` goes on.
        line.ended(&name("b"), Duration::ZERO);
        assert!(line.has_next());
        assert_eq!(run(&mut line, now).as_deref(), Some("b 1"));
        line.ended(&name("b"), Duration::ZERO);
        assert!(run(&mut line, now).is_none());
        // What waits for `a` gets stale, and then is not waited for.
        let later = now + Duration::from_millis(3_001);
        assert_eq!(line.stale(later).len(), 2);
        assert!(line.turns.is_empty());
        line.ended(&name("a"), Duration::from_millis(1));
        line.forget_idle(later);
        assert!(line.lanes.is_empty());
    }

    #[test]
    fn a_route_has_as_many_runs_as_it_asks_for() {
        let now = Instant::now();
        let mut line = Line::new();
        for number in 0..9 {
            let sample = waiting("a", number, now);
            let limits = Limits { concurrency: 100, ..sample.limits };
            line.push(Waiting { limits, ..sample }, now);
        }
        let runs = std::iter::from_fn(|| run(&mut line, now)).count();
        assert_eq!(runs, MOST_WORKERS);
    }

    #[test]
    fn a_share_that_is_used_up_drops_what_comes_and_leaves_others_alone() {
        let now = Instant::now();
        let mut line = Line::new();
        line.push(waiting("a", 0, now), now);
        assert!(run(&mut line, now).is_some());
        line.ended(&name("a"), Duration::from_secs(5));
        line.forget_idle(now + Duration::from_secs(4));
        line.push(waiting("a", 1, now), now);
        line.push(waiting("b", 0, now), now);
        assert_eq!(line.next(now), Some(Next::Drop(waiting("a", 1, now), ShadowDrop::Busy)));
        assert_eq!(run(&mut line, now).as_deref(), Some("b 0"));
    }

    #[test]
    fn what_waited_for_too_long_is_not_run() {
        let now = Instant::now();
        let mut line = Line::new();
        line.push(waiting("a", 0, now), now);
        let late = now + Duration::from_millis(3_001);
        line.push(waiting("a", 1, late), late);
        assert_eq!(line.next(late), Some(Next::Drop(waiting("a", 0, now), ShadowDrop::Stale)));
        assert_eq!(run(&mut line, late).as_deref(), Some("a 1"));
    }
}
