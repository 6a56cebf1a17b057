//! A column's live counts beside those of its reference.

use serde::{Serialize, Serializer};

use super::bins::Bins;
use super::effect::{
    JEFFREYS, hellinger, js_distance, kl, kolmogorov_smirnov, psi, psi_adjusted, shares,
    wasserstein, wasserstein_of_values,
};
use super::profile::Column;
use super::significance::{Significance, pearson, two_proportions};
use super::tally::{Rate, Tally};

/// All that is said of one column and one window. Effects of smoothed shares
/// but where said otherwise; everything is 0 without live rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Score {
    /// Live values in bins.
    pub rows: u64,
    /// Population stability index, in nats.
    pub psi: f64,
    /// The same less what chance adds; not below 0.
    pub psi_adjusted: f64,
    /// Jensen-Shannon distance to the base of 2: 0 to 1.
    pub js_distance: f64,
    /// Kolmogorov-Smirnov statistic at the edges of bins; of numbers that have an order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ks_statistic: Option<f64>,
    /// Wasserstein distance over the reference's standard deviation; likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wasserstein_stddevs: Option<f64>,
    #[serde(flatten)]
    pub significance: Significance,
    pub dispersion: f64,
    /// Of plain shares, as other tools compute them; infinite (null in JSON)
    /// where one side alone has an empty bin.
    pub unsmoothed: Unsmoothed,
    /// Missing, invalid, below, above, unseen; in JSON by these names.
    #[serde(serialize_with = "by_name")]
    pub rates: [RateChange; 5],
}

fn by_name<S: Serializer>(rates: &[RateChange; 5], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(["missing", "invalid", "below", "above", "unseen"].iter().zip(rates))
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Unsmoothed {
    pub psi: f64,
    pub js_distance: f64,
    pub hellinger: f64,
    /// Of the reference from live.
    pub kl: f64,
}

/// A share of values that is no bin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct RateChange {
    pub reference: f64,
    pub live: f64,
    /// Deviations by which live is above the reference ([`two_proportions`]).
    pub z: f64,
}

impl Column {
    /// Compares live counts with the reference.
    pub fn score(&self, live: &Tally) -> Score {
        self.score_beside(&self.reference, live)
    }

    /// Compares counts with others in the place of the reference, as two
    /// samples of which each has the dispersion of the reference.
    pub fn score_beside(&self, other: &Tally, live: &Tally) -> Score {
        let (reference, bins) = (other.bins(), live.bins());
        let rates = rates(other, live);
        if live.binned() == 0 || other.binned() == 0 {
            return Score { dispersion: self.dispersion, rates, ..Score::default() };
        }
        let (p, q) = (shares(reference, JEFFREYS), shares(bins, JEFFREYS));
        let (plain_p, plain_q) = (shares(reference, 0.0), shares(bins, 0.0));
        let (ks_statistic, wasserstein_stddevs) = self.distances(reference, bins);
        Score {
            rows: live.binned(),
            psi: psi(&p, &q),
            psi_adjusted: psi_adjusted(reference, bins),
            js_distance: js_distance(&p, &q),
            ks_statistic,
            wasserstein_stddevs,
            significance: pearson(reference, bins, self.dispersion),
            dispersion: self.dispersion,
            unsmoothed: Unsmoothed {
                psi: psi(&plain_p, &plain_q),
                js_distance: js_distance(&plain_p, &plain_q),
                hellinger: hellinger(&plain_p, &plain_q),
                kl: kl(&plain_p, &plain_q),
            },
            rates,
        }
    }

    /// Distances of numbers; the bin of others has no place among them.
    fn distances(&self, reference: &[u64], live: &[u64]) -> (Option<f64>, Option<f64>) {
        let named = self.bins.other().unwrap_or(self.bins.count());
        let (reference, live) = (&reference[..named], &live[..named]);
        let distance = match &self.bins {
            Bins::Edges(bins) => wasserstein(reference, live, &bins.bounds()),
            Bins::Values(bins) => wasserstein_of_values(reference, live, bins.values()),
            Bins::Categories(_) => return (None, None),
        };
        let std = self.summary.map(|summary| summary.std).filter(|std| *std > 0.0);
        (Some(kolmogorov_smirnov(reference, live)), std.map(|std| distance / std))
    }
}

