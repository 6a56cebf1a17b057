//! How a limit on waiting work is learnt. Pure.
//!
//! After the gradient limits of Netflix's concurrency-limits and Envoy's
//! adaptive concurrency filter: the limit follows how long requests should
//! take over how long they do. Those estimate the former from the fastest
//! requests they have seen; here the time of every run is known apart from
//! the wait before it, so nothing needs to be probed or remembered.

use std::time::Duration;

use crate::types::Priority;

/// A request may take so many times its run.
const TOLERANCE: f64 = 2.0;

/// How far one run moves the limit towards where it points.
const SMOOTHING: f64 = 0.2;

/// A run that takes longer than this, in seconds, moves it further, so that
/// the limit of a slow model, too, falls within about a second.
const SHORT_RUN: f64 = 0.02;

/// The limit after a run of `ran` whose requests had waited for `waited`, with
/// `ran` the time of the whole batch, for a model whose requests may wait for
/// `patience` or for a run, whichever is longer. Where waits are short the
/// limit grows by the root of itself and so stays high for bursts; where they
/// are long it falls by a tenth each run, and comes to rest where requests wait
/// for about that.
pub(super) fn next_limit(limit: f64, waited: Duration, ran: Duration, patience: Duration) -> f64 {
    let (waited, ran) = (waited.as_secs_f64(), ran.as_secs_f64());
    let fair = (TOLERANCE * ran).max(ran + patience.as_secs_f64());
    let gradient = (fair / (waited + ran)).clamp(0.5, 1.0);
    let aim = limit * gradient + limit.sqrt();
    let step = SMOOTHING * (ran / SHORT_RUN).clamp(1.0, 1.0 / SMOOTHING);
    limit + (aim - limit) * step
}

/// How long after a run of `ran` without another one the model was idle: much
/// longer than the gaps between the requests of an overload are.
pub(super) fn idle_after(ran: Duration) -> Duration {
    (5 * ran).max(Duration::from_millis(100))
}

/// How much of the limit a class may have.
fn share(class: Priority) -> f64 {
    match class {
        Priority::Critical => 1.0,
        Priority::Normal => 0.9,
        Priority::Batch => 0.5,
        Priority::Shadow => 0.2,
    }
}

/// Whether one more of `class` may enter. `inside` holds how many wait or run,
/// by class. What is less important does not count: it waits behind.
pub(super) fn admits(limit: f64, inside: [usize; 4], class: Priority) -> bool {
    let before: usize = inside.iter().take(class as usize + 1).sum();
    (before as f64) < (limit * share(class)).ceil()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn short_waits_raise_the_limit_and_long_ones_lower_it() {
        for (limit, waited, ran, low, high) in [
            // Nothing waits: up by a fifth of the root.
            (100.0, Duration::ZERO, 2 * MS, 102.0, 102.0),
            // The scheduler's waits do not count, nor those of a run's length.
            (100.0, 5 * MS, MS / 10, 102.0, 102.0),
            (100.0, 20 * MS, 20 * MS, 102.0, 102.0),
            // At most a tenth down for a short run, headroom apart.
            (100.0, 1_000 * MS, 2 * MS, 92.0, 92.0),
            (100.0, 10_000 * MS, 2 * MS, 92.0, 92.0),
            // A slow run counts for more.
            (100.0, 1_000 * MS, 100 * MS, 60.0, 60.0),
            (100.0, 60 * MS, 40 * MS, 93.0, 97.0),
        ] {
            let next = next_limit(limit, waited, ran, 5 * MS);
            assert!(
                (low - 1e-9..=high + 1e-9).contains(&next),
                "{limit} {waited:?} {ran:?}: {next}"
            );
        }
    }

    #[test]
    fn a_limit_comes_to_rest_where_requests_wait_for_some_runs() {
        for (ran, lanes, most) in [(2 * MS, 1.0, 7.0), (50 * MS, 1.0, 5.0), (50 * MS, 4.0, 14.0)] {
            let mut limit: f64 = 512.0;
            for _ in 0..200 {
                // Always full: who enters waits for all before it.
                let waited = ran.mul_f64((limit / lanes - 1.0).max(0.0));
                limit = next_limit(limit, waited, ran, 5 * MS);
            }
            assert!((3.0..=most).contains(&limit), "{ran:?} on {lanes}: {limit}");
        }
    }

    #[test]
    fn the_limit_lets_requests_wait_for_as_long_as_they_may() {
        for (patience, low, high) in [(5, 3.0, 7.0), (100, 45.0, 70.0), (500, 230.0, 290.0)] {
            let mut limit: f64 = 512.0;
            for _ in 0..1_000 {
                let waited = (2 * MS).mul_f64((limit - 1.0).max(0.0));
                limit = next_limit(limit, waited, 2 * MS, patience * MS);
            }
            assert!((low..=high).contains(&limit), "{patience} ms: {limit}");
        }
    }

    #[test]
    fn each_class_has_its_share_before_what_is_less_important() {
        use Priority::{Batch, Critical, Normal, Shadow};
        for (limit, inside, class, expected) in [
            (10.0, [9, 0, 0, 0], Critical, true),
            (10.0, [10, 0, 0, 0], Critical, false),
            (10.0, [1, 9, 5, 2], Critical, true),
            (10.0, [0, 8, 0, 0], Normal, true),
            (10.0, [0, 9, 0, 0], Normal, false),
            (10.0, [5, 4, 0, 0], Normal, false),
            (10.0, [0, 0, 5, 2], Normal, true),
            (10.0, [0, 0, 4, 2], Batch, true),
            (10.0, [0, 5, 0, 0], Batch, false),
            (10.0, [0, 0, 1, 0], Shadow, true),
            (10.0, [1, 1, 0, 0], Shadow, false),
            (10.0, [0, 0, 0, 2], Shadow, false),
            // The least limit has room for one of each, for a shadow beside nothing.
            (1.0, [0, 0, 0, 0], Critical, true),
            (1.0, [0, 0, 0, 0], Normal, true),
            (1.0, [0, 0, 0, 0], Shadow, true),
            (1.0, [0, 1, 0, 0], Shadow, false),
        ] {
            assert_eq!(admits(limit, inside, class), expected, "{limit} {inside:?} {class:?}");
        }
    }
}
