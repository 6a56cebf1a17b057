//! Sliding windows: rings of buckets, under a time that is handed in.

/// Parts that add up.
pub trait Merge {
    fn merge(&mut self, other: &Self);
}

/// A window and the bucket it moves by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// As labels of metrics have it.
    pub name: &'static str,
    /// Microseconds of one bucket.
    width: i64,
    buckets: usize,
}

const MINUTE: i64 = 60_000_000;

/// The bucket that is being filled counts as whole: a window of an hour holds
/// between 59 and 60 minutes.
pub const WINDOWS: [Window; 2] = [
    Window { name: "1h", width: MINUTE, buckets: 60 },
    Window { name: "24h", width: 15 * MINUTE, buckets: 96 },
];

/// The buckets of one window. Memory is taken for those that were used.
#[derive(Debug)]
pub struct Ring<T> {
    window: Window,
    /// By the number of the bucket, modulo their number.
    buckets: Vec<Option<Box<T>>>,
    /// Number of the newest bucket: its time over its width.
    newest: i64,
}

impl<T: Merge + Default> Ring<T> {
    pub fn new(window: Window) -> Ring<T> {
        let buckets = (0..window.buckets).map(|_| None).collect();
        Ring { window, buckets, newest: i64::MIN }
    }

    /// The bucket of a moment, in microseconds since 1970. `None` for one that
    /// the window has left behind.
    pub fn at(&mut self, time: i64) -> Option<&mut T> {
        let number = time.div_euclid(self.window.width);
        self.advance(number);
        if number <= self.oldest() {
            return None;
        }
        let place = self.place(number);
        Some(self.buckets[place].get_or_insert_default())
    }

    /// All that the window holds at a moment.
    pub fn total(&mut self, now: i64) -> T {
        self.advance(now.div_euclid(self.window.width));
        let mut total = T::default();
        self.buckets.iter().flatten().for_each(|bucket| total.merge(bucket));
        total
    }

    /// Empties the buckets that a newer one takes the place of.
    fn advance(&mut self, number: i64) {
        if number <= self.newest {
            return;
        }
        let steps = number.saturating_sub(self.newest).min(self.buckets.len() as i64);
        for number in number - steps + 1..=number {
            let place = self.place(number);
            self.buckets[place] = None;
        }
        self.newest = number;
    }

    /// The newest bucket that is no longer there.
    fn oldest(&self) -> i64 {
        self.newest.saturating_sub(self.buckets.len() as i64)
    }

    fn place(&self, number: i64) -> usize {
        number.rem_euclid(self.buckets.len() as i64) as usize
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Count(u64);

    impl Merge for Count {
        fn merge(&mut self, other: &Count) {
            self.0 += other.0;
        }
    }

    proptest! {
        /// A ring holds what a list of all moments says it should.
        #[test]
        fn a_ring_holds_the_last_buckets(steps in proptest::collection::vec((-5..70i64, 0..60i64), 1..80)) {
            let mut ring: Ring<Count> = Ring::new(WINDOWS[0]);
            let (mut now, mut seen) = (1_000_000 * MINUTE, Vec::new());
            for (forward, second) in steps {
                // Clocks are set back now and then.
                now += forward * MINUTE;
                let time = now + second * 1_000_000;
                seen.push(time.div_euclid(MINUTE));
                let newest = *seen.iter().max().expect("one");
                let taken = ring.at(time).map(|bucket| bucket.0 += 1).is_some();
                if !taken {
                    prop_assert!(seen.pop().is_some_and(|number| number <= newest - 60));
                }
                let expected = seen.iter().filter(|number| **number > newest - 60).count();
                prop_assert_eq!(ring.total(time), Count(expected as u64));
            }
        }
    }

    #[test]
    fn a_window_forgets() {
        let mut ring: Ring<Count> = Ring::new(WINDOWS[1]);
        ring.at(0).expect("the first").0 += 1;
        assert_eq!(ring.total(95 * 15 * MINUTE), Count(1));
        assert_eq!(ring.total(96 * 15 * MINUTE), Count(0));
        assert!(ring.at(0).is_none(), "it has left the window");
        assert_eq!(ring.total(i64::MAX), Count(0));
    }
}
