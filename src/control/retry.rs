//! Waiting between attempts: longer each time, and never in step with others.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);

/// Doubles from a second to `most`; each wait is off by up to a fifth.
pub(super) struct Backoff {
    next: Duration,
    most: Duration,
}

impl Backoff {
    pub(super) fn new(most: Duration) -> Backoff {
        Backoff { next: FIRST.min(most), most }
    }

    /// The wait before the next attempt.
    pub(super) fn next(&mut self) -> Duration {
        let wait = self.next;
        self.next = (self.next * 2).min(self.most);
        jittered(wait)
    }

    /// Waits; `times` as long as usual.
    pub(super) async fn wait(&mut self, times: u32) {
        let wait = self.next();
        tokio::time::sleep(wait * times).await;
    }

    pub(super) fn reset(&mut self) {
        self.next = FIRST.min(self.most);
    }
}

/// `wait`, more or less by up to a fifth, so that many gateways do not ask a
/// registry at the same moment.
pub(super) fn jittered(wait: Duration) -> Duration {
    // Each state is seeded anew; that is random enough here.
    let random = RandomState::new().hash_one(wait) % 401;
    wait * u32::try_from(800 + random).unwrap_or(1_000) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound() {
        let mut backoff = Backoff::new(Duration::from_secs(5));
        for expected in [1.0, 2.0, 4.0, 5.0, 5.0] {
            let wait = backoff.next().as_secs_f64();
            assert!((wait / expected - 1.0).abs() <= 0.2001, "{wait} for {expected}");
        }
        backoff.reset();
        assert!(backoff.next() < Duration::from_secs(2));
    }
}
