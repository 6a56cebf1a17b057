//! Whether the units of a route are distributed over its variants as the
//! weights say: the test of the sample ratio, step by step.

use std::sync::Arc;

use crate::routing::{Route, RouteDocument, Stickiness, Units, Variant, ln_bayes_factor};

/// The units of one route. A change of its weights begins a new step; the
/// logarithms of the Bayes factors of steps add up, because each looks at
/// expectations of its own.
pub(super) struct Ratio {
    units: Arc<Units>,
    variants: Vec<Variant>,
    stickiness: Stickiness,
    /// What the steps before this one found.
    ended: f64,
}

impl Default for Ratio {
    fn default() -> Ratio {
        let (variants, stickiness) = (Vec::new(), Stickiness::default());
        Ratio { units: Arc::new(Units::new(0)), variants, stickiness, ended: 0.0 }
    }
}

impl Ratio {
    /// The step of a route under a document; goes on with `before` where
    /// nothing changed about the split. Other variants or other units make
    /// another experiment, which begins with nothing.
    pub(super) fn of(route: &Route, document: &RouteDocument, before: Option<&Ratio>) -> Ratio {
        let stickiness = document.spec.stickiness.clone();
        let variants = route.variants.clone();
        let same = |before: &&Ratio| {
            let names = |variants: &[Variant]| -> Vec<_> {
                variants.iter().map(|variant| variant.name.clone()).collect()
            };
            before.stickiness == stickiness && names(&before.variants) == names(&variants)
        };
        let before = before.filter(same);
        if let Some(before) = before.filter(|before| before.variants == variants) {
            return Ratio {
                units: Arc::clone(&before.units),
                variants,
                stickiness,
                ended: before.ended,
            };
        }
        let units = Arc::new(Units::new(variants.len()));
        let ended = before.map_or(0.0, |before| before.look().unwrap_or(before.ended));
        Ratio { units, variants, stickiness, ended }
    }

    pub(super) fn units(&self) -> &Arc<Units> {
        &self.units
    }

    /// Makes room for more units, and judges those that came: the logarithm of
    /// the Bayes factor so far; none where there is nothing to distribute.
    pub(super) fn look(&self) -> Option<f64> {
        if self.variants.iter().filter(|variant| !variant.weight.is_none()).count() < 2 {
            return None;
        }
        self.units.tidy();
        let counts = self.units.counts();
        if counts.iter().all(|count| *count == 0) {
            // Most of many routes are idle.
            return Some(self.ended);
        }
        let expected: Vec<f64> =
            self.variants.iter().map(|variant| variant.weight.fraction()).collect();
        Some(self.ended + ln_bayes_factor(&counts, &expected))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::routing::Attributes;

    fn document(spec: &str) -> RouteDocument {
        let head = "apiVersion: modelgate.dev/v1\nkind: Route\nmetadata: {name: r}\n";
        serde_saphyr::from_str(&format!("{head}spec: {spec}")).expect("a route")
    }

    fn step(spec: &str, before: Option<&Ratio>) -> (Route, Ratio) {
        let document = document(spec);
        let route = Route::compile(&document, None).expect("a route");
        let ratio = Ratio::of(&route, &document, before);
        (route, ratio)
    }

    /// Sends units; those of variant 1 are counted only every so many times.
    fn send(route: &Route, ratio: &Ratio, units: u32, counted: u32) {
        let headers = HeaderMap::new();
        for unit in 0..units {
            let id = unit.to_string();
            let attributes =
                Attributes { headers: &headers, parameters: &[], request_id: id.as_bytes() };
            let decision = route.decide(&attributes);
            if decision.variant == 0 || unit % counted == 0 {
                ratio.units().saw(&decision.unit.expect("the route is divided"), decision.variant);
            }
        }
    }

    /// p < 0.001.
    const ALARM: f64 = 6.9;

    const HALF: &str = "{variants: [{name: b, weight: 50, maxWeight: 60}]}";

    #[test]
    fn a_split_that_loses_units_is_told_and_one_that_does_not_is_not() {
        let (route, sound) = step(HALF, None);
        send(&route, &sound, 5_000, 1);
        assert!(sound.look().is_some_and(|log| log < ALARM), "{:?}", sound.look());
        let (route, broken) = step(HALF, None);
        send(&route, &broken, 5_000, 2);
        let found = broken.look().expect("it is divided");
        assert!(found > ALARM, "{found}");

        // Other weights begin a step, and what was found stays.
        let more = HALF.replace("weight: 50", "weight: 60");
        let (route, next) = step(&more, Some(&broken));
        assert_eq!(next.look(), Some(found));
        send(&route, &next, 5_000, 1);
        let log = next.look().expect("it is divided");
        assert!(log > ALARM && log != found && log - found < ALARM, "{log} after {found}");
        // What does not concern the split changes nothing.
        let private = more.replace("{variants", "{private: true, variants");
        let (_, same) = step(&private, Some(&next));
        assert!(Arc::ptr_eq(same.units(), next.units()));
        assert_eq!(same.look(), next.look());
        // Other units or variants begin anew.
        for other in [
            more.replace("name: b", "name: c"),
            more.replace("{variants", "{stickiness: {salt: s}, variants"),
        ] {
            assert_eq!(step(&other, Some(&next)).1.look(), Some(0.0), "{other}");
        }
        assert_eq!(step("{}", Some(&next)).1.look(), None);
    }
}
