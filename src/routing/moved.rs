//! What a change of a route does to those who call it.

use super::bucket::SLOTS;
use super::route::Route;
use crate::types::VariantName;

/// Percent of the units whose variant of the split changes by name; exact over
/// all slots. Where both routes divide their units by different salts, all
/// buckets are dealt anew: 100.
pub fn moved_units(before: &Route, after: &Route) -> f64 {
    let both_divide = before.split.divides() && after.split.divides();
    if both_divide && before.split_salt_text != after.split_salt_text {
        return 100.0;
    }
    let mut borders: Vec<u32> = before.split.borders().chain(after.split.borders()).collect();
    borders.sort_unstable();
    let moved: u32 = borders
        .iter()
        .zip(&borders[1..])
        .filter(|&(&start, &end)| start < end && name(before, start) != name(after, start))
        .map(|(start, end)| end - start)
        .sum();
    100.0 * f64::from(moved) / f64::from(SLOTS)
}

fn name(route: &Route, slot: u32) -> &VariantName {
    &route.variants[route.split.pick(slot)].name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::tests_support::{document, route, variant};

    /// The same by trying every slot.
    fn counted(before: &Route, after: &Route) -> f64 {
        let moved = (0..SLOTS).filter(|&slot| name(before, slot) != name(after, slot)).count();
        moved as f64 / 1e3
    }

    #[test]
    fn moved_units_are_those_that_are_counted() {
        let shapes: [&[(&str, f64, Option<f64>)]; 7] = [
            &[],
            &[("a", 5.0, None)],
            &[("a", 25.0, None)],
            &[("b", 25.0, None)],
            &[("a", 5.0, Some(20.0)), ("b", 0.001, None)],
            &[("b", 12.5, Some(30.0)), ("a", 20.0, Some(20.0))],
            &[("a", 100.0, None)],
        ];
        let routes: Vec<Route> = shapes
            .iter()
            .map(|shape| {
                let variants =
                    shape.iter().map(|&(name, weight, most)| variant(name, weight, most));
                route(&document(variants.collect()))
            })
            .collect();
        for before in &routes {
            for after in &routes {
                let (found, expected) = (moved_units(before, after), counted(before, after));
                assert!((found - expected).abs() < 1e-9, "{found} {expected}");
            }
        }
        assert_eq!(moved_units(&routes[1], &routes[2]), 20.0, "growth takes from the champion");
        assert_eq!(moved_units(&routes[1], &routes[3]), 25.0, "b takes the slots of a, and more");
    }

    #[test]
    fn another_salt_deals_all_buckets_anew() {
        let mut salted = document(vec![variant("a", 5.0, None)]);
        let before = route(&salted);
        salted.spec.stickiness.salt = Some("another".to_owned());
        assert_eq!(moved_units(&before, &route(&salted)), 100.0);
        salted.spec.variants[0].weight = None;
        assert_eq!(moved_units(&before, &route(&salted)), 5.0, "the champion gets all anyway");
    }
}
