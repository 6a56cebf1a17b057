//! Tallies that many threads count into, and one adds up.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use crate::drift::profile::Column;
use crate::drift::tally::Tally;
use crate::telemetry::Sharded;

/// What was counted of the columns of one profile, since the start.
///
/// A thread that counts takes a copy that is free, at best its own, and never
/// waits: whoever adds up holds each for as long as it takes to swap it.
#[derive(Debug)]
pub(super) struct Counts {
    shards: Sharded<Mutex<Copy>>,
    sum: Mutex<Sum>,
}

#[derive(Debug)]
struct Copy {
    is_used: bool,
    tallies: Vec<Tally>,
}

#[derive(Debug)]
struct Sum {
    total: Vec<Tally>,
    /// Empty; takes the place of a copy that is being added.
    spare: Vec<Tally>,
}

impl Counts {
    /// `shards` comes from [`crate::telemetry::shard_count`].
    pub(super) fn new<'a>(
        columns: impl Iterator<Item = &'a Column> + Clone,
        shards: usize,
    ) -> Counts {
        let tallies = || columns.clone().map(Column::tally).collect::<Vec<_>>();
        Counts {
            shards: Sharded::of(shards, || Mutex::new(Copy { is_used: false, tallies: tallies() })),
            sum: Mutex::new(Sum { total: tallies(), spare: tallies() }),
        }
    }

    /// Counts into a copy. `false` where every one is in use, which takes more
    /// threads than there are copies.
    pub(super) fn count(&self, into: impl FnOnce(&mut [Tally])) -> bool {
        let free = self.shards.from_mine().find_map(|shard| match shard.try_lock() {
            Ok(copy) => Some(copy),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        });
        let Some(mut copy) = free else { return false };
        copy.is_used = true;
        into(&mut copy.tallies);
        true
    }

    /// All that was counted so far, by column.
    pub(super) fn total(&self) -> Vec<Tally> {
        let mut sum = locked(&self.sum);
        let Sum { total, spare } = &mut *sum;
        for shard in self.shards.iter() {
            let mut copy = locked(shard);
            if !std::mem::take(&mut copy.is_used) {
                continue;
            }
            std::mem::swap(&mut copy.tallies, spare);
            drop(copy);
            total.iter_mut().zip(&*spare).for_each(|(total, copy)| total.merge(copy));
            spare.iter_mut().for_each(Tally::clear);
        }
        total.clone()
    }
}

/// A panic leaves counts whole, but for those of one request.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::drift::live::tests::columns;

    fn counts(shards: usize) -> Counts {
        Counts::new(columns().iter(), shards)
    }

    #[test]
    fn nothing_is_lost_while_somebody_adds_up() {
        let counts = counts(8);
        let counted = thread::scope(|scope| {
            let count = |_| {
                let hits = (0..20_000).filter(|at| counts.count(|tallies| tallies[0].hit(at % 3)));
                hits.count() as u64
            };
            let threads: Vec<_> = (0..4).map(|at| scope.spawn(move || count(at))).collect();
            let mut last = 0;
            for _ in 0..100 {
                let now = counts.total()[0].binned();
                assert!(now >= last, "totals never fall: {now} after {last}");
                last = now;
            }
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum::<u64>()
        });
        let total = counts.total();
        assert_eq!(total[0].binned(), counted);
        assert_eq!(total[1].binned(), 0);
    }

    #[test]
    fn a_thread_takes_another_copy_sooner_than_it_waits() {
        let counts = counts(2);
        thread::scope(|scope| {
            // Both copies are held by threads that wait to be told to go on.
            let mut go_on = Vec::new();
            let (holds, held) = mpsc::channel();
            for _ in 0..2 {
                let (tell, told) = mpsc::channel::<()>();
                go_on.push(tell);
                let (counts, holds) = (&counts, holds.clone());
                scope.spawn(move || {
                    counts.count(|tallies| {
                        tallies[0].hit(0);
                        holds.send(()).expect("somebody listens");
                        let _ = told.recv();
                    })
                });
                held.recv().expect("it has a copy");
            }
            assert!(!counts.count(|_| panic!("no copy is free")));
        });
        assert_eq!(counts.total()[0].binned(), 2);
        assert!(counts.count(|tallies| tallies[0].hit(1)));
    }
}
