//! Which outputs mean what, and what rows say.

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::types::Shape;

fn spec(name: &str, dtype: DType, dims: &[i64], labels: &[&str]) -> TensorSpec {
    TensorSpec {
        name: Arc::from(name),
        dtype,
        dims: dims.iter().map(|dim| Dim::from(*dim)).collect(),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
    }
}

fn tensor(dtype: DType, dims: &[i64], data: Vec<u8>) -> Tensor {
    let shape = Shape::new(dims.iter().copied()).expect("a shape");
    Tensor::new(dtype, shape, Bytes::from(data)).expect("a tensor")
}

fn floats(dims: &[i64], values: &[f32]) -> Tensor {
    tensor(DType::Fp32, dims, values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

fn longs(dims: &[i64], values: &[i64]) -> Tensor {
    tensor(DType::Int64, dims, values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

fn texts(values: &[&str]) -> Tensor {
    let packed = values.iter().flat_map(|text| {
        let length = (text.len() as u32).to_le_bytes();
        length.into_iter().chain(text.bytes()).collect::<Vec<u8>>()
    });
    tensor(DType::Bytes, &[values.len() as i64], packed.collect())
}

fn declared(json: &str) -> Declared {
    serde_json::from_str(json).expect("options")
}

#[test]
fn outputs_say_what_they_are() {
    use Task::{Classification, Regression};
    let none = "{}";
    for (outputs, said, task, positive) in [
        (vec![spec("label", DType::Int64, &[-1], &[])], none, Some(Classification), None),
        (vec![spec("label", DType::Bytes, &[-1, 1], &[])], none, Some(Classification), None),
        (vec![spec("p", DType::Fp32, &[-1, 2], &[])], none, Some(Classification), Some("1")),
        (vec![spec("p", DType::Fp32, &[-1, 3], &[])], none, Some(Classification), None),
        (
            vec![spec("p", DType::Fp32, &[-1, 2], &["no", "yes"])],
            none,
            Some(Classification),
            Some("yes"),
        ),
        (vec![spec("p", DType::Fp32, &[-1, -1], &[])], none, Some(Classification), None),
        (vec![spec("y", DType::Fp32, &[-1, 1], &[])], none, Some(Regression), None),
        (vec![spec("y", DType::Fp64, &[-1], &[])], none, Some(Regression), None),
        (vec![spec("image", DType::Fp32, &[-1, 3, 8, 8], &[])], none, None, None),
        (
            vec![spec("y", DType::Fp32, &[-1], &[])],
            r#"{"task": "classification", "scores": "y", "labels": ["ham", "spam"]}"#,
            Some(Classification),
            Some("spam"),
        ),
        (
            vec![spec("n", DType::Int64, &[-1], &[])],
            r#"{"task": "regression"}"#,
            Some(Regression),
            None,
        ),
        (
            vec![spec("p", DType::Fp32, &[-1, 3], &[])],
            r#"{"positive": "2"}"#,
            Some(Classification),
            Some("2"),
        ),
        (
            vec![spec("p", DType::Fp32, &[-1, 2], &[]), spec("y", DType::Fp32, &[-1], &[])],
            r#"{"output": "y"}"#,
            Some(Regression),
            None,
        ),
    ] {
        let meaning = Meaning::of(&outputs, &declared(said));
        assert_eq!(meaning.task, task, "{outputs:?} {said}");
        assert_eq!(meaning.positive.as_deref(), positive, "{outputs:?} {said}");
    }
}

#[test]
fn rows_are_read_by_their_meaning() {
    let both = [spec("label", DType::Int64, &[-1], &[]), spec("p", DType::Fp32, &[-1, 2], &[])];
    let meaning = Meaning::of(&both, &Declared::default());
    let outputs = [longs(&[2], &[1, 0]), floats(&[2, 2], &[0.25, 0.75, 0.5, 0.5])];
    let rows = meaning.predictions(&[0, 1], &outputs, 2);
    let Predicted::Both(first) = &rows[0] else { panic!("{rows:?}") };
    assert_eq!(first.0, Class::Number(1));
    assert_eq!(first.1.probabilities().expect("probabilities")[..], [0.25, 0.75]);
    let Predicted::Both(second) = &rows[1] else { panic!("{rows:?}") };
    assert_eq!(second.1.likeliest(), Some(0), "the first of two that are alike");

    // A caller that asks for scores alone, and one that asks for something else.
    let rows = meaning.predictions(&[1], &outputs[1..], 2);
    assert!(matches!(rows[0], Predicted::Scores(_)));
    assert_eq!(meaning.predictions(&[], &[], 2)[..], [Predicted::Nothing, Predicted::Nothing]);
    // Another number of rows than the request had.
    let three = [floats(&[3, 2], &[0.5; 6])];
    assert_eq!(meaning.predictions(&[1], &three, 2)[0], Predicted::Nothing);

    let text = Meaning::of(&[spec("label", DType::Bytes, &[-1], &[])], &Declared::default());
    let rows = text.predictions(&[0], &[texts(&["cat", "dög"])], 2);
    assert_eq!(rows[1], Predicted::Class(Class::Text("dög".into())));

    let number = Meaning::of(&[spec("y", DType::Fp32, &[-1, 1], &[])], &Declared::default());
    let rows = number.predictions(&[0], &[floats(&[2, 1], &[-2.5, f32::NAN])], 2);
    assert_eq!(rows[..], [Predicted::Value(-2.5), Predicted::Nothing]);

    let said = declared(r#"{"task": "classification", "scores": "y"}"#);
    let score = Meaning::of(&[spec("y", DType::Fp32, &[-1], &[])], &said);
    assert_eq!(
        score.predictions(&[0], &[floats(&[1], &[0.5])], 1)[0],
        Predicted::Score(0.5, DType::Fp32)
    );
}

#[test]
fn scores_are_probabilities_only_where_they_add_up() {
    let of = |values: &[f32]| {
        let tensor = floats(&[1, values.len() as i64], values);
        Scores::of_row(&tensor, 0, 1).expect("a row").probabilities().is_some()
    };
    assert!(of(&[0.0, 1.0]) && of(&[0.3333, 0.3333, 0.3333]));
    assert!(!of(&[0.5, 0.6]) && !of(&[-0.5, 1.5]) && !of(&[f32::NAN, 1.0]) && !of(&[3.0, -1.0]));
}

#[test]
fn many_classes_keep_the_likeliest() {
    let columns = MOST_SCORES + 1;
    let meaning =
        Meaning::of(&[spec("p", DType::Fp32, &[-1, columns as i64], &[])], &Declared::default());
    let mut values = vec![0.0; columns];
    values[7] = 1.0;
    let rows = meaning.predictions(&[0], &[floats(&[1, columns as i64], &values)], 1);
    assert_eq!(rows[..], [Predicted::Class(Class::Number(7))]);
}
