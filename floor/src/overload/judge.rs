//! What outcomes add up to. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::load::Outcome;

/// What came of a run.
#[derive(Debug, Serialize)]
pub struct Summary {
    pub offered_per_second: f64,
    pub answered: usize,
    /// Answers within the deadline, a second.
    pub goodput: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// By code.
    pub refused: BTreeMap<Cow<'static, str>, usize>,
    /// How late the generator was.
    pub late_p99_ms: f64,
}

impl Summary {
    pub fn refusals(&self) -> usize {
        self.refused.values().sum()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6.0} offered/s {:>6.1} good/s", self.offered_per_second, self.goodput)?;
        write!(f, "  p50 {:.2} p99 {:.2} ms", self.p50_ms, self.p99_ms)?;
        write!(f, "  (sent late by {:.2} ms at p99)", self.late_p99_ms)
    }
}

pub fn summary(outcomes: &[Outcome], time: Duration, deadline: Duration) -> Summary {
    let seconds = time.as_secs_f64();
    let answered = answered(outcomes.iter());
    let good = answered.iter().filter(|took| **took <= deadline).count();
    let mut refused = BTreeMap::new();
    for code in outcomes.iter().filter_map(|outcome| outcome.refused.clone()) {
        *refused.entry(code).or_default() += 1;
    }
    let mut late: Vec<Duration> = outcomes.iter().map(|outcome| outcome.late).collect();
    late.sort_unstable();
    Summary {
        offered_per_second: outcomes.len() as f64 / seconds,
        answered: answered.len(),
        goodput: good as f64 / seconds,
        p50_ms: quantile_ms(&answered, 0.5),
        p99_ms: quantile_ms(&answered, 0.99),
        refused,
        late_p99_ms: quantile_ms(&late, 0.99),
    }
}

/// A window is as before when nearly all of it is answered, and half of it
/// nearly as fast.
const WINDOW: Duration = Duration::from_millis(250);
const ANSWERED: f64 = 0.95;
const SLOWER: f64 = 2.0;
const SLOWER_MS: f64 = 2.0;

/// Until from when on every window is as `before`.
pub fn recovered_after(outcomes: &[Outcome], before: &Summary, time: Duration) -> Duration {
    let windows = time.div_duration_f64(WINDOW) as u32;
    let last_bad = (0..windows).rev().find(|number| {
        let window = *number * WINDOW..(*number + 1) * WINDOW;
        let due: Vec<_> = outcomes.iter().filter(|one| window.contains(&one.due)).collect();
        let answered = answered(due.iter().copied());
        let enough = answered.len() as f64 >= due.len() as f64 * ANSWERED;
        let p50 = quantile_ms(&answered, 0.5);
        !(enough && p50 <= (before.p50_ms * SLOWER).max(before.p50_ms + SLOWER_MS))
    });
    last_bad.map_or(Duration::ZERO, |number| (number + 1) * WINDOW)
}

/// Times of the answers, in order.
fn answered<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> Vec<Duration> {
    let mut times: Vec<Duration> =
        outcomes.filter(|one| one.refused.is_none()).map(|one| one.took).collect();
    times.sort_unstable();
    times
}

fn quantile_ms(sorted: &[Duration], quantile: f64) -> f64 {
    let at = (sorted.len() as f64 * quantile) as usize;
    sorted
        .get(at.min(sorted.len().saturating_sub(1)))
        .map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn outcome(due: u32, took: u32, refused: bool) -> Outcome {
        let refused = refused.then_some(Cow::Borrowed("http_503"));
        Outcome { due: due * MS, late: Duration::ZERO, took: took * MS, refused }
    }

    #[test]
    fn good_is_what_was_answered_in_time() {
        let outcomes: Vec<_> =
            (0..100).map(|i| outcome(i * 10, if i < 10 { 150 } else { 5 }, i >= 50)).collect();
        let seen = summary(&outcomes, 1_000 * MS, 100 * MS);
        assert_eq!((seen.answered, seen.refusals(), seen.goodput), (50, 50, 40.0));
        assert_eq!((seen.p50_ms, seen.p99_ms), (5.0, 150.0));
    }

    #[test]
    fn recovery_is_when_the_last_bad_window_is_over() {
        let time = 2_000 * MS;
        let run = |is_bad: fn(u32) -> bool, took: u32| -> Vec<Outcome> {
            (0..200).map(|i| outcome(i * 10, took, is_bad(i * 10))).collect()
        };
        let before = summary(&run(|_| false, 3), time, 100 * MS);
        assert_eq!(recovered_after(&run(|_| false, 3), &before, time), Duration::ZERO);
        assert_eq!(recovered_after(&run(|due| due < 300, 3), &before, time), 500 * MS);
        assert_eq!(
            recovered_after(&run(|due| due == 900, 3), &before, time),
            Duration::ZERO,
            "one of 25"
        );
        assert_eq!(recovered_after(&run(|_| false, 9), &before, time), time, "slower for good");
        assert_eq!(recovered_after(&[], &before, time), time, "no answer is no recovery");
    }
}
