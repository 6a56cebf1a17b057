use bytes::Bytes;

use super::*;
use crate::predictions::record::{Form, Prediction};
use crate::types::{Dim, Shape};

fn spec(name: &str, dtype: DType, dims: &[i64]) -> TensorSpec {
    let dims = dims.iter().map(|size| Dim::from(*size)).collect();
    TensorSpec { name: name.into(), dtype, dims, labels: Arc::from([]) }
}

fn signature() -> Signature {
    Signature {
        inputs: vec![spec("x", DType::Fp32, &[-1, 3]), spec("name", DType::Bytes, &[-1, 1])],
        outputs: vec![spec("score", DType::Fp32, &[-1, 2])],
    }
}

fn recorder(policy: Policy) -> (Recorder, Vec<String>) {
    Recorder::new(
        &ModelName::parse("m").expect("a name"),
        Version::FIRST,
        &Digest::new([7; 32]),
        &signature(),
        &Arc::new(policy),
        &Hasher::new(b"key"),
    )
}

fn floats(shape: &[i64], values: &[f32]) -> Tensor {
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let shape = Shape::new(shape.iter().copied()).expect("a shape");
    Tensor::new(DType::Fp32, shape, Bytes::from(data)).expect("a tensor")
}

fn texts(values: &[&str]) -> Tensor {
    let data: Vec<u8> = values
        .iter()
        .flat_map(|text| [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat())
        .collect();
    let shape = Shape::new([values.len() as i64, 1]).expect("a shape");
    Tensor::new(DType::Bytes, shape, Bytes::from(data)).expect("a tensor")
}

fn recorded(recorder: &Recorder) -> Prediction {
    let inputs =
        [floats(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), texts(&["Zoë Ångström", "Bob"])];
    let outputs = [floats(&[2, 2], &[0.1, 0.9, 0.8, 0.2])];
    let mut payload = Vec::new();
    let head = Head { schema: recorder.id, rows: 2, ..Head::default() };
    recorder.encode(&head, &inputs, &[0], &outputs, &mut payload);
    Prediction::decode(&Bytes::from(payload)).expect("a record")
}

fn features<const N: usize>(features: [(&str, Treatment); N]) -> Policy {
    let features = features.map(|(name, treatment)| (name.to_owned(), treatment)).into();
    Policy { features, ..Policy::default() }
}

fn rows(form: &Form) -> &[u8] {
    match form {
        Form::Rows(bytes) => bytes,
        other => panic!("not rewritten: {other:?}"),
    }
}

#[test]
fn numbers_are_kept_and_texts_dropped_where_nothing_is_said() {
    let (recorder, problems) = recorder(Policy::default());
    assert!(problems.is_empty(), "{problems:?}");
    let found = recorded(&recorder);
    assert_eq!(found.inputs.len(), 1);
    assert!(matches!(&found.inputs[0].form, Form::Raw(data) if data.len() == 24));
    assert!(matches!(&found.outputs[0].form, Form::Raw(data) if data.len() == 16));
    let names: Vec<_> =
        recorder.schema.inputs[0].columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["x_0", "x_1", "x_2"]);
    assert_eq!(recorder.schema.inputs[1].columns[0].name, "name");
}

#[test]
fn columns_are_dropped_binned_and_hashed_row_by_row() {
    let (recorder, problems) = recorder(features([
        ("x_0", Treatment::Drop),
        ("x_1", Treatment::Bin(vec![2.0, 5.0])),
        ("name", Treatment::Hash),
    ]));
    assert!(problems.is_empty(), "{problems:?}");
    let found = recorded(&recorder);
    let row = |bin: u16, kept: f32| [&bin.to_le_bytes()[..], &kept.to_le_bytes()].concat();
    assert_eq!(rows(&found.inputs[0].form), [row(1, 3.0), row(2, 6.0)].concat());
    let hasher = Hasher::new(b"key");
    let hashes = [hasher.hash("Zoë Ångström".as_bytes()), hasher.hash(b"Bob")].concat();
    assert_eq!(rows(&found.inputs[1].form), hashes);
}

#[test]
fn a_text_is_cut_between_characters() {
    let (recorder, _) = recorder(features([("name", Treatment::Truncate(3))]));
    let found = recorded(&recorder);
    assert_eq!(rows(&found.inputs[1].form), "\u{4}\0\0\0Zoë\u{3}\0\0\0Bob".as_bytes());
}

#[test]
fn columns_have_the_names_that_were_given() {
    let names = [("x".to_owned(), ["age", "income", "debt"].map(str::to_owned).to_vec())].into();
    let (recorder, problems) =
        recorder(Policy { names, ..features([("income", Treatment::Drop)]) });
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(recorder.schema.inputs[0].columns[1].name, "income");
    assert_eq!(rows(&recorded(&recorder).inputs[0].form).len(), 2 * 2 * 4);
}

#[test]
fn what_the_policy_cannot_mean_is_said_and_nothing_leaks() {
    let (recorder, problems) = recorder(Policy {
        names: [("x".to_owned(), vec!["one".to_owned()])].into(),
        outputs: [("scores".to_owned(), Treatment::Drop)].into(),
        ..features([("x_1", Treatment::Truncate(3)), ("nmae", Treatment::Hash)])
    });
    assert_eq!(problems.len(), 4, "{problems:?}");
    assert_eq!(rows(&recorded(&recorder).inputs[0].form).len(), 2 * 2 * 4, "x_1 is dropped");
}

#[test]
fn large_rows_become_a_digest() {
    let policy = Policy { max_tensor_bytes: 11, ..Policy::default() };
    let (recorder, _) = recorder(policy);
    let found = recorded(&recorder);
    assert!(matches!(found.inputs[0].form, Form::Digest(of) if of.mean == 3.5));
    assert!(matches!(found.outputs[0].form, Form::Raw(_)), "8 bytes a row");
}

#[test]
fn shares_of_units_are_nested() {
    let of = |sample| recorder(Policy { sample, ..Policy::default() }).0;
    let (none, tenth, half, all) = (of(0.0), of(0.1), of(0.5), of(1.0));
    let units: Vec<u64> =
        (0..20_000u64).map(|i| twox_hash::XxHash64::oneshot(0, &i.to_le_bytes())).collect();
    let count = |recorder: &Recorder| units.iter().filter(|unit| recorder.keeps(**unit)).count();
    assert_eq!((count(&none), count(&all)), (0, 20_000));
    assert!((1_850..2_150).contains(&count(&tenth)), "{}", count(&tenth));
    assert!(units.iter().all(|unit| !tenth.keeps(*unit) || half.keeps(*unit)));
    assert!(all.keeps(u64::MAX));
}
