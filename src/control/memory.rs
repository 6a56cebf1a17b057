//! The memory that all loaded models share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is held of the budget. Only the lifecycle takes; anybody gives back.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    held: Arc<AtomicU64>,
}

/// A share of the budget, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    memory: Memory,
    bytes: u64,
}

impl Memory {
    pub(super) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// A share of `bytes`, where `budget` has as much left.
    pub(super) fn take(&self, bytes: u64, budget: u64) -> Option<Share> {
        if self.held().saturating_add(bytes) > budget {
            return None;
        }
        self.held.fetch_add(bytes, Ordering::Relaxed);
        Some(Share { memory: self.clone(), bytes })
    }
}

impl Share {
    /// Corrects the share to what proved necessary, over budget or not.
    pub(super) fn settle(&mut self, bytes: u64) {
        self.memory.held.fetch_add(bytes, Ordering::Relaxed);
        self.memory.held.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_stay_within_the_budget_and_come_back() {
        let memory = Memory::default();
        let mut first = memory.take(60, 100).expect("it fits");
        assert!(memory.take(41, 100).is_none());
        first.settle(50);
        let second = memory.take(50, 100).expect("it fits");
        assert!(memory.take(1, 100).is_none());
        drop(first);
        assert_eq!(memory.held(), 50);
        drop(second);
        assert_eq!(memory.held(), 0);
    }
}
