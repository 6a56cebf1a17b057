//! Tables and properties of comparisons.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::types::{DType, Shape};

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

fn tensor(dtype: DType, dims: &[i64], data: Vec<u8>) -> Tensor {
    let shape = Shape::new(dims.iter().copied()).expect("a shape");
    Tensor::new(dtype, shape, Bytes::from(data)).expect("data of that shape")
}

fn doubles(dims: &[i64], values: &[f64]) -> Tensor {
    tensor(DType::Fp64, dims, values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

fn longs(values: &[i64]) -> Tensor {
    let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    tensor(DType::Int64, &[values.len() as i64], data)
}

fn strings(values: &[&str]) -> Tensor {
    let packed = |text: &&str| [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
    let data = values.iter().flat_map(packed).collect();
    tensor(DType::Bytes, &[values.len() as i64], data)
}

fn rules(kind: OutputKind) -> Rules {
    Rules { kind, rtol: 1e-3, atol: 1e-5, top_k: 2 }
}

fn max_absolute(difference: &Difference) -> f64 {
    difference.errors.expect("numbers").max_absolute
}

#[test]
fn numbers_agree_when_they_are_close() {
    for (primary, shadow, agrees, absolute, relative) in [
        (1.0, 1.0, true, 0.0, 0.0),
        (1.0, 1.00101, true, 0.00101, 0.00101),
        (1.0, 1.00102, false, 0.00102, 0.00102),
        (-100.0, -100.2, false, 0.2, 0.002),
        (0.0, 1e-5, true, 1e-5, INF),
        (0.0, -0.0, true, 0.0, 0.0),
        (NAN, NAN, true, 0.0, 0.0),
        (NAN, 1.0, false, INF, INF),
        (1.0, NAN, false, INF, INF),
        (INF, INF, true, 0.0, 0.0),
        (INF, -INF, false, INF, INF),
        // `|s - p| <= atol + rtol * |p|` alone would call these close.
        (INF, 1.0, false, INF, INF),
        (1.0, INF, false, INF, INF),
    ] {
        for kind in [OutputKind::Regression, OutputKind::Values] {
            let difference =
                compare(&doubles(&[1], &[primary]), &doubles(&[1], &[shadow]), &rules(kind));
            assert_eq!(difference.agrees, agrees, "{primary} {shadow}");
            let errors = difference.errors.expect("numbers");
            let is = |got: f64, expected: f64| got == expected || (got - expected).abs() < 1e-9;
            assert!(is(errors.max_absolute, absolute), "{primary} {shadow}: {errors:?}");
            assert!(is(errors.max_relative, relative), "{primary} {shadow}: {errors:?}");
            assert!(is(errors.mean_absolute, absolute), "{primary} {shadow}: {errors:?}");
        }
    }
}

#[test]
fn one_element_that_differs_is_a_disagreement() {
    let primary = doubles(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let shadow = doubles(&[2, 2], &[1.0, 2.0, 3.5, 4.0]);
    let difference = compare(&primary, &shadow, &rules(OutputKind::Values));
    assert!(!difference.agrees);
    let errors = difference.errors.expect("numbers");
    assert_eq!((errors.max_absolute, errors.mean_absolute), (0.5, 0.125));
    assert_eq!((difference.absolute.count(), difference.absolute.max()), (1, Some(0.5)));
    let rows = compare(&primary, &shadow, &rules(OutputKind::Regression));
    assert_eq!((rows.absolute.count(), rows.absolute.quantile(0.5)), (4, Some(0.0)));
}

#[test]
fn floats_of_all_widths_are_compared_as_numbers() {
    let one = |dtype, data: &[u8]| tensor(dtype, &[1], data.to_vec());
    let ones = [
        one(DType::Fp16, &0x3c00u16.to_le_bytes()),
        one(DType::Bf16, &0x3f80u16.to_le_bytes()),
        one(DType::Fp32, &1.0f32.to_le_bytes()),
        one(DType::Fp64, &1.0f64.to_le_bytes()),
    ];
    for primary in &ones {
        for shadow in &ones {
            let difference = compare(primary, shadow, &rules(OutputKind::Values));
            assert!(difference.agrees && max_absolute(&difference) == 0.0);
        }
        let integer = compare(primary, &longs(&[1]), &rules(OutputKind::Values));
        assert_eq!((integer.agrees, integer.mismatch), (false, Some(Mismatch::Datatype)));
        assert_eq!(integer.errors, None);
    }
}

#[test]
fn what_is_no_float_has_to_be_the_same() {
    let compared = |primary: &Tensor, shadow: &Tensor| {
        compare(primary, shadow, &rules(OutputKind::Values)).agrees
    };
    // As doubles these two are the same.
    let (even, odd) = (1i64 << 53, (1i64 << 53) + 1);
    assert!(
        compared(&longs(&[even]), &longs(&[even])) && !compared(&longs(&[even]), &longs(&[odd]))
    );
    assert!(compared(&strings(&["a", ""]), &strings(&["a", ""])));
    assert!(!compared(&strings(&["a", ""]), &strings(&["", "a"])));
    let truth = |value: u8| tensor(DType::Bool, &[1], vec![value]);
    assert!(compared(&truth(1), &truth(1)) && !compared(&truth(1), &truth(0)));
    // Declared a regression, integers may be close.
    let near = compare(&longs(&[10_000]), &longs(&[10_001]), &rules(OutputKind::Regression));
    assert!(near.agrees && max_absolute(&near) == 1.0);
}

#[test]
fn another_shape_is_a_disagreement() {
    let difference = compare(
        &doubles(&[2, 1], &[1.0, 2.0]),
        &doubles(&[1, 2], &[1.0, 2.0]),
        &rules(OutputKind::ClassScores),
    );
    assert_eq!((difference.agrees, difference.mismatch), (false, Some(Mismatch::Shape)));
}

#[test]
fn classes_agree_when_the_best_is_the_same() {
    for (primary, shadow, agrees, overlap) in [
        ([0.7, 0.2, 0.1], [0.5, 0.4, 0.1], true, 1.0),
        ([0.7, 0.2, 0.1], [0.2, 0.7, 0.1], false, 1.0),
        ([0.7, 0.2, 0.1], [0.7, 0.1, 0.2], true, 0.5),
        ([0.7, 0.2, 0.1], [0.1, 0.2, 0.7], false, 0.5),
        // Ties go to the lower index.
        ([0.5, 0.5, 0.0], [0.6, 0.4, 0.0], true, 1.0),
        ([0.5, 0.5, 0.5], [0.0, 0.0, 0.1], false, 0.5),
        // NaN is no score at all, wherever it stands.
        ([NAN, 0.2, 0.1], [0.0, 0.7, 0.1], true, 1.0),
        ([0.7, 0.2, 0.1], [NAN, NAN, NAN], false, 1.0),
        ([NAN, NAN, NAN], [NAN, NAN, NAN], true, 1.0),
        ([INF, 0.2, -INF], [9.0, 0.2, 0.1], true, 1.0),
    ] {
        for dims in [&[1, 3][..], &[3]] {
            let difference = compare(
                &doubles(dims, &primary),
                &doubles(dims, &shadow),
                &rules(OutputKind::ClassScores),
            );
            assert_eq!(difference.agrees, agrees, "{primary:?} {shadow:?}");
            assert_eq!(difference.top_k_overlap, Some(overlap), "{primary:?} {shadow:?}");
        }
    }
    // Every row has to agree, and overlaps are averaged.
    let primary = doubles(&[2, 3], &[0.7, 0.2, 0.1, 0.7, 0.2, 0.1]);
    let shadow = doubles(&[2, 3], &[0.7, 0.2, 0.1, 0.1, 0.2, 0.7]);
    let difference = compare(&primary, &shadow, &rules(OutputKind::ClassScores));
    assert_eq!((difference.agrees, difference.top_k_overlap), (false, Some(0.75)));
    // More than there are classes means all of them; none means no overlap.
    let rules = |top_k| Rules { top_k, ..rules(OutputKind::ClassScores) };
    assert_eq!(compare(&primary, &shadow, &rules(9)).top_k_overlap, Some(1.0));
    assert_eq!(compare(&primary, &shadow, &rules(0)).top_k_overlap, None);
}

#[test]
fn nothing_agrees_with_nothing() {
    for kind in [OutputKind::ClassScores, OutputKind::Regression, OutputKind::Values] {
        for dims in [&[0, 3][..], &[3, 0], &[0]] {
            let nothing = doubles(dims, &[]);
            let difference = compare(&nothing, &nothing, &rules(kind));
            assert!(difference.agrees && max_absolute(&difference) == 0.0, "{kind:?} {dims:?}");
            assert_eq!(difference.top_k_overlap, None);
        }
    }
}

#[test]
fn kinds_are_inferred_from_types_shapes_and_sums() {
    let scores = [0.25, 0.75, 0.5, 0.5];
    for (output, labels, kind) in [
        (doubles(&[2, 2], &scores), 0, OutputKind::ClassScores),
        (doubles(&[2, 2], &[0.25, 0.7, 0.5, 0.5]), 0, OutputKind::Values),
        (doubles(&[2, 2], &[0.25, 0.7, 0.5, 0.5]), 2, OutputKind::ClassScores),
        (doubles(&[2, 2], &[0.25, NAN, 0.5, 0.5]), 0, OutputKind::Values),
        (doubles(&[4], &scores), 4, OutputKind::ClassScores),
        (doubles(&[4], &scores), 0, OutputKind::Regression),
        (doubles(&[4, 1], &scores), 0, OutputKind::Regression),
        (doubles(&[], &[1.0]), 0, OutputKind::Regression),
        (doubles(&[1, 2, 2], &scores), 0, OutputKind::Values),
        (doubles(&[0, 2], &[]), 0, OutputKind::Values),
        (longs(&[1]), 1, OutputKind::Values),
        (strings(&["a"]), 0, OutputKind::Values),
    ] {
        assert_eq!(infer(&output, labels), kind, "{output:?} with {labels} labels");
    }
    for (declared, output, kind) in [
        (OutputKind::ClassScores, doubles(&[4, 1], &scores), OutputKind::Values),
        (OutputKind::ClassScores, doubles(&[1, 2, 2], &scores), OutputKind::ClassScores),
        (OutputKind::Regression, doubles(&[2, 2], &scores), OutputKind::Regression),
        (OutputKind::Regression, strings(&["a"]), OutputKind::Values),
        (OutputKind::ClassScores, strings(&["a", "b"]), OutputKind::Values),
    ] {
        assert_eq!(fitting(declared, &output), kind, "{declared:?} of {output:?}");
    }
}

#[test]
fn an_empty_sketch_has_no_quantiles() {
    let mut sketch = Sketch::default();
    assert_eq!((sketch.quantile(0.5), sketch.max(), sketch.count()), (None, None, 0));
    sketch.add(INF);
    assert_eq!((sketch.quantile(0.5), sketch.max(), sketch.not_finite()), (None, None, 1));
    sketch.add(0.0);
    assert_eq!((sketch.quantile(0.99), sketch.max()), (Some(0.0), Some(0.0)));
    sketch.add(1e300);
    assert_eq!(sketch.max(), Some(1e300));
    assert!(sketch.quantile(1.0).expect("errors") > 0.98e12);
}

fn odd_number() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => -1e3..1e3,
        1 => prop::sample::select(vec![0.0, -0.0, 0.5, NAN, INF, -INF, f64::MAX, f64::MIN_POSITIVE]),
        1 => any::<f64>(),
    ]
}

/// Two tensors of one shape, and how to compare them.
fn pair() -> impl Strategy<Value = (Tensor, Tensor, Rules)> {
    let kinds = vec![OutputKind::ClassScores, OutputKind::Regression, OutputKind::Values];
    (0i64..6, 1i64..6, prop::sample::select(kinds), 0usize..7).prop_flat_map(
        |(rows, columns, kind, top_k)| {
            let numbers = || prop::collection::vec(odd_number(), (rows * columns) as usize);
            (numbers(), numbers()).prop_map(move |(primary, shadow)| {
                let dims = [rows, columns];
                let rules = Rules { kind, rtol: 1e-3, atol: 1e-5, top_k };
                (doubles(&dims, &primary), doubles(&dims, &shadow), rules)
            })
        },
    )
}

proptest! {
    #[test]
    fn everything_agrees_with_itself((one, _, rules) in pair()) {
        let difference = compare(&one, &one, &rules);
        prop_assert!(difference.agrees);
        prop_assert_eq!(difference.errors, Some(Errors::default()));
        prop_assert!(difference.top_k_overlap.is_none_or(|overlap| overlap == 1.0));
    }

    #[test]
    fn without_relative_tolerance_no_side_is_preferred((one, other, rules) in pair()) {
        let rules = Rules { rtol: 0.0, ..rules };
        let (there, back) = (compare(&one, &other, &rules), compare(&other, &one, &rules));
        prop_assert_eq!(there.agrees, back.agrees);
        prop_assert_eq!(there.top_k_overlap, back.top_k_overlap);
        prop_assert_eq!(&there.absolute, &back.absolute);
        let absolute = |difference: &Difference| {
            difference.errors.map(|errors| (errors.max_absolute, errors.mean_absolute))
        };
        prop_assert_eq!(absolute(&there), absolute(&back));
    }

    #[test]
    fn a_quantile_is_within_one_percent(
        mut errors in prop::collection::vec((-27.0f64..27.0).prop_map(f64::exp), 1..300),
        quantile in 0.0f64..=1.0,
        cut in any::<prop::sample::Index>(),
    ) {
        let (mut sketch, mut more) = (Sketch::default(), Sketch::default());
        let cut = cut.index(errors.len());
        errors[..cut].iter().for_each(|error| sketch.add(*error));
        errors[cut..].iter().for_each(|error| more.add(*error));
        sketch.merge(&more);
        errors.sort_by(f64::total_cmp);
        let rank = ((quantile * errors.len() as f64).ceil() as usize).max(1);
        let exact = errors[rank - 1];
        let got = sketch.quantile(quantile).expect("errors");
        prop_assert!((got - exact).abs() <= 0.01 * exact, "{got} is not {exact}");
        prop_assert_eq!(sketch.max(), errors.last().copied());
    }
}
