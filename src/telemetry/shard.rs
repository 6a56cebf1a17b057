//! Counters split over threads, so that no two network threads add to the same
//! cache line.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::thread;

const MOST: usize = 64;

/// How many shards `asked` gives; 0 asks for one per core.
pub fn count(asked: usize) -> usize {
    let wanted = match asked {
        0 => thread::available_parallelism().map_or(1, usize::from),
        asked => asked,
    };
    wanted.clamp(1, MOST).next_power_of_two()
}

/// Copies of `T`; each thread adds to one, readers sum over all. Threads
/// beyond the number of shards share them in turn.
#[derive(Debug)]
pub struct Sharded<T>(Arc<[Padded<T>]>);

/// Two cache lines, because processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded<T>(T);

impl<T: Default> Sharded<T> {
    /// `shards` comes from [`count`].
    pub(super) fn new(shards: usize) -> Sharded<T> {
        Sharded::of(shards, T::default)
    }
}

impl<T> Sharded<T> {
    /// Copies that have to be made; `shards` comes from [`count`].
    pub fn of(shards: usize, make: impl Fn() -> T) -> Sharded<T> {
        Sharded((0..shards.max(1)).map(|_| Padded(make())).collect())
    }

    /// A second owner of the same copies.
    pub(super) fn shared(&self) -> Sharded<T> {
        Sharded(Arc::clone(&self.0))
    }

    /// This thread's copy.
    pub(super) fn mine(&self) -> &T {
        &self.0[self.place()].0
    }

    /// This thread's copy, and then every other one.
    pub fn from_mine(&self) -> impl Iterator<Item = &T> {
        let (before, from) = self.0.split_at(self.place());
        from.iter().chain(before).map(|padded| &padded.0)
    }

    fn place(&self) -> usize {
        THREAD.with(|thread| *thread) & (self.0.len() - 1)
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|padded| &padded.0)
    }
}

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Threads are numbered when they first count something.
    static THREAD: usize = THREADS.fetch_add(1, Ordering::Relaxed);
}

#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Overwrites the value, for a reader that takes the largest of all shards.
    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// A level that may rise on one thread and fall on another: single shards may
/// be negative, their sum is right.
#[derive(Debug, Default)]
pub(super) struct Level(AtomicI64);

impl Level {
    pub(super) fn add(&self, change: i64) {
        self.0.fetch_add(change, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_a_bounded_power_of_two() {
        assert_eq!([1, 2, 3, 5, 16, 1000].map(count), [1, 2, 4, 8, 16, 64]);
        assert!(count(0).is_power_of_two());
    }

    #[test]
    fn threads_sum_to_what_they_added() {
        let counters: Sharded<Counter> = Sharded::new(4);
        thread::scope(|scope| {
            for _ in 0..9 {
                scope.spawn(|| (0..10_000).for_each(|_| counters.mine().add(3)));
            }
        });
        assert_eq!(counters.iter().map(Counter::get).sum::<u64>(), 9 * 10_000 * 3);
        let used = counters.iter().filter(|counter| counter.get() > 0).count();
        assert!(used > 1, "nine threads must not share one of four shards");
    }
}
