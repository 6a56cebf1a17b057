//! Comparisons of a shadow's answers are those that numpy makes of the same pairs.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use bytes::Bytes;
use half::{bf16, f16};
use modelgate::routing::OutputKind;
use modelgate::shadow::compare::{Rules, compare};
use modelgate::types::{DType, Shape, Tensor};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

const CASES: usize = 4_000;

const NUMBERS: [DType; 13] = [
    DType::Bool,
    DType::Uint8,
    DType::Uint16,
    DType::Uint32,
    DType::Uint64,
    DType::Int8,
    DType::Int16,
    DType::Int32,
    DType::Int64,
    DType::Fp16,
    DType::Bf16,
    DType::Fp32,
    DType::Fp64,
];

#[derive(Clone, Debug)]
struct Case {
    rules: Rules,
    primary: Tensor,
    shadow: Tensor,
}

/// A number of the primary, and the shadow's beside it: the same, near, or any other.
fn numbers() -> impl Strategy<Value = (f64, f64)> {
    let odd = vec![0.0, -0.0, 0.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e-300];
    let number = prop_oneof![
        4 => -100.0..100.0f64,
        2 => 0.0..1.0f64,
        // So few that there are ties.
        2 => (0..4i32).prop_map(f64::from),
        1 => prop::sample::select(odd),
        1 => any::<i64>().prop_map(|wide| wide as f64),
    ];
    (number.clone(), number, -3e-3..3e-3f64, 0..10u8).prop_map(|(primary, other, nudge, how)| {
        match how {
            0..5 => (primary, primary),
            5..8 => (primary, primary * (1.0 + nudge)),
            _ => (primary, other),
        }
    })
}

/// The nearest number of the type, packed.
fn pack(dtype: DType, value: f64) -> Vec<u8> {
    match dtype {
        DType::Bool => vec![u8::from(value > 0.5)],
        DType::Uint8 => (value as u8).to_le_bytes().to_vec(),
        DType::Uint16 => (value as u16).to_le_bytes().to_vec(),
        DType::Uint32 => (value as u32).to_le_bytes().to_vec(),
        DType::Uint64 => (value as u64).to_le_bytes().to_vec(),
        DType::Int8 => (value as i8).to_le_bytes().to_vec(),
        DType::Int16 => (value as i16).to_le_bytes().to_vec(),
        DType::Int32 => (value as i32).to_le_bytes().to_vec(),
        DType::Int64 => (value as i64).to_le_bytes().to_vec(),
        DType::Fp16 => f16::from_f64(value).to_le_bytes().to_vec(),
        DType::Bf16 => bf16::from_f64(value).to_le_bytes().to_vec(),
        DType::Fp32 => (value as f32).to_le_bytes().to_vec(),
        DType::Fp64 => value.to_le_bytes().to_vec(),
        DType::Bytes => Vec::new(),
    }
}

fn case() -> impl Strategy<Value = Case> {
    let kinds = vec![OutputKind::ClassScores, OutputKind::Regression, OutputKind::Values];
    let rules = (
        prop::sample::select(kinds),
        prop::sample::select(vec![0.0, 1e-3, 0.1]),
        prop::sample::select(vec![0.0, 1e-5, 1.0]),
        0..7usize,
    );
    let rules = rules.prop_map(|(kind, rtol, atol, top_k)| Rules { kind, rtol, atol, top_k });
    let dims = prop_oneof![
        4 => (1..5i64, 2..8i64).prop_map(|(rows, columns)| vec![rows, columns]),
        1 => (2..8i64).prop_map(|columns| vec![columns]),
        1 => (1..3i64, 1..3i64, 2..5i64).prop_map(|(a, b, c)| vec![a, b, c]),
        1 => (2..5i64).prop_map(|columns| vec![0, columns]),
    ];
    (rules, prop::sample::select(&NUMBERS[..]), dims).prop_flat_map(|(rules, dtype, dims)| {
        let shape = Shape::new(dims).expect("a shape");
        prop::collection::vec(numbers(), shape.elements()).prop_map(move |pairs| {
            let tensor = |of: fn(&(f64, f64)) -> f64| {
                let data: Vec<u8> = pairs.iter().flat_map(|pair| pack(dtype, of(pair))).collect();
                Tensor::new(dtype, shape.clone(), Bytes::from(data)).expect("a tensor")
            };
            Case { rules, primary: tensor(|pair| pair.0), shadow: tensor(|pair| pair.1) }
        })
    })
}

fn hexadecimal(tensor: &Tensor) -> String {
    tensor.data().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn as_json(case: &Case) -> Value {
    json!({
        "kind": case.rules.kind,
        "rtol": case.rules.rtol,
        "atol": case.rules.atol,
        "top_k": case.rules.top_k,
        "datatype": case.primary.dtype().name(),
        "shape": case.primary.shape().dims(),
        "primary": hexadecimal(&case.primary),
        "shadow": hexadecimal(&case.shadow),
    })
}

/// What numpy says of the cases.
fn oracle(cases: &[Case]) -> Vec<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".cache/venv/bin/python");
    assert!(python.exists(), "{} is missing: run `make setup-tests`", python.display());
    let mut child = Command::new(python)
        .arg(root.join("tests/shadow/oracle.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    let question = serde_json::to_vec(&cases.iter().map(as_json).collect::<Vec<_>>());
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(&question.expect("JSON")).expect("python reads");
    drop(stdin);
    let output = child.wait_with_output().expect("python ends");
    assert!(output.status.success(), "{}", output.status);
    serde_json::from_slice(&output.stdout).expect("a list of figures")
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

fn assert_same(what: &str, case: &Case, ours: Option<f64>, theirs: &Value) {
    let theirs = number(theirs);
    let same = match (ours, theirs) {
        (Some(ours), Some(theirs)) => {
            ours == theirs || (ours - theirs).abs() <= 1e-6 * theirs.abs().max(1.0)
        }
        (ours, theirs) => ours == theirs,
    };
    assert!(same, "{what}: {ours:?} instead of {theirs:?} of {case:#?}");
}

#[test]
fn figures_are_those_of_numpy() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[4; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = case();
    let cases: Vec<Case> =
        (0..CASES).map(|_| strategy.new_tree(&mut runner).expect("a case").current()).collect();
    let (mut agreeing, mut overlapping) = (0, 0);
    for (case, theirs) in cases.iter().zip(oracle(&cases)) {
        let ours = compare(&case.primary, &case.shadow, &case.rules);
        assert_eq!(Some(ours.agrees), theirs["agrees"].as_bool(), "{case:#?}");
        let errors = ours.errors.expect("numbers");
        assert_same("overlap", case, ours.top_k_overlap, &theirs["overlap"]);
        assert_same("max", case, Some(errors.max_absolute), &theirs["max_absolute"]);
        assert_same("mean", case, Some(errors.mean_absolute), &theirs["mean_absolute"]);
        assert_same("relative", case, Some(errors.max_relative), &theirs["max_relative"]);
        agreeing += usize::from(ours.agrees);
        overlapping += usize::from(ours.top_k_overlap.is_some_and(|o| o > 0.0 && o < 1.0));
    }
    // The cases tell right from wrong.
    assert!((CASES / 10..CASES * 9 / 10).contains(&agreeing), "{agreeing} agree");
    assert!(overlapping > CASES / 50, "{overlapping} overlap in part");
}
