//! Counts over the last hour and the last day: rings of buckets, under a time
//! that is handed in.

use super::tally::Tally;

/// A sliding window. The bucket that is being filled counts as whole: an hour
/// of minutes holds between 59 and 60 of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Microseconds of one bucket; above 0.
    pub bucket_us: i64,
    /// At least 1. A ring takes the memory of so many tallies.
    pub buckets: usize,
}

const MINUTE: i64 = 60_000_000;

/// Sees what breaks.
pub const HOUR: Window = Window { bucket_us: MINUTE, buckets: 60 };

/// Sees what drifts slowly, and has a whole day's cycle in it.
pub const DAY: Window = Window { bucket_us: 15 * MINUTE, buckets: 96 };

impl Window {
    /// Its length as labels of metrics have it: `1h`, `24h`, `90m`, `30s`.
    pub fn label(&self) -> String {
        let seconds = self.bucket_us * self.buckets as i64 / 1_000_000;
        match seconds {
            seconds if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
            seconds if seconds % 60 == 0 => format!("{}m", seconds / 60),
            seconds => format!("{seconds}s"),
        }
    }
}

/// The counts of one column in one window. Memory is taken for buckets that
/// were used, and kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Ring {
    window: Window,
    bins: usize,
    /// By the number of the bucket, modulo their number.
    buckets: Vec<Option<Tally>>,
    /// Number of the newest bucket: its time over its width.
    newest: i64,
}

impl Ring {
    /// For tallies of so many bins.
    pub fn new(window: Window, bins: usize) -> Ring {
        Ring { window, bins, buckets: vec![None; window.buckets], newest: i64::MIN }
    }

    pub fn window(&self) -> Window {
        self.window
    }

    /// Adds counts of a moment, in microseconds since 1970. `false` for one
    /// that the window has left behind: they are in no window, then.
    pub fn add(&mut self, time: i64, counts: &Tally) -> bool {
        self.add_to(time.div_euclid(self.window.bucket_us), counts)
    }

    /// All that the window holds at a moment.
    pub fn total(&mut self, now: i64) -> Tally {
        self.advance(now.div_euclid(self.window.bucket_us));
        let mut total = Tally::new(self.bins);
        self.buckets.iter().flatten().for_each(|bucket| total.merge(bucket));
        total
    }

    /// Adds what another ring of the same window and bins holds.
    pub fn merge(&mut self, other: &Ring) {
        self.advance(other.newest);
        let count = other.buckets.len() as i64;
        let first = other.newest.saturating_sub(count).saturating_add(1);
        for number in first..=other.newest {
            if let Some(counts) = &other.buckets[other.place(number)] {
                self.add_to(number, counts);
            }
        }
    }

    fn add_to(&mut self, number: i64, counts: &Tally) -> bool {
        self.advance(number);
        if number <= self.newest.saturating_sub(self.buckets.len() as i64) {
            return false;
        }
        let (place, bins) = (self.place(number), self.bins);
        self.buckets[place].get_or_insert_with(|| Tally::new(bins)).merge(counts);
        true
    }

    /// Empties the buckets that a newer one takes the place of.
    fn advance(&mut self, number: i64) {
        if number <= self.newest {
            return;
        }
        let steps = number.saturating_sub(self.newest).min(self.buckets.len() as i64);
        for number in number - steps + 1..=number {
            let place = self.place(number);
            self.buckets[place].iter_mut().for_each(Tally::clear);
        }
        self.newest = number;
    }

    fn place(&self, number: i64) -> usize {
        number.rem_euclid(self.buckets.len() as i64) as usize
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(bin: usize) -> Tally {
        let mut tally = Tally::new(3);
        tally.hit(bin);
        tally
    }

    #[test]
    fn a_window_forgets() {
        let mut ring = Ring::new(DAY, 3);
        assert!(ring.add(0, &one(1)));
        assert_eq!(ring.total(95 * 15 * MINUTE), one(1));
        assert_eq!(ring.total(96 * 15 * MINUTE), Tally::new(3));
        assert!(!ring.add(0, &one(1)), "it has left the window");
        assert_eq!(ring.total(i64::MAX), Tally::new(3));
    }

    #[test]
    fn windows_are_named_by_their_length() {
        let second = MINUTE / 60;
        let labels = [
            HOUR,
            DAY,
            Window { bucket_us: MINUTE, buckets: 90 },
            Window { bucket_us: second, buckets: 30 },
        ];
        assert_eq!(labels.map(|window| window.label()), ["1h", "24h", "90m", "30s"]);
    }

    proptest! {
        /// A ring holds what a list of all moments says it should, and so do
        /// two that were merged.
        #[test]
        fn a_ring_holds_the_last_buckets(
            steps in proptest::collection::vec((-5..70i64, 0..60i64, 0..3usize, any::<bool>()), 1..80),
        ) {
            let mut ring = Ring::new(HOUR, 3);
            let mut parts = [Ring::new(HOUR, 3), Ring::new(HOUR, 3)];
            let (mut now, mut seen) = (1_000_000 * MINUTE, Vec::<(i64, usize)>::new());
            for (forward, second, bin, which) in steps {
                // Clocks are set back now and then.
                now += forward * MINUTE;
                let time = now + second * 1_000_000;
                let (number, newest) = (time.div_euclid(MINUTE), seen.iter().map(|seen| seen.0).max());
                let taken = ring.add(time, &one(bin));
                prop_assert_eq!(taken, newest.is_none_or(|newest| number > newest - 60));
                if taken {
                    seen.push((number, bin));
                    // A part may be ahead of or behind the other.
                    parts[usize::from(which)].add(time, &one(bin));
                }
                let newest = seen.iter().map(|seen| seen.0).max().expect("one");
                let mut expected = Tally::new(3);
                seen.iter().filter(|seen| seen.0 > newest - 60).for_each(|seen| expected.hit(seen.1));
                prop_assert_eq!(&ring.total(time), &expected);
                let mut merged = parts[0].clone();
                merged.merge(&parts[1]);
                prop_assert_eq!(merged.total(time), expected);
            }
        }
    }
}
