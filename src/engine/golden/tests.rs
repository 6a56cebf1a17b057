//! Golden files, read and compared.

use std::sync::Arc;

use super::*;
use crate::engine::RunOutputs;
use crate::types::{DType, Dim, Signature, TensorSpec};

/// Answers with its inputs.
struct Echo(Signature);

impl Engine for Echo {
    fn signature(&self) -> &Signature {
        &self.0
    }

    fn memory_bytes(&self) -> u64 {
        0
    }

    fn run(
        &self,
        inputs: &[Input<'_>],
        wanted: &[usize],
        deadline: Option<Instant>,
    ) -> Result<RunOutputs, EngineError> {
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(EngineError::Stopped);
        }
        let tensor = |index: &usize| {
            let input = &inputs[*index];
            let shape = crate::types::Shape::new(input.shape.iter().copied()).expect("a shape");
            Tensor::new(input.dtype, shape, input.data.to_vec().into()).expect("a tensor")
        };
        Ok(wanted.iter().map(tensor).collect())
    }
}

fn echo(dtypes: &[DType]) -> Echo {
    let specs = |prefix: &str| {
        let spec = |(index, dtype): (usize, &DType)| TensorSpec {
            name: format!("{prefix}{index}").into(),
            dtype: *dtype,
            dims: vec![Dim::Free(None)],
            labels: Arc::from([]),
        };
        dtypes.iter().enumerate().map(spec).collect()
    };
    Echo(Signature { inputs: specs("x"), outputs: specs("y") })
}

