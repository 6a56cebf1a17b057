//! Sets of sequence numbers, as ranges: numbers mostly follow on each other.

use std::collections::BTreeMap;
use std::ops::Range;

/// A set of numbers. Holds its runs: as many as there are interruptions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds numbers, and says how many of them were there already.
    pub fn insert(&mut self, range: Range<u64>) -> u64 {
        if range.is_empty() {
            return 0;
        }
        let (mut start, mut end, mut known) = (range.start, range.end, 0);
        let touched: Vec<(u64, u64)> = self
            .0
            .range(..=range.end)
            .rev()
            .take_while(|(_, end)| **end >= range.start)
            .map(|(start, end)| (*start, *end))
            .collect();
        for (other_start, other_end) in touched {
            let both = other_start.max(range.start)..other_end.min(range.end);
            known += both.end.saturating_sub(both.start);
            start = start.min(other_start);
            end = end.max(other_end);
            self.0.remove(&other_start);
        }
        self.0.insert(start, end);
        known
    }

    pub fn add(&mut self, other: &Ranges) -> u64 {
        other.iter().map(|range| self.insert(range)).sum()
    }

    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> {
        self.0.iter().map(|(start, end)| *start..*end)
    }

    /// How many numbers it holds.
    pub fn count(&self) -> u64 {
        self.iter().map(|range| range.end - range.start).sum()
    }

    /// One past the greatest.
    pub fn end(&self) -> Option<u64> {
        self.0.last_key_value().map(|(_, end)| *end)
    }

    /// Numbers of `whole` that it does not hold.
    pub fn missing(&self, whole: Range<u64>) -> Ranges {
        let mut missing = Ranges::default();
        let mut from = whole.start;
        for range in self.iter() {
            if range.start >= whole.end {
                break;
            }
            if range.start > from {
                missing.0.insert(from, range.start);
            }
            from = from.max(range.end);
        }
        if from < whole.end {
            missing.0.insert(from, whole.end);
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Held to a set of single numbers.
        #[test]
        fn is_a_set(ranges in prop::collection::vec((0u64..60, 0u64..12), 0..30)) {
            let (mut set, mut numbers) = (Ranges::default(), BTreeSet::new());
            for (start, length) in ranges {
                let known = (start..start + length).filter(|one| numbers.contains(one)).count();
                prop_assert_eq!(set.insert(start..start + length), known as u64);
                numbers.extend(start..start + length);
                prop_assert_eq!(set.count(), numbers.len() as u64);
                prop_assert_eq!(set.end(), numbers.last().map(|last| last + 1));
            }
            let missing: Vec<u64> = set.missing(5..50).iter().flatten().collect();
            let expected: Vec<u64> = (5..50).filter(|one| !numbers.contains(one)).collect();
            prop_assert_eq!(missing, expected);
            let runs: Vec<_> = set.iter().collect();
            prop_assert!(runs.windows(2).all(|two| two[0].end < two[1].start));
        }
    }
}
