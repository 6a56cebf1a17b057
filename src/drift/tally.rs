//! What was counted of one column.

/// What is counted beside the bins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// NaN, or an empty text. In no bin.
    Missing,
    /// What the column cannot hold: an infinity; a text in a column of
    /// numbers, or the reverse. In no bin.
    Invalid,
    /// An infinity; counted as invalid as well.
    Infinite,
    /// Below the reference's least value; counted in the first bin as well.
    Below,
    /// Above the reference's greatest value; counted in the last bin as well.
    Above,
    /// Not among the values of the reference; counted in the bin of others as well.
    Unseen,
    /// A score nearer than 1e-6 to 0 or 1; counted in its bin as well.
    Saturated,
}

impl Rate {
    pub const ALL: [Rate; 7] = [
        Rate::Missing,
        Rate::Invalid,
        Rate::Infinite,
        Rate::Below,
        Rate::Above,
        Rate::Unseen,
        Rate::Saturated,
    ];
}

/// Counts of one column: bins, rates, and sums from which its mean and
/// deviation follow. Tallies of the same bins add up, in any order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    bins: Box<[u64]>,
    rates: [u64; Rate::ALL.len()],
    scaled_sum: f64,
    scaled_squares: f64,
}

impl Tally {
    pub fn new(bins: usize) -> Tally {
        Tally { bins: vec![0; bins].into(), ..Tally::default() }
    }

    /// Of counts that are known.
    pub fn of(bins: Vec<u64>) -> Tally {
        Tally { bins: bins.into(), ..Tally::default() }
    }

    pub fn bins(&self) -> &[u64] {
        &self.bins
    }

    pub fn rate(&self, rate: Rate) -> u64 {
        self.rates[rate as usize]
    }

    /// Sum of the values, each scaled to 0 to 1 ([`super::bins::Scale`]).
    pub fn scaled_sum(&self) -> f64 {
        self.scaled_sum
    }

    /// Sum of the squares of the scaled values.
    pub fn scaled_squares(&self) -> f64 {
        self.scaled_squares
    }

    /// Values in bins.
    pub fn binned(&self) -> u64 {
        self.bins.iter().sum()
    }

    /// Values, in bins or not.
    pub fn seen(&self) -> u64 {
        self.binned() + self.rate(Rate::Missing) + self.rate(Rate::Invalid)
    }

    /// Adds a tally of the same bins.
    pub fn merge(&mut self, other: &Tally) {
        self.bins.iter_mut().zip(&other.bins).for_each(|(own, other)| *own += other);
        self.rates.iter_mut().zip(&other.rates).for_each(|(own, other)| *own += other);
        self.scaled_sum += other.scaled_sum;
        self.scaled_squares += other.scaled_squares;
    }

    /// What was counted since an earlier state of the same tally.
    #[must_use]
    pub fn since(&self, earlier: &Tally) -> Tally {
        let less = |(own, earlier): (&u64, &u64)| own.saturating_sub(*earlier);
        let mut rates = self.rates;
        rates.iter_mut().zip(&earlier.rates).for_each(|(own, earlier)| *own = less((own, earlier)));
        Tally {
            bins: self.bins.iter().zip(&earlier.bins).map(less).collect(),
            rates,
            scaled_sum: self.scaled_sum - earlier.scaled_sum,
            scaled_squares: self.scaled_squares - earlier.scaled_squares,
        }
    }

    /// Back to nothing, in the memory it has.
    pub fn clear(&mut self) {
        self.bins.fill(0);
        self.rates = [0; Rate::ALL.len()];
        self.scaled_sum = 0.0;
        self.scaled_squares = 0.0;
    }

    pub(super) fn hit(&mut self, bin: usize) {
        self.bins[bin] += 1;
    }

    pub(super) fn note(&mut self, rate: Rate) {
        self.rates[rate as usize] += 1;
    }

    /// With a branch: what is noted so is seldom.
    pub(super) fn note_if(&mut self, rate: Rate, is: bool) {
        if is {
            self.note(rate);
        }
    }

    pub(super) fn set(&mut self, rate: Rate, count: u64) {
        self.rates[rate as usize] = count;
    }

    pub(super) fn add_scaled(&mut self, scaled: f64) {
        self.scaled_sum += scaled;
        self.scaled_squares += scaled * scaled;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tally(bins: Vec<u64>, rates: [u64; 7]) -> Tally {
        Tally { bins: bins.into(), rates, scaled_sum: 1.5, scaled_squares: 0.75 }
    }

    #[test]
    fn what_is_in_no_bin_is_seen_all_the_same() {
        let tally = tally(vec![3, 4], [1, 2, 100, 100, 100, 100, 100]);
        assert_eq!((tally.binned(), tally.seen()), (7, 10));
        let mut cleared = tally.clone();
        cleared.clear();
        assert_eq!(cleared, Tally::new(2));
    }

    proptest! {
        #[test]
        fn merging_is_adding(parts in proptest::collection::vec(
            (proptest::collection::vec(0..1000u64, 5), proptest::array::uniform7(0..1000u64)), 1..9
        )) {
            let mut merged = Tally::new(5);
            parts.iter().for_each(|(bins, rates)| merged.merge(&tally(bins.clone(), *rates)));
            for bin in 0..5 {
                prop_assert_eq!(merged.bins()[bin], parts.iter().map(|part| part.0[bin]).sum::<u64>());
            }
            for rate in Rate::ALL {
                prop_assert_eq!(merged.rate(rate), parts.iter().map(|part| part.1[rate as usize]).sum::<u64>());
            }
            prop_assert_eq!(merged.scaled_sum(), 1.5 * parts.len() as f64);
            // Without the last part it is as it was before.
            let before = merged.clone();
            let (bins, rates) = &parts[0];
            merged.merge(&tally(bins.clone(), *rates));
            prop_assert_eq!(merged.since(&before), tally(bins.clone(), *rates));
        }
    }
}
