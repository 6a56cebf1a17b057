//! Profiles read what they write, and say what is wrong.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::build::{self, BuildOptions, ColumnSpec};
use super::profile::{Kind, MAX_PROFILE_BYTES, Profile, SCHEMA};
use super::{AlarmRule, Bins, Derived};
use crate::types::ModelName;

fn document() -> Value {
    json!({
        "schema": SCHEMA,
        "model": "churn",
        "model_sha256": format!("sha256:{}", "a5".repeat(32)),
        "created": "2026-01-01T00:00:00Z",
        "source": {"uri": "s3://bucket/train.parquet", "rows": 2000, "time_column": "ts"},
        "inputs": [
            {
                "name": "age", "tensor": "float_input", "index": [0], "kind": "numeric",
                "edges": [20.5, 40.5], "counts": [500, 900, 588], "missing": 12,
                "min": 18.0, "max": 90.0, "p001": 18.0, "p999": 88.0, "mean": 37.0, "std": 9.0,
                "dispersion": 1.27, "log": "keep",
            },
            {
                "name": "plan", "tensor": "plan", "kind": "categorical",
                "categories": ["a", "b"], "counts": [1000, 900], "other": 100, "dictionary": ["c"],
            },
            {
                "name": "doors", "tensor": "float_input", "index": [1], "kind": "values",
                "values": [2, 4], "counts": [1000, 900], "other": 100, "dictionary": [3, 5],
            },
            {
                "name": "words", "tensor": "text", "kind": "numeric", "derived": "words",
                "edges": [5], "counts": [900, 1000], "missing": 99, "invalid": 1,
                "min": 1, "max": 50, "p001": 1, "p999": 40, "mean": 7, "std": 3,
            },
        ],
        "outputs": [
            {
                "name": "score", "tensor": "probabilities", "index": [1], "kind": "score",
                "edges": [0.5], "counts": [600, 500],
                "min": 0.0, "max": 1.0, "p001": 0.0, "p999": 1.0, "mean": 0.5, "std": 0.2,
            },
            {
                "name": "label", "tensor": "label", "kind": "class",
                "values": [0, 1], "counts": [600, 500],
            },
        ],
        "calibration": {"x": [0.0, 0.5, 1.0], "y": [0.01, 0.4, 0.9]},
        "quality": {"metric": "roc_auc", "value": 0.97, "lower": 0.96, "upper": 0.98, "chunk": 5000},
        "alarm": {"psi": 0.2, "p": 1e-5, "min_rows": 500},
    })
}

fn parse(document: &Value) -> Result<Profile, String> {
    Profile::parse(document.to_string().as_bytes()).map_err(|error| error.to_string())
}

#[test]
fn a_profile_reads_what_it_writes() {
    let profile = parse(&document()).expect("a profile");
    assert_eq!(profile.columns().count(), 6);
    assert_eq!(Profile::parse(&profile.render()), Ok(profile.clone()));
    assert_eq!((profile.alarm.psi, profile.alarm.min_rows), (0.2, 500));
    assert_eq!(profile.alarm.hold_us, AlarmRule::default().hold_us);
    assert_eq!(profile.inputs[3].derived, Some(Derived::Words));
    let Bins::Categories(plans) = &profile.inputs[1].bins else { panic!("categories") };
    assert_eq!((plans.place(b"b"), plans.place(b"c"), plans.place(b"d")), (Some(1), Some(2), None));
    // The least share is 500 of 1988; what has no bin of its own does not count.
    assert_eq!(profile.inputs[0].min_rows(10), 20);
    assert_eq!(profile.inputs[1].min_rows(10), 12);
    assert_eq!(profile.inputs[1].min_rows(300), 300);
}

#[test]
fn a_hundred_columns_take_little() {
    let mut long = document();
    let column = json!({
        "name": "feature", "tensor": "float_input", "index": [0], "kind": "numeric",
        "edges": (1..10).map(|at| f64::from(0.1 * at as f32)).collect::<Vec<f64>>(),
        "counts": vec![200; 10], "missing": 0, "min": 0.01, "max": 0.99, "p001": 0.012_345_678,
        "p999": 0.987_654_321, "mean": 0.123_456_789_012, "std": 0.123_456_789_012, "dispersion": 1.234_567,
    });
    long["inputs"] = (0..100)
        .map(|at| {
            let mut column = column.clone();
            column["name"] = json!(format!("feature_{at}"));
            column
        })
        .collect();
    assert!(parse(&long).expect("a profile").render().len() <= 64 << 10);
}