/// Missing and invalid ones are shares of all values, the others of those
/// in bins. No value of the reference is out of its range, or unseen.
fn rates(reference: &Tally, live: &Tally) -> [RateChange; 5] {
    let rates = [Rate::Missing, Rate::Invalid, Rate::Below, Rate::Above, Rate::Unseen];
    rates.map(|rate| {
        let whole = |tally: &Tally| match rate {
            Rate::Missing | Rate::Invalid => tally.seen(),
            _ => tally.binned(),
        };
        let (m, n) = (whole(reference), whole(live));
        let (r, c) = (reference.rate(rate), live.rate(rate));
        let share = |hits: u64, of: u64| if of == 0 { 0.0 } else { hits as f64 / of as f64 };
        let z = two_proportions(r, m, c, n);
        RateChange { reference: share(r, m), live: share(c, n), z }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::profile::Profile;

    fn column(json: serde_json::Value) -> Column {
        let profile = serde_json::json!({
            "schema": "modelgate.drift.profile/v1", "model": "m", "inputs": [json],
        });
        let profile = Profile::parse(profile.to_string().as_bytes()).expect("a profile");
        profile.inputs.into_iter().next().expect("a column")
    }

    fn age() -> Column {
        column(serde_json::json!({
            "name": "age", "tensor": "x", "index": [0], "kind": "numeric",
            "edges": [20.0, 40.0], "counts": [600, 900, 500], "missing": 20,
            "min": 0.0, "max": 80.0, "p001": 0.0, "p999": 79.0, "mean": 32.0, "std": 16.0,
        }))
    }

    #[test]
    fn no_rows_are_no_drift() {
        let column = age();
        let score = column.score(&column.tally());
        assert_eq!((score.rows, score.psi, score.significance.p), (0, 0.0, 1.0));
    }

    #[test]
    fn the_reference_itself_does_not_drift() {
        let column = age();
        let score = column.score(&column.reference);
        assert_eq!((score.psi_adjusted, score.significance.chi2), (0.0, 0.0));
        assert_eq!((score.ks_statistic, score.wasserstein_stddevs), (Some(0.0), Some(0.0)));
        assert!(score.rates.iter().all(|rate| rate.z == 0.0 && rate.live == rate.reference));
    }

    #[test]
    fn a_shift_is_measured_in_deviations() {
        let column = age();
        let mut live = column.tally();
        // All between the first edge and the second: the middle is 30.
        (0..100).for_each(|_| column.bins.count_number(30.0, &mut live));
        (0..50).for_each(|_| column.bins.count_number(f64::NAN, &mut live));
        let score = column.score(&live);
        // 0.3 of the mass is below 20, 0.25 of it above 40.
        let area = 0.3 * 10.0 + 0.25 * 20.0 + (0.09 + 0.0625) / (2.0 * 0.55) * 20.0;
        let found = score.wasserstein_stddevs.expect("numbers");
        assert!((found - area / 16.0).abs() < 1e-12, "{found} {}", area / 16.0);
        assert!((score.ks_statistic.expect("numbers") - 0.3).abs() < 1e-12);
        assert!(score.rates[0].z > 10.0 && (score.rates[0].live - 1.0 / 3.0).abs() < 1e-15);
    }

    #[test]
    fn categories_have_no_order() {
        let column = column(serde_json::json!({
            "name": "plan", "tensor": "plan", "kind": "categorical",
            "categories": ["a", "b"], "counts": [900, 600], "other": 10, "dictionary": ["c"],
        }));
        let mut live = column.tally();
        ["a", "b", "c", "d"]
            .iter()
            .for_each(|text| column.bins.count_text(text.as_bytes(), &mut live));
        let score = column.score(&live);
        assert_eq!((score.ks_statistic, score.wasserstein_stddevs), (None, None));
        assert_eq!((score.rates[4].reference, score.rates[4].live), (0.0, 0.25));
        let written = serde_json::to_value(&score).expect("JSON");
        assert!(written["chi2"].is_f64() && written.get("ks_statistic").is_none());
        assert_eq!(written["rates"]["unseen"]["live"], 0.25);
    }
}
