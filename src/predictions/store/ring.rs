//! What a shard appended since its last flush: after a flush that failed
//! nobody knows what of it the disk has, so it is written again, elsewhere.

/// Most bytes. More than that between two flushes is forgotten, and then
/// cannot be written again: whoever waits for such a record is told so.
pub(super) const MOST_BYTES: usize = 1 << 20;

/// Where a byte of a shard stands: the number of a segment, and the offset.
pub(super) type Position = (u64, u64);

/// Frames as they were written, from one sequence number on without a break.
#[derive(Debug, Default)]
pub(super) struct Ring {
    pub(super) bytes: Vec<u8>,
    /// The sequence number it begins with, and where that stands.
    pub(super) from: u64,
    pub(super) start: Position,
}

impl Ring {
    /// Keeps frames that reach up to the number before `next`, and end at `end`.
    pub(super) fn keep(&mut self, frames: &[u8], next: u64, end: Position) {
        if self.bytes.len() + frames.len() <= MOST_BYTES {
            self.bytes.extend_from_slice(frames);
        } else {
            self.begin(next, end);
        }
    }

    /// Forgets everything before `next`.
    pub(super) fn begin(&mut self, next: u64, at: Position) {
        self.bytes.clear();
        (self.from, self.start) = (next, at);
    }

    /// Puts what was kept earlier before this, where nothing is missing
    /// between the two. `end` is the number after the last of `earlier`.
    pub(super) fn after(&mut self, mut earlier: Ring, end: u64) {
        if self.from == end {
            earlier.bytes.append(&mut self.bytes);
            *self = earlier;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_much_is_forgotten_and_what_follows_on_is_joined() {
        let mut ring = Ring::default();
        ring.keep(&[1; 10], 3, (0, 74));
        assert_eq!((ring.bytes.len(), ring.from), (10, 0));
        let earlier = std::mem::take(&mut ring);
        ring.begin(3, (0, 74));
        ring.keep(&[2; 10], 5, (0, 84));
        ring.after(earlier, 3);
        assert_eq!((ring.bytes.len(), ring.from, ring.start), (20, 0, (0, 0)));
        ring.keep(&vec![3; MOST_BYTES], 6, (1, 90));
        assert_eq!((ring.bytes.len(), ring.from, ring.start), (0, 6, (1, 90)));
        ring.after(Ring { bytes: vec![1], ..Ring::default() }, 5);
        assert_eq!((ring.bytes.len(), ring.from), (0, 6));
    }
}
