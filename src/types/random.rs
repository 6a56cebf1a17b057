//! Random numbers for ids and jitter: distinct, not secret.

use std::cell::Cell;
use std::time::Duration;

/// The next of this thread's random numbers (SplitMix64).
pub fn next_random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new({
            use std::hash::{BuildHasher, RandomState};
            // The standard library's own source of per-process randomness.
            RandomState::new().hash_one(std::thread::current().id())
        });
    }
    STATE.with(|state| {
        let next = state.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        state.set(next);
        let mut mixed = next;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    })
}

/// `base`, more or less by up to a half, so that clients who were refused
/// together do not come back together. `random` is any number.
pub fn jittered(base: Duration, random: u64) -> Duration {
    let share = random as f64 / u64::MAX as f64;
    base.mul_f64(0.5 + share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_is_a_half_either_way() {
        let second = Duration::from_secs(1);
        assert_eq!(jittered(second, 0), second / 2);
        assert_eq!(jittered(second, u64::MAX), second * 3 / 2);
        let middle = jittered(second, u64::MAX / 2).as_secs_f64();
        assert!((middle - 1.0).abs() < 1e-6, "{middle}");
    }

    #[test]
    fn numbers_differ() {
        let numbers: std::collections::HashSet<u64> = (0..10_000).map(|_| next_random()).collect();
        assert_eq!(numbers.len(), 10_000);
    }
}
