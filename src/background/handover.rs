//! A bounded way from threads that must not wait to one that may.

use std::sync::{Mutex, PoisonError};

use crossbeam_queue::ArrayQueue;

/// More threads than this never offer at the same moment.
const SPARE: usize = 256;

/// Items on their way to a thread in the background. Offering takes no lock,
/// makes no call, wakes nobody, and never waits for who takes.
///
/// The last is not a queue's own: `ArrayQueue::push` spins while the item
/// before in its slot is being taken, and a taker that yields to requests may
/// lose the processor in the middle of that for long. There is one taker at a
/// time, so that slot is the one before the oldest item, and it is not reached:
/// there are `SPARE` slots more than items may wait.
#[derive(Debug)]
pub struct Handover<T> {
    queue: ArrayQueue<T>,
    room: usize,
    taker: Mutex<()>,
}

impl<T> Handover<T> {
    /// At most `room` items wait; more are given back.
    pub fn new(room: usize) -> Handover<T> {
        Handover { queue: ArrayQueue::new(room + SPARE), room, taker: Mutex::default() }
    }

    /// # Errors
    /// The item itself where there is no room.
    pub fn offer(&self, item: T) -> Result<(), T> {
        if self.is_full() {
            return Err(item);
        }
        self.queue.push(item)
    }

    /// The oldest item. May wait for another taker.
    pub fn take(&self) -> Option<T> {
        let _taker = self.taker.lock().unwrap_or_else(PoisonError::into_inner);
        self.queue.pop()
    }

    /// Whether an item would be given back now.
    pub fn is_full(&self) -> bool {
        self.len() >= self.room
    }

    pub fn len(&self) -> usize {
        self.queue.len()
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn what_finds_no_room_comes_back() {
        let handover = Handover::new(2);
        assert_eq!(
            (handover.offer(1), handover.offer(2), handover.offer(3)),
            (Ok(()), Ok(()), Err(3))
        );
        assert_eq!((handover.take(), handover.offer(4)), (Some(1), Ok(())));
        assert_eq!((handover.take(), handover.take(), handover.take()), (Some(2), Some(4), None));
    }

    /// Every item arrives once and in its thread's order, or came back.
    #[test]
    fn nothing_is_lost_between_threads() {
        const EACH: u32 = 20_000;
        let handover = Handover::new(64);
        let done = AtomicBool::new(false);
        let (taken, kept) = thread::scope(|scope| {
            let giver = |thread: u32| {
                let handover = &handover;
                move || (0..EACH).filter(|item| handover.offer((thread, *item)).is_ok()).count()
            };
            let givers = [0, 1].map(|thread| scope.spawn(giver(thread)));
            let taker = scope.spawn(|| {
                let mut taken = Vec::new();
                loop {
                    let is_last = done.load(Ordering::Acquire);
                    while let Some(item) = handover.take() {
                        taken.push(item);
                    }
                    if is_last {
                        return taken;
                    }
                    thread::yield_now();
                }
            });
            let kept: usize = givers.map(|giver| giver.join().expect("no panic")).iter().sum();
            done.store(true, Ordering::Release);
            (taker.join().expect("no panic"), kept)
        });
        assert_eq!(taken.len(), kept);
        for thread in [0, 1] {
            let own = taken.iter().filter(|(of, _)| *of == thread);
            assert!(own.is_sorted_by(|one, next| one.1 < next.1));
        }
    }
}
