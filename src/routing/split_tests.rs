use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::routing::tests_support::{name, percent, variant};

fn problem(variants: &[VariantSpec]) -> (String, String) {
    let Problem { path, message } = Split::new(variants).expect_err("a problem");
    (path, message)
}

fn weights(pairs: &[(&str, f64)]) -> BTreeMap<VariantName, Weight> {
    pairs.iter().map(|&(of, weight)| (name(of), percent(weight))).collect()
}

#[test]
fn variants_own_ranges_in_the_order_of_the_document() {
    let split = Split::new(&[
        variant("a", 5.0, Some(20.0)),
        VariantSpec { weight: None, max_weight: None, ..variant("champion", 0.0, None) },
        variant("b", 1.0, None),
        variant("c", 2.0, None),
        variant("d", 0.001, None),
    ])
    .expect("a split");
    // What a leaves of the whole, 80 %, in three parts that are rounded down.
    let ranges: Vec<_> = (0..5).map(|variant| split.range(variant)).collect();
    let expected = [
        None,
        Some((0, 5_000)),
        Some((20_000, 21_000)),
        Some((46_666, 48_666)),
        Some((73_332, 73_333)),
    ];
    assert_eq!(ranges, expected);
    for (slot, variant) in [
        (0, 1),
        (4_999, 1),
        (5_000, 0),
        (19_999, 0),
        (20_000, 2),
        (20_999, 2),
        (21_000, 0),
        (73_331, 0),
        (73_332, 4),
        (73_333, 0),
        (99_999, 0),
    ] {
        assert_eq!(split.pick(slot), variant, "{slot}");
    }
    let names: Vec<_> = split.variants().iter().map(|variant| variant.name.to_string()).collect();
    assert_eq!(names, ["champion", "a", "b", "c", "d"]);
    assert_eq!(split.variants()[0].weight, percent(91.999));
}

#[test]
fn what_does_not_add_up_is_refused() {
    let champion = |weight: f64| variant("champion", weight, None);
    for (variants, path, part) in [
        (vec![variant("a", 60.0, None), variant("b", 1.0, None)], "0.weight", "its share of 50"),
        (vec![variant("a", 3.0, Some(2.0))], "0.weight", "more than its maxWeight of 2"),
        (
            vec![variant("a", 0.0, Some(60.0)), variant("b", 0.0, Some(40.001))],
            "1.maxWeight",
            "they take 100.001",
        ),
        (vec![champion(90.0), variant("a", 5.0, None)], "0.weight", "95 percent, not 90"),
        (vec![variant("a", 5.0, None), variant("a", 5.0, None)], "1.name", "a variant a already"),
        (vec![variant("champion", 100.0, Some(100.0))], "0.maxWeight", "the others"),
    ] {
        let (found, message) = problem(&variants);
        assert_eq!(found, format!("spec.variants.{path}"), "{message}");
        let part = if part == "the others" { "other variants" } else { part };
        assert!(message.contains(part), "{message}");
    }
    let fits = [champion(95.0), variant("a", 5.0, None)];
    assert!(Split::new(&fits).is_ok());
    let many = |count: usize| -> Vec<VariantSpec> {
        (0..count).map(|i| variant(&format!("v{i}"), 0.0, None)).collect()
    };
    assert!(Split::new(&many(15)).is_ok());
    let (path, message) = problem(&many(16));
    assert_eq!(path, "spec.variants");
    assert!(message.contains("found 17"), "{message}");
}

#[test]
fn weights_by_hand_keep_the_ranges() {
    let variants = [variant("champion", 90.0, None), variant("a", 10.0, None)];
    let split = Split::new(&variants).expect("a split");
    let grown = split.clone().with(&weights(&[("a", 25.0)])).expect("a split");
    assert_eq!(grown.range(1), Some((0, 25_000)));
    assert_eq!(grown.variants()[0].weight, percent(75.0), "the champion follows");
    let both = split.clone().with(&weights(&[("a", 25.0), ("champion", 75.0)]));
    assert!(both.is_ok());
    for (given, path, part) in [
        (weights(&[("a", 25.0), ("champion", 90.0)]), "weights.champion", "75 percent, not 90"),
        (weights(&[("champion", 80.0)]), "weights.champion", "90 percent, not 80"),
        (weights(&[("b", 1.0)]), "weights.b", "no variant b, but: a"),
    ] {
        let problem = split.clone().with(&given).expect_err("a problem");
        assert_eq!(problem.path, path);
        assert!(problem.message.contains(part), "{problem}");
    }
    let bounded = Split::new(&[variant("a", 1.0, Some(10.0))]).expect("a split");
    let problem = bounded.with(&weights(&[("a", 10.001)])).expect_err("a problem");
    assert_eq!(problem.path, "weights.a");
}

/// Greatest weights that fit together, and weights below them.
fn arms() -> impl Strategy<Value = Vec<(u32, u32)>> {
    prop::collection::vec((0..=SLOTS, 0..=1_000_u32), 1..=15).prop_map(|raw| {
        let mut left = SLOTS;
        let arm = |(most, part): (u32, u32)| {
            let most = most.min(left);
            left -= most;
            (most, most / 1_000 * part)
        };
        raw.into_iter().map(arm).collect()
    })
}

fn split_of(arms: &[(u32, u32)]) -> Split {
    let thousandths = |weight: u32| Weight::from_millipercent(weight);
    let spec = |(place, &(most, weight)): (usize, &(u32, u32))| VariantSpec {
        weight: thousandths(weight),
        max_weight: thousandths(most),
        ..variant(&format!("v{place}"), 0.0, None)
    };
    let variants: Vec<_> = arms.iter().enumerate().map(spec).collect();
    Split::new(&variants).expect("a split")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Every variant has exactly as many slots as its weight says.
    #[test]
    fn slots_are_parted_exactly(arms in arms()) {
        let split = split_of(&arms);
        let mut counts = vec![0; arms.len() + 1];
        for slot in 0..SLOTS {
            counts[split.pick(slot)] += 1;
        }
        let weights: Vec<_> = split.variants().iter().map(|v| v.weight.millipercent()).collect();
        prop_assert_eq!(counts, weights);
    }

    /// Growing one weight takes exactly the difference, and from the champion alone.
    #[test]
    fn growth_moves_no_exposed_unit(arms in arms(), which: prop::sample::Index, to in 0.0..=1.0) {
        let which = which.index(arms.len());
        let (most, weight) = arms[which];
        let grown = weight + (f64::from(most - weight) * to) as u32;
        let mut after = arms.clone();
        after[which].1 = grown;
        let (before, after) = (split_of(&arms), split_of(&after));
        let mut moved = 0;
        for slot in 0..SLOTS {
            let (was, is) = (before.pick(slot), after.pick(slot));
            if was != is {
                prop_assert_eq!((was, is), (0, which + 1));
                moved += 1;
            }
        }
        prop_assert_eq!(moved, grown - weight);
    }
}
