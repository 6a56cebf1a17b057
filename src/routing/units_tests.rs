use std::thread;

use super::*;
use crate::routing::bucket::{Salt, slot};
use crate::routing::route::UnitKind;
use crate::routing::srm::ln_bayes_factor;

fn unit(number: usize) -> Unit {
    let hash = Salt::new("fraud/r-01/split").hash(format!("user-{number}").as_bytes());
    Unit { kind: UnitKind::Key(0), hash, slot: slot(hash), shadow_slot: 0 }
}

/// As a split with a candidate of 5 % has it.
fn variant(unit: &Unit) -> usize {
    usize::from(unit.slot < 5_000)
}

#[test]
fn units_are_counted_once() {
    let units = Units::new(3);
    assert_eq!(units.counts(), [0, 0, 0]);
    for _ in 0..3 {
        (0..100).for_each(|number| units.saw(&unit(number), number % 2));
    }
    assert_eq!(units.counts(), [50, 50, 0]);
    (0..100).for_each(|number| units.saw(&unit(number), 2));
    assert_eq!(units.counts(), [50, 50, 0], "the first exposure counts");
    units.saw(&unit(100), 3);
    assert_eq!(units.counts(), [50, 50, 0], "there is no such variant");
    units.tidy();
    assert_eq!(units.counts(), [50, 50, 0], "there is room");
}

#[test]
fn no_memory_is_taken_before_the_first_unit() {
    let units = Units::new(2);
    units.tidy();
    assert!(units.table.load().is_none());
    units.saw(&unit(0), 0);
    assert!(units.table.load().is_some());
}

/// 200,000 units with a tidying now and then: the table stays within its
/// bounds, and what is left of them is distributed as all of them are.
#[test]
fn a_sample_of_many_is_bounded_and_unbiased() {
    let units = Units::new(2);
    for number in 0..200_000 {
        let unit = unit(number);
        units.saw(&unit, variant(&unit));
        if number % 1_000 == 0 {
            units.tidy();
        }
    }
    let counts = units.counts();
    let total: u64 = counts.iter().sum();
    assert!((CROWDED as u64 / 3..=CROWDED as u64 + 1_000).contains(&total), "{counts:?}");
    let factor = ln_bayes_factor(&counts, &[0.95, 0.05]);
    assert!(factor < 0.0, "{counts:?}: {factor}");
    let lopsided = [counts[0], counts[1] / 2];
    assert!(ln_bayes_factor(&lopsided, &[0.95, 0.05]) > 7.0, "the sample is large enough to tell");
}

/// A unit that is over the threshold is out for good, and one that is under it
/// stays: whoever comes again changes nothing.
#[test]
fn membership_does_not_depend_on_how_often_a_unit_comes() {
    let crowd = || {
        let units = Units::new(2);
        for number in 0..40_000 {
            units.saw(&unit(number), 0);
            if number % 500 == 0 {
                units.tidy();
            }
        }
        units
    };
    let (once, again) = (crowd(), crowd());
    let before = once.counts();
    (0..40_000).for_each(|number| again.saw(&unit(number), 1));
    // But for the few that found their places taken before the last tidying.
    let late = again.counts()[1];
    assert!(late <= before[0] / 20, "{late} of {before:?}");
    assert_eq!(again.counts()[0], before[0]);
}

/// A table that nobody tidies fills up and drops what more comes.
#[test]
fn a_full_table_takes_no_more() {
    let units = Units::new(1);
    (0..100_000).for_each(|number| units.saw(&unit(number), 0));
    let full = units.counts()[0];
    assert!(full as usize <= CAPACITY && full as usize > CROWDED, "{full}");
    units.tidy();
    let halved = units.counts()[0] as f64 / full as f64;
    assert!((0.45..0.55).contains(&halved), "{halved}");
}

#[test]
fn threads_count_a_unit_once() {
    let units = Units::new(1);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..2_000).for_each(|number| units.saw(&unit(number), 0)));
        }
    });
    assert_eq!(units.counts(), [2_000]);
}