/// Each change of the document, and what of the message says why it is wrong.
#[test]
fn what_is_wrong_is_said() {
    let edge = "/inputs/0/edges";
    let cases: &[(&str, Value, &[&str])] = &[
        ("/schema", json!("v0"), &["schema: expected modelgate.drift.profile/v1, found v0"]),
        ("/model", json!("../x"), &["model", "not a model name"]),
        ("/inputs/0/kind", json!("normal"), &["inputs[0].kind", "numeric"]),
        ("/inputs/0/name", json!(""), &["inputs[0].name: expected 1 to 128 characters"]),
        ("/inputs/0/name", json!("plan"), &["inputs[1]", "a second 'plan'", "rename"]),
        ("/outputs/0/name", json!("age"), &["outputs[0]", "a second 'age'"]),
        ("/inputs/0/index", json!(vec![0; 99]), &["index: expected at most"]),
        (
            edge,
            json!([20.5, 20.5]),
            &["inputs[0] ('age').edges: expected strictly increasing", "20.5 after 20.5"],
        ),
        (edge, json!([]), &["edges: expected 1 to 23"]),
        (edge, json!((0..24).collect::<Vec<u8>>()), &["edges: expected 1 to 23 of them, found 24"]),
        (edge, Value::Null, &["edges: expected numbers, found none"]),
        ("/inputs/0/counts", json!([500, 900]), &["counts: expected 3 counts", "found 2"]),
        (
            "/inputs/0/counts",
            json!([500, 900, 587]),
            &["expected 2000 with missing and invalid", "found 1999"],
        ),
        ("/inputs/0/counts", json!([-1, 900, 587]), &["inputs[0].counts"]),
        (
            "/outputs/0/counts",
            json!([600, 399]),
            &["at least 1000 values", "found 999", "min_reference_rows"],
        ),
        ("/inputs/0/counts", json!([u64::MAX, 1, 1]), &["2^53"]),
        ("/inputs/0/dispersion", json!(0.99), &["dispersion: expected 1 to"]),
        ("/inputs/0/std", json!(-1.0), &["std of 0 or more"]),
        ("/inputs/0/std", Value::Null, &["all of min, max"]),
        ("/inputs/0/p999", json!(91.0), &["min <= p001 <= p999 <= max"]),
        (
            "/inputs/1/categories",
            json!(["a", "a"]),
            &["categories: expected distinct texts, found 'a' twice"],
        ),
        ("/inputs/1/dictionary", json!(["a"]), &["'a' twice"]),
        ("/inputs/1/dictionary", json!([1.5]), &["dictionary: expected texts, found numbers"]),
        ("/inputs/2/dictionary", json!([4]), &["none of the values that have a bin, found 4"]),
        ("/inputs/2/dictionary", json!(["x"]), &["dictionary: expected numbers, found texts"]),
        ("/inputs/2/values", json!([4, 2]), &["values: expected strictly increasing"]),
        (
            "/calibration/y",
            json!([0.5, 0.4, 0.9]),
            &["calibration.y: expected probabilities that never fall"],
        ),
        (
            "/calibration/x",
            json!([0.5, 0.5, 0.9]),
            &["calibration.x: expected strictly increasing"],
        ),
        ("/quality/lower", json!(0.975), &["quality: expected lower <= value <= upper"]),
        ("/alarm/psi", json!(0.0), &["alarm.psi: expected a number above 0"]),
        (
            "/alarm/psi",
            json!(0.01),
            &["alarm.warning_psi: expected a number above 0, at most alarm.psi (0.01)"],
        ),
        ("/alarm/p", json!(1.0), &["alarm.p: expected a probability"]),
        ("/alarm/min_rows", json!(0), &["alarm.min_rows: expected 1 or more"]),
    ];
    for (path, value, expected) in cases {
        let mut document = document();
        *document.pointer_mut(path).expect("a path") = value.clone();
        let error = parse(&document).expect_err(path);
        let all = expected.iter().all(|part| error.contains(part));
        assert!(all, "{path} {value}: {error}");
    }
}

#[test]
fn fields_belong_to_kinds() {
    for (at, field, value) in [
        (0, "values", json!([1, 2])),
        (0, "other", json!(3)),
        (1, "edges", json!([1])),
        (2, "categories", json!(["a"])),
        (0, "edgse", json!([1])),
    ] {
        let mut document = document();
        document["inputs"][at][field] = value;
        let error = parse(&document).expect_err(field);
        assert!(error.contains(field), "{error}");
    }
    assert!(Profile::parse(b"{").is_err_and(|error| error.to_string().contains("not a profile")));
    let long = vec![b' '; MAX_PROFILE_BYTES + 1];
    assert!(Profile::parse(&long).is_err_and(|error| error.to_string().contains("at most")));
    let twice = format!("{}{{}}", document());
    assert!(Profile::parse(twice.as_bytes()).is_err(), "two documents");
    let mut none = document();
    (none["inputs"], none["outputs"]) = (json!([]), json!([]));
    assert!(parse(&none).expect_err("no column").contains("1 to 1024 columns"));
}

#[test]
fn a_small_reference_has_to_be_meant() {
    let mut small = document();
    small["source"]["rows"] = Value::Null;
    small["inputs"][0]["counts"] = json!([50, 50, 50]);
    assert!(parse(&small).expect_err("150 rows").contains("min_reference_rows"));
    small["alarm"]["min_reference_rows"] = json!(100);
    assert_eq!(parse(&small).map(|profile| profile.min_reference_rows), Ok(100));
}

proptest! {
    /// Every number is read as it was written, to the last bit: a value that
    /// is an edge has to stay in its bin.
    #[test]
    fn built_columns_survive_their_document(
        values in proptest::collection::vec(any::<f32>().prop_filter("finite", |x| x.is_finite()), 30..200),
        scale in 1e-30..1e30f64,
    ) {
        let spec = ColumnSpec::new("x", "x", Kind::Score);
        let pass = || values.iter().map(|value| build::Value::Number(f64::from(*value) * scale));
        let Ok(column) = build::column(spec, BuildOptions::default(), pass) else {
            return Err(TestCaseError::reject("all equal"));
        };
        let profile = Profile {
            model: ModelName::parse("m").expect("a name"),
            model_digest: None,
            created: None,
            source: None,
            inputs: vec![column],
            outputs: Vec::new(),
            calibration: None,
            quality: None,
            alarm: AlarmRule::default(),
            min_reference_rows: 10,
        };
        prop_assert_eq!(Profile::parse(&profile.render()), Ok(profile));
    }
}
