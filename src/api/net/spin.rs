//! Looking for the next request a little while before sleeping. Waking a core
//! that sleeps costs more than a tiny model's whole request, so a thread whose
//! next request tends to come at once had better stay awake for it.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::serving;

/// Successes that a thread remembers at most, and so the failures it takes to
/// stop looking.
const TRUST: u32 = 8;

/// With no trust left, every so manieth time is a try.
const TRY_EVERY: u32 = 64;

thread_local! {
    /// Requests this thread has answered.
    static ANSWERED: Cell<u64> = const { Cell::new(0) };
    static SLEEPER: Cell<Option<Waker>> = const { Cell::new(None) };
}

/// Tells this thread's [`watch`] that a request was answered.
pub fn answered() {
    ANSWERED.set(ANSWERED.get().wrapping_add(1));
    if let Some(waker) = SLEEPER.take() {
        waker.wake();
    }
}

/// Keeps this thread awake for up to `longest` after an answer, for as long as
/// that tends to meet the next request. Every network thread runs one, for ever.
pub async fn watch(longest: Duration) {
    let mut habit = Habit::default();
    let mut seen = ANSWERED.get();
    loop {
        seen = next_answer(seen).await;
        // A lane at work has better use for the core.
        if !habit.is_worth_a_try() || serving::lanes_at_work() {
            continue;
        }
        let until = Instant::now() + longest;
        let met = loop {
            // Polls the sockets without waiting.
            tokio::task::yield_now().await;
            if ANSWERED.get() != seen {
                break true;
            }
            if Instant::now() >= until {
                break false;
            }
        };
        habit.learn(met);
    }
}

async fn next_answer(seen: u64) -> u64 {
    poll_fn(|context| {
        let answered = ANSWERED.get();
        if answered != seen {
            return Poll::Ready(answered);
        }
        SLEEPER.set(Some(context.waker().clone()));
        Poll::Pending
    })
    .await
}

/// Whether looking has paid lately.
#[derive(Debug, Default)]
struct Habit {
    trust: u32,
    passed_up: u32,
}

impl Habit {
    fn is_worth_a_try(&mut self) -> bool {
        if self.trust > 0 {
            return true;
        }
        self.passed_up += 1;
        self.passed_up.is_multiple_of(TRY_EVERY)
    }

    fn learn(&mut self, met: bool) {
        self.trust = if met { (self.trust + 1).min(TRUST) } else { self.trust.saturating_sub(1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_stops_when_it_does_not_pay_and_is_tried_again() {
        let mut habit = Habit::default();
        let tries = |habit: &mut Habit, met: bool| {
            (0..1000)
                .filter(|_| {
                    let tried = habit.is_worth_a_try();
                    if tried {
                        habit.learn(met);
                    }
                    tried
                })
                .count()
        };
        assert_eq!(tries(&mut habit, false), 1000 / TRY_EVERY as usize);
        assert!(tries(&mut habit, true) > 900, "one success is enough to begin");
        assert!(tries(&mut habit, false) < 30, "and a few failures to stop");
    }
}
