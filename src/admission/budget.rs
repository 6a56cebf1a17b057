//! The bytes of request bodies that the process holds at one time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::types::{Code, InferError, Reason};

/// A process-wide budget of body bytes. Full means refuse (`bytes_in_flight`).
#[derive(Debug)]
pub struct ByteBudget {
    limit: u64,
    used: AtomicU64,
}

/// Bytes taken from the budget; given back when dropped.
#[derive(Debug)]
pub struct Reserved {
    budget: Arc<ByteBudget>,
    bytes: u64,
}

impl ByteBudget {
    pub fn new(limit: u64) -> Arc<ByteBudget> {
        Arc::new(ByteBudget { limit, used: AtomicU64::new(0) })
    }

    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub fn reserve(self: &Arc<Self>, bytes: usize) -> Result<Reserved, InferError> {
        let mut reserved = Reserved { budget: Arc::clone(self), bytes: 0 };
        reserved.grow(bytes)?;
        Ok(reserved)
    }
}

impl Reserved {
    /// Takes `more` bytes on top, as when a body of unknown length goes on.
    pub fn grow(&mut self, more: usize) -> Result<(), InferError> {
        let more = more as u64;
        let before = self.budget.used.fetch_add(more, Ordering::Relaxed);
        if before.saturating_add(more) > self.budget.limit {
            self.budget.used.fetch_sub(more, Ordering::Relaxed);
            return Err(InferError::rejected(
                Code::Unavailable,
                Reason::BytesInFlight,
                "the gateway holds as many request bytes as limits.max_bytes_in_flight allows; try again later",
            ));
        }
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_budget_refuses_and_recovers() {
        let budget = ByteBudget::new(10);
        let mut held = budget.reserve(6).expect("fits");
        assert_eq!(
            budget.reserve(5).map(|_| ()).map_err(|e| e.reason),
            Err(Some(Reason::BytesInFlight))
        );
        held.grow(4).expect("fits exactly");
        assert!(held.grow(1).is_err());
        drop(held);
        assert_eq!(budget.used(), 0);
        budget.reserve(10).expect("all of it is free again");
    }
}
