//! A share of traffic, exact to a thousandth of a percent.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Thousandths of a percent: 0 to 100,000. As text and in files it is a
/// percentage, such as `12.5`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Weight(u32);

impl Weight {
    pub const NONE: Weight = Weight(0);
    pub const ALL: Weight = Weight(100_000);

    /// `None` for more than the whole.
    pub fn from_millipercent(thousandths: u32) -> Option<Weight> {
        (thousandths <= Weight::ALL.0).then_some(Weight(thousandths))
    }

    /// `None` for what is no percentage, or finer than a thousandth.
    pub fn from_percent(percent: f64) -> Option<Weight> {
        let thousandths = percent * 1e3;
        let rounded = thousandths.round();
        let fits = (0.0..=1e5).contains(&rounded) && (thousandths - rounded).abs() < 1e-6;
        // In range, so that the conversion is exact.
        fits.then_some(Weight(rounded as u32))
    }

    /// Thousandths of a percent.
    pub fn millipercent(self) -> u32 {
        self.0
    }

    pub fn percent(self) -> f64 {
        f64::from(self.0) / 1e3
    }

    /// As a probability.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 1e5
    }

    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// What is left of the whole.
    pub fn rest(self) -> Weight {
        Weight(Weight::ALL.0 - self.0)
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.percent())
    }
}

impl Serialize for Weight {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(1_000) {
            serializer.serialize_u32(self.0 / 1_000)
        } else {
            serializer.serialize_f64(self.percent())
        }
    }
}

impl<'de> Deserialize<'de> for Weight {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Weight, D::Error> {
        let percent = f64::deserialize(deserializer)?;
        Weight::from_percent(percent).ok_or_else(|| {
            D::Error::custom(format!(
                "{percent} is no weight: expected a percentage from 0 to 100 with at most three \
                 decimals"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_percentages_to_a_thousandth() {
        for (percent, thousandths) in [
            (0.0, 0),
            (0.001, 1),
            (12.5, 12_500),
            (33.333, 33_333),
            (99.999, 99_999),
            (100.0, 100_000),
        ] {
            let weight = Weight::from_percent(percent).expect("a weight");
            assert_eq!(weight.millipercent(), thousandths);
            let text = serde_json::to_string(&weight).expect("JSON");
            assert_eq!(serde_json::from_str::<Weight>(&text).expect("a weight"), weight);
        }
        for wrong in [-0.001, 100.001, 0.0005, f64::NAN, f64::INFINITY, -1e300] {
            assert_eq!(Weight::from_percent(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_weight_survives_its_text() {
        for thousandths in 0..=100_000 {
            let weight = Weight::from_millipercent(thousandths).expect("a weight");
            assert_eq!(Weight::from_percent(weight.percent()), Some(weight));
        }
    }
}
