use proptest::prelude::*;

use super::*;
use crate::drift::{Bins, Derived, Rate};

fn spec(kind: Kind) -> ColumnSpec {
    ColumnSpec::new("age", "x", kind)
}

fn numbers(kind: Kind, values: &[f64]) -> Result<Column, BuildError> {
    column(spec(kind), BuildOptions::default(), || values.iter().map(|value| Value::Number(*value)))
}

fn texts<'a>(values: &'a [&'a str], options: BuildOptions) -> Result<Column, BuildError> {
    column(spec(Kind::Categorical), options, || values.iter().map(|text| Value::Text(text)))
}

fn edges(column: &Column) -> &[f64] {
    match &column.bins {
        Bins::Edges(bins) => bins.edges(),
        other => panic!("no edges: {other:?}"),
    }
}

#[test]
fn numbers_get_quantiles_as_edges() {
    let values: Vec<f64> = (0..1000).map(|at| f64::from((at * 7919) % 1000)).collect();
    let column = numbers(Kind::Numeric, &values).expect("a column");
    assert_eq!(edges(&column), [99.0, 199.0, 299.0, 399.0, 499.0, 599.0, 699.0, 799.0, 899.0]);
    assert_eq!(column.reference.bins(), [99, 100, 100, 100, 100, 100, 100, 100, 100, 101]);
    let summary = column.summary.expect("numbers");
    assert_eq!((summary.min, summary.max), (0.0, 999.0));
    assert!((summary.mean - 499.5).abs() < 1e-9);
    assert_eq!((summary.p001, summary.p999), (0.0, 998.0));
    assert!((summary.std - (999_999.0f64 / 12.0).sqrt()).abs() < 1e-9);
}

#[test]
fn equal_quantiles_are_one_edge() {
    // Half of them are the least value, so five quantiles are.
    let values: Vec<f64> = (0..1000).map(|at| f64::from((at - 499).max(0))).collect();
    let column = numbers(Kind::Numeric, &values).expect("a column");
    assert_eq!(edges(&column), [100.0, 200.0, 300.0, 400.0]);
    assert!(column.reference.bins().iter().all(|count| *count > 0));
    // Nearly all are; the others share one bin.
    let values: Vec<f64> = (0..1000).map(|at| f64::from((at - 950).max(0))).collect();
    let column = numbers(Kind::Score, &values).expect("a column");
    assert_eq!((edges(&column), column.reference.bins()), (&[1.0][..], &[951, 49][..]));
}

#[test]
fn few_numbers_have_a_bin_each() {
    let values: Vec<f64> =
        (0..2000).map(|at| if at == 7 { 9.5 } else { f64::from(at % 3) }).collect();
    let column = numbers(Kind::Numeric, &values).expect("a column");
    assert_eq!(column.kind, Kind::Values);
    let Bins::Values(bins) = &column.bins else { panic!("{:?}", column.bins) };
    assert_eq!((bins.values(), bins.rest()), (&[0.0, 1.0, 2.0][..], Some(&[9.5][..])));
    assert_eq!(column.reference.bins(), [667, 666, 666, 1]);
    let again = numbers(Kind::Score, &values).expect("a score");
    assert!(matches!(again.bins, Bins::Edges(_)), "scores have edges");
}

#[test]
fn frequent_texts_have_a_bin_each() {
    let mut values = ["b"; 1000];
    values[..600].fill("a");
    values[600..604].fill("rare");
    let column = texts(&values, BuildOptions::default()).expect("a column");
    let Bins::Categories(bins) = &column.bins else { panic!("{:?}", column.bins) };
    assert_eq!(bins.categories(), ["a", "b"]);
    assert_eq!(bins.rest().expect("few"), ["rare"]);
    assert_eq!(column.reference.bins(), [600, 396, 4]);
    let all = BuildOptions { least_share: 0.0, least_rows: 1, ..BuildOptions::default() };
    assert_eq!(texts(&values, all).expect("a column").reference.bins(), [600, 396, 4, 0]);
}

/// A text that no profile can hold, and a number that its tensor cannot.
#[test]
fn what_does_not_fit_is_one_of_the_others() {
    let long = "x".repeat(2000);
    let mut values = ["a"; 100];
    values[..40].fill(&long);
    let column = texts(&values, BuildOptions::default()).expect("a column");
    assert_eq!(column.reference.bins(), [60, 40]);
    let mut live = column.tally();
    column.bins.count_text(b"never seen", &mut live);
    assert_eq!(live.rate(Rate::Unseen), 0, "not all others are known");

    let single = ColumnSpec { is_single: true, ..spec(Kind::Score) };
    let pass = || (0..100).map(|at| Value::Number(if at < 9 { 1e300 } else { f64::from(at) }));
    let column = super::column(single, BuildOptions::default(), pass).expect("a column");
    let invalid = column.reference.rate(Rate::Invalid);
    assert_eq!((invalid, column.summary.map(|summary| summary.max)), (9, Some(99.0)));
}

#[test]
fn what_is_missing_is_counted_apart() {
    let values = [Value::Missing, Value::Number(f64::NAN), Value::Number(f64::INFINITY)];
    let usual = (0..100).map(|at| Value::Number(f64::from(at)));
    let pass = || values.iter().copied().chain(usual.clone());
    let column = column(spec(Kind::Numeric), BuildOptions::default(), pass).expect("a column");
    let rates = [Rate::Missing, Rate::Invalid].map(|rate| column.reference.rate(rate));
    assert_eq!((rates, column.reference.binned()), ([2, 1], 100));
}

