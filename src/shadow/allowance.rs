//! How much of a core the shadow of one route may use.

use std::time::{Duration, Instant};

/// How long an unused share is saved up for.
const SAVED: Duration = Duration::from_secs(1);

/// A token bucket of run time: it fills with a share of the time that passes,
/// and runs take out of it what they took, possibly more than there is. A
/// route whose bucket is empty is not delayed; its samples are dropped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    /// Seconds; negative after a run that took more than there was.
    left: f64,
    filled: Instant,
}

impl Allowance {
    /// Full, of a `share` of one core.
    pub(super) fn new(share: f64, now: Instant) -> Allowance {
        Allowance { left: share * SAVED.as_secs_f64(), filled: now }
    }

    /// Whether a run may begin.
    pub(super) fn allows(&mut self, share: f64, now: Instant) -> bool {
        self.fill(share, now);
        self.left > 0.0
    }

    /// Whether it is as good as a new one.
    pub(super) fn is_full(&mut self, share: f64, now: Instant) -> bool {
        self.fill(share, now);
        self.left >= share * SAVED.as_secs_f64()
    }

    fn fill(&mut self, share: f64, now: Instant) {
        let passed = now.saturating_duration_since(self.filled);
        self.filled = self.filled.max(now);
        self.left = (self.left + share * passed.as_secs_f64()).min(share * SAVED.as_secs_f64());
    }

    pub(super) fn spend(&mut self, used: Duration) {
        self.left -= used.as_secs_f64();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_get_their_share_and_no_more() {
        let start = Instant::now();
        let (share, run) = (0.25, Duration::from_millis(10));
        let mut allowance = Allowance::new(share, start);
        // A run every millisecond is asked for, for ten seconds.
        let mut used = Duration::ZERO;
        for millisecond in 0..10_000 {
            if allowance.allows(share, start + Duration::from_millis(millisecond)) {
                allowance.spend(run);
                used += run;
            }
        }
        let (least, most) = (Duration::from_millis(2_700), Duration::from_millis(2_770));
        assert!(used >= least && used <= most, "a quarter, and what was saved: {used:?}");
    }

    #[test]
    fn a_long_run_is_paid_off_and_idle_time_is_saved_for_a_second_only() {
        let start = Instant::now();
        let mut allowance = Allowance::new(0.5, start);
        allowance.spend(Duration::from_secs(2));
        assert!(!allowance.allows(0.5, start + Duration::from_secs(3)));
        assert!(allowance.allows(0.5, start + Duration::from_millis(3_010)));
        assert!(allowance.allows(0.5, start + Duration::from_secs(1_000)));
        allowance.spend(Duration::from_millis(501));
        assert!(!allowance.allows(0.5, start + Duration::from_secs(1_000)));
        assert!(!Allowance::new(0.0, start).allows(0.0, start + Duration::from_secs(9)));
    }
}