fn tensor(name: &str, dtype: DType, count: usize, data: &str) -> String {
    format!(r#"{{"name":"{name}","datatype":"{dtype}","shape":[{count}],"data":{data}}}"#)
}

/// One case of one input and one output.
fn case(dtype: DType, count: usize, given: &str, expected: &str) -> String {
    format!(
        r#"{{"inputs":[{}],"outputs":[{}]}}"#,
        tensor("x0", dtype, count, given),
        tensor("y0", dtype, count, expected)
    )
}

fn verdict(dtype: DType, count: usize, given: &str, expected: &str) -> Result<usize, GoldenError> {
    let golden = Golden::parse(case(dtype, count, given, expected).as_bytes())?;
    check(&echo(&[dtype]), &golden, None)
}

#[test]
fn every_datatype_is_read_and_compared() {
    for dtype in DType::ALL {
        let (same, other) = match dtype {
            DType::Bool => ("[true,[false]]", "[true,true]"),
            DType::Bytes => (r#"["a","b\u00e9"]"#, r#"["a","b"]"#),
            _ => ("[[1],2]", "[1,3]"),
        };
        assert_eq!(verdict(dtype, 2, same, same), Ok(1), "{dtype}");
        let wrong = verdict(dtype, 2, same, other);
        assert!(matches!(wrong, Err(GoldenError::Value { index: 1, wrong: 1, .. })), "{dtype}");
    }
}

#[test]
fn extremes_keep_their_value() {
    for (dtype, value) in [
        (DType::Uint64, "18446744073709551615"),
        (DType::Int64, "-9223372036854775808"),
        (DType::Int8, "-128"),
    ] {
        let shown = verdict(dtype, 1, &format!("[{value}]"), "[0]").expect_err("not zero");
        assert!(shown.to_string().contains(&format!("expected 0, got {value}")), "{shown}");
    }
}

#[test]
fn floats_agree_within_the_tolerance() {
    let verdict = |given, expected| verdict(DType::Fp32, 1, given, expected).is_ok();
    assert!(verdict("[100.09]", "[100]"));
    assert!(!verdict("[100.2]", "[100]"));
    assert!(verdict("[0.000009]", "[0]"));
    assert!(!verdict("[0.0001]", "[0]"));
    assert!(verdict("[NaN]", "[NaN]") && !verdict("[NaN]", "[1]") && !verdict("[1]", "[NaN]"));
    assert!(verdict("[-Infinity]", "[-Infinity]") && !verdict("[1]", "[Infinity]"));
    assert!(!verdict("[Infinity]", "[1]") && !verdict("[Infinity]", "[-Infinity]"));
    let exact = case(DType::Fp32, 1, "[1.0001]", "[1]").replacen('{', r#"{"rtol":0,"atol":0,"#, 1);
    let golden = Golden::parse(exact.as_bytes()).expect("a golden file");
    assert!(check(&echo(&[DType::Fp32]), &golden, None).is_err());
}

#[test]
fn the_message_says_where_and_what() {
    let golden = format!(
        r#"{{"cases":[{},{}]}}"#,
        case(DType::Int32, 3, "[1,2,3]", "[1,2,3]"),
        case(DType::Int32, 3, "[1,2,3]", "[1,-2,4]")
    );
    let golden = Golden::parse(golden.as_bytes()).expect("a golden file");
    let error = check(&echo(&[DType::Int32]), &golden, None).expect_err("two are wrong");
    assert_eq!(
        error.to_string(),
        "golden.json, case 2, output 'y0', element 1: expected -2, got 2 (2 of 3 elements are \
         wrong)"
    );
    let long = format!("[\"{}\"]", "é".repeat(500));
    let error = verdict(DType::Bytes, 1, &long, "[\"\"]").expect_err("another text");
    assert!(error.to_string().len() < 300, "{error}");
}

#[test]
fn signatures_must_fit() {
    let engine = echo(&[DType::Fp32]);
    let check = |text: &str| {
        let golden = Golden::parse(text.as_bytes()).expect("a golden file");
        check(&engine, &golden, None).expect_err("a refusal").to_string()
    };
    let (x, y) = (tensor("x0", DType::Fp32, 1, "[1]"), tensor("y0", DType::Fp32, 1, "[1]"));
    let case =
        |inputs: &str, outputs: &str| format!(r#"{{"inputs":[{inputs}],"outputs":[{outputs}]}}"#);
    assert!(check(&case("", &y)).contains("input 'x0' is missing"));
    assert!(check(&case(&x.replace("x0", "z"), &y)).contains("no input 'z'"));
    assert!(check(&case(&x, &y.replace("y0", "z"))).contains("no output 'z'"));
    assert!(check(&case(&x.replace("FP32", "INT32"), &y)).contains("is given as INT32"));
    let two = tensor("y0", DType::Fp32, 2, "[1,1]");
    assert!(check(&case(&x, &two)).contains("expected FP32 [2], got FP32 [1]"));
}

#[test]
fn deadlines_are_kept() {
    let golden = Golden::parse(case(DType::Fp32, 1, "[1]", "[1]").as_bytes()).expect("golden");
    let stopped = check(&echo(&[DType::Fp32]), &golden, Some(Instant::now()));
    assert_eq!(stopped, Err(GoldenError::Run { case: 1, source: EngineError::Stopped }));
}

#[test]
fn broken_files_are_refused_with_a_reason() {
    let good = case(DType::Fp32, 1, "[1]", "[1]");
    let many = format!(r#"{{"cases":[{}]}}"#, vec![good.clone(); MOST_CASES + 1].join(","));
    let deep = good.replace("[1]}]", &format!("{}1{}}}]", "[".repeat(40), "]".repeat(40)));
    for (text, why) in [
        ("", "at line 1"),
        ("[]", "at line 1"),
        ("{}", "'inputs' is missing"),
        (r#"{"cases":[]}"#, "no cases"),
        (r#"{"cases":[{"inputs":[]}]}"#, "case 1: 'outputs' is missing"),
        (&good.replace("FP32", "FLOAT"), "'FLOAT' is not a datatype"),
        (&good.replace("\"shape\":[1]", "\"shape\":[2]"), "tensor 'x0': expected 8 bytes"),
        (&good.replace("\"shape\":[1]", "\"shape\":[-1]"), "negative"),
        (&good.replace("\"data\":[1]", "\"data\":[\"1\"]"), "at line 1"),
        (&good.replace("FP32", "INT8").replace("\"data\":[1]", "\"data\":[1.5]"), "1.5 is no INT8"),
        (&good.replace("FP32", "INT8").replace("\"data\":[1]", "\"data\":[300]"), "300 is no INT8"),
        (&good.replacen('{', r#"{"rtol":-1,"#, 1), "'rtol' is -1"),
        (&good.replacen('{', r#"{"cases":[],"#, 1), "'cases' and also"),
        (&format!("{good}x"), "at line 1"),
        (&many, "more than 1000 cases"),
        (&deep, "nests too deep"),
    ] {
        let said = Golden::parse(text.as_bytes()).expect_err("a refusal").to_string();
        assert!(said.contains(why), "{}: {said}", &text[..text.len().min(200)]);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("golden.json");
    assert!(Golden::read(&path).expect("nothing is wrong").is_none());
    std::fs::write(&path, vec![b' '; MOST_BYTES as usize + 1]).expect("a file");
    assert!(Golden::read(&path).expect_err("too large").to_string().contains("larger than"));
}