#[test]
fn values_are_rounded_as_the_tensor_rounds_them() {
    let single = ColumnSpec { is_single: true, ..spec(Kind::Numeric) };
    let values: Vec<f64> = (0..1000).map(|at| f64::from(at) * 0.1).collect();
    let pass = || values.iter().map(|value| Value::Number(*value));
    let column = column(single, BuildOptions::default(), pass).expect("a column");
    for edge in edges(&column) {
        assert_eq!(f64::from(*edge as f32), *edge);
    }
    // What the tensor holds falls where its reference was counted.
    let mut live = column.tally();
    values.iter().for_each(|value| column.bins.count_number(f64::from(*value as f32), &mut live));
    assert_eq!(live.bins(), column.reference.bins());
}

#[test]
fn classes_are_numbers_or_texts() {
    let values: Vec<f64> = (0..5000).map(|at| f64::from(at % 50)).collect();
    let column = numbers(Kind::Class, &values).expect("a column");
    assert_eq!((column.bins.count(), column.reference.bins()[23]), (24, 27 * 100));
    let mut live = column.tally();
    [49.0, 50.0].iter().for_each(|class| column.bins.count_number(*class, &mut live));
    assert_eq!(live.rate(Rate::Unseen), 1);
    let names = super::column(spec(Kind::Class), BuildOptions::default(), || {
        ["yes", "no"].iter().cycle().take(100).map(|text| Value::Text(text))
    });
    assert_eq!(names.expect("a column").reference.bins(), [50, 50, 0]);
}

#[test]
fn texts_can_be_profiled_by_length() {
    let length = ColumnSpec { derived: Some(Derived::Chars), ..spec(Kind::Numeric) };
    let lines: Vec<String> = (0..500).map(|at| "x".repeat(at)).collect();
    let pass = || lines.iter().map(|line| Value::Number(Derived::Chars.of_text(line)));
    let column = column(length, BuildOptions::default(), pass).expect("a column");
    assert_eq!((column.reference.rate(Rate::Missing), column.reference.binned()), (1, 499));
}

#[test]
fn blocks_of_time_tell_the_dispersion() {
    let ordered = BuildOptions { is_ordered: true, ..BuildOptions::default() };
    let of = |options, value: fn(u32) -> f64| {
        let values: Vec<f64> = (0..15_000).map(value).collect();
        let pass = || values.iter().map(|value| Value::Number(*value));
        column(spec(Kind::Numeric), options, pass).expect("a column").dispersion
    };
    assert_eq!(of(ordered, |at| f64::from(at * 7919 % 10)), 1.0);
    // Every other block has the one value alone.
    let clumped = of(ordered, |at| f64::from(at / 300 % 2));
    assert!((clumped - 300.0 * 50.0 / 49.0).abs() < 1e-9, "{clumped}");
    assert_eq!(of(BuildOptions::default(), |at| f64::from(at / 300 % 2)), 1.0);
}

/// The blocks of rows that come in no order are those of their times.
#[test]
fn blocks_are_told_for_rows_without_order() {
    let ordered = BuildOptions { is_ordered: true, ..BuildOptions::default() };
    let of = |block: fn(usize) -> usize| {
        let values = || (0..15_000).map(|at| Value::Number((at % 2) as f64));
        let mut survey = Survey::new(spec(Kind::Numeric), ordered);
        values().for_each(|value| survey.see(value));
        let mut count = survey.finish().expect("bins");
        values().enumerate().for_each(|(at, value)| count.see_in(block(at), value));
        count.finish().expect("a column")
    };
    // Every other block has the one value alone.
    let clumped = of(|at| at / 600 * 2 + at % 2);
    assert!((clumped.dispersion - 300.0 * 50.0 / 49.0).abs() < 1e-9, "{}", clumped.dispersion);
    let even = of(|at| at / 300);
    assert_eq!((even.dispersion, even.reference), (1.0, clumped.reference));
}

#[test]
fn what_makes_no_column_is_refused() {
    let name = || Arc::from("age");
    assert_eq!(numbers(Kind::Numeric, &[]), Err(BuildError::Empty(name())));
    assert_eq!(numbers(Kind::Numeric, &[f64::NAN]), Err(BuildError::Empty(name())));
    assert_eq!(numbers(Kind::Score, &[1.0; 9]), Err(BuildError::Constant(name())));
    let many: Vec<f64> = (0..50).map(f64::from).collect();
    assert_eq!(numbers(Kind::Values, &many), Err(BuildError::NotFew(name(), 23, 25)));
    let empty = texts(&["", ""], BuildOptions::default());
    assert_eq!(empty, Err(BuildError::Empty(name())));
    assert_eq!(texts(&["a", "b"], BuildOptions::default()), Err(BuildError::Scattered(name())));
    let passes = std::cell::Cell::new(0);
    let changed = column(spec(Kind::Numeric), BuildOptions::default(), || {
        passes.set(passes.get() + 1);
        (0..passes.get() * 100).map(|at| Value::Number(f64::from(at)))
    });
    assert_eq!(changed, Err(BuildError::Changed(name(), 100, 200)));
}

proptest! {
    /// Counts are those of the values, whatever their order; and no bin is empty.
    #[test]
    fn columns_do_not_depend_on_the_order_of_rows(
        mut values in proptest::collection::vec(-50..50i32, 100..400),
    ) {
        let floats = |values: &[i32]| values.iter().map(|value| f64::from(*value)).collect::<Vec<f64>>();
        let before = numbers(Kind::Score, &floats(&values)).expect("a column");
        prop_assert_eq!(before.reference.binned(), values.len() as u64);
        prop_assert!(before.reference.bins().iter().all(|count| *count > 0));
        values.reverse();
        let after = numbers(Kind::Score, &floats(&values)).expect("a column");
        prop_assert_eq!(&before.bins, &after.bins);
        prop_assert_eq!(&before.reference, &after.reference);
    }
}
