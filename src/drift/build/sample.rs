//! Values from which quantiles are taken: all of them, or where there are too
//! many a uniform sample (algorithm R: Vitter 1985). The sample of the same
//! values in the same order is the same.

/// Any number; fixed, so that a profile can be built again.
const SEED: u64 = 0x6D6F_6465_6C67_6174;

pub(super) struct Sample {
    values: Vec<f64>,
    most: usize,
    seen: u64,
    state: u64,
}

impl Sample {
    pub(super) fn new(most: usize) -> Sample {
        Sample { values: Vec::new(), most, seen: 0, state: SEED }
    }

    pub(super) fn add(&mut self, value: f64) {
        self.seen += 1;
        if self.values.len() < self.most {
            return self.values.push(value);
        }
        let place = self.next() % self.seen;
        if let Some(own) = self.values.get_mut(place as usize) {
            *own = value;
        }
    }

    /// The values in ascending order.
    pub(super) fn sorted(mut self) -> Vec<f64> {
        self.values.sort_by(f64::total_cmp);
        self.values
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

/// The least value that at least a share `q` of all is not above: the inverse
/// of the empirical distribution function, rounded as numpy's `inverted_cdf`
/// does. `sorted` is not empty.
pub(super) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let place = sorted.len() as f64 * q - 1.0;
    sorted[(place.ceil().max(0.0) as usize).min(sorted.len() - 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values() {
        let values: Vec<f64> = (1..=10).map(f64::from).collect();
        let found = [0.0, 0.05, 0.1, 0.11, 0.5, 0.999, 1.0].map(|q| quantile(&values, q));
        assert_eq!(found, [1.0, 1.0, 1.0, 2.0, 5.0, 10.0, 10.0]);
        assert_eq!(quantile(&[7.0], 0.5), 7.0);
    }

    #[test]
    fn a_sample_keeps_the_shape() {
        let mut sample = Sample::new(10_000);
        (0..1_000_000).for_each(|value| sample.add(f64::from(value)));
        let sorted = sample.sorted();
        assert_eq!(sorted.len(), 10_000);
        for tenth in 1..10 {
            let (q, found) = (f64::from(tenth) / 10.0, quantile(&sorted, f64::from(tenth) / 10.0));
            // Four deviations of a sample's share: 0.005 each.
            assert!((found / 1e6 - q).abs() < 0.02, "{q}: {found}");
        }
    }
}
