//! The bounds of what waits to be mirrored.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::telemetry::ShadowDrop;

/// Samples that may wait at one time, of all routes.
pub(super) const MOST_WAITING: usize = 4096;

/// Bytes of tensors that samples may keep alive at one time.
pub(super) const MOST_BYTES: usize = 64 << 20;

/// What all samples hold; full means drop.
#[derive(Debug, Default)]
pub(super) struct Room {
    waiting: AtomicUsize,
    bytes: AtomicUsize,
}

/// A sample's place among those that wait; given back when dropped, which is
/// when its run begins.
#[derive(Debug)]
pub(super) struct Place {
    room: Arc<Room>,
    route: Arc<AtomicUsize>,
}

/// A sample's bytes; given back when dropped, which is when its run has ended.
#[derive(Debug)]
pub(super) struct Bytes {
    room: Arc<Room>,
    bytes: usize,
}

/// A place for one more sample of a route, whose own count is `route` and may
/// be at most `queue`. Neither waits nor takes a lock.
pub(super) fn enter(
    room: &Arc<Room>,
    route: &Arc<AtomicUsize>,
    queue: usize,
    bytes: usize,
) -> Result<(Place, Bytes), ShadowDrop> {
    if !take(route, 1, queue) {
        return Err(ShadowDrop::QueueFull);
    }
    if !take(&room.waiting, 1, MOST_WAITING) {
        route.fetch_sub(1, Ordering::Relaxed);
        return Err(ShadowDrop::QueueFull);
    }
    let place = Place { room: Arc::clone(room), route: Arc::clone(route) };
    if !take(&room.bytes, bytes, MOST_BYTES) {
        return Err(ShadowDrop::Memory);
    }
    Ok((place, Bytes { room: Arc::clone(room), bytes }))
}

/// Adds to a count unless it would be more than `most`. Those that ask at one
/// moment may all be refused where some would have fitted.
fn take(count: &AtomicUsize, more: usize, most: usize) -> bool {
    let before = count.fetch_add(more, Ordering::Relaxed);
    let fits = before.saturating_add(more) <= most;
    if !fits {
        count.fetch_sub(more, Ordering::Relaxed);
    }
    fits
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.waiting.fetch_sub(1, Ordering::Relaxed);
        self.route.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        self.room.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_and_leaves_nothing_behind() {
        let room = Arc::new(Room::default());
        let (one, other) = (Arc::default(), Arc::default());
        let held = enter(&room, &one, 1, 10).expect("the first fits");
        let full = enter(&room, &one, 1, 10).expect_err("the route's queue is full");
        assert_eq!(full, ShadowDrop::QueueFull);
        let large = enter(&room, &other, 9, MOST_BYTES).expect_err("more than is left");
        assert_eq!(large, ShadowDrop::Memory);
        drop(enter(&room, &other, 9, MOST_BYTES - 10).expect("all that is left"));
        assert!(enter(&room, &other, 9, usize::MAX).is_err());
        drop(held);
        let left = [&room.waiting, &room.bytes, &*one, &*other].map(|n| n.load(Ordering::Relaxed));
        assert_eq!(left, [0; 4]);
    }

    #[test]
    fn all_routes_together_have_a_bound() {
        let room = Arc::new(Room::default());
        let route = Arc::default();
        let held: Vec<_> =
            (0..MOST_WAITING).map(|_| enter(&room, &route, usize::MAX, 1).expect("fits")).collect();
        assert!(enter(&room, &Arc::default(), usize::MAX, 1).is_err());
        drop(held);
        assert!(enter(&room, &Arc::default(), usize::MAX, 1).is_ok());
    }
}
