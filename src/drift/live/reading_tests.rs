//! What a scrape sees of versions that are watched.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::reading::readings;
use super::room::{MAX_EXPORTED, MAX_SERIES};
use super::tests::profile;
use super::*;
use crate::drift::bins::MAX_BINS;
use crate::telemetry::{Telemetry, TelemetryOptions};
use crate::types::{Digest, ModelName, Shape, Signature, Tensor, Version};

fn signature() -> Signature {
    serde_json::from_value(json!({
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": [-1, 200]},
            {"name": "plan", "datatype": "BYTES", "shape": [-1, 1]},
        ],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}],
    }))
    .expect("a signature")
}

fn age(name: &str, place: usize) -> Value {
    json!({
        "name": name, "tensor": "x", "index": [place], "kind": "numeric", "edges": [20, 40],
        "counts": [500, 700, 300], "min": 0, "max": 80, "p001": 0, "p999": 80, "mean": 30,
        "std": 10, "dispersion": 1.25,
    })
}

fn plan() -> Value {
    json!({
        "name": "plan", "tensor": "plan", "kind": "categorical", "categories": ["a", "b"],
        "counts": [900, 600], "other": 0, "dictionary": ["c"],
    })
}

fn score() -> Value {
    json!({
        "name": "p", "tensor": "y", "kind": "score", "edges": [0.5], "counts": [900, 600],
        "min": 0, "max": 1, "p001": 0, "p999": 1, "mean": 0.4, "std": 0.2,
    })
}

fn watch(model: &str, version: &str, inputs: &[Value]) -> Arc<Watch> {
    let model = ModelName::parse(model).expect("a name");
    let version = Version::parse(version).expect("a version");
    let found = Found {
        profile: profile(inputs, &[score()]),
        digest: Digest::new([0xAB; 32]),
        source: ProfileSource::Sidecar,
    };
    let watch = Watch::by(&model, version, found, &signature(), 1);
    assert!(watch.active().is_some(), "{:?}", watch.standing);
    watch
}

fn numbers(dims: &[i64], values: &[f32]) -> Tensor {
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let shape = Shape::new(dims.iter().copied()).expect("a shape");
    Tensor::new(crate::types::DType::Fp32, shape, data.into()).expect("a tensor")
}

/// Counts rows of one age; all other numbers are 0, and the score is 0.25.
fn count(watch: &Watch, role: Role, ages: &[f32]) {
    let rows = ages.len() as i64;
    let mut values = vec![0.0; ages.len() * 200];
    ages.iter().enumerate().for_each(|(row, age)| values[row * 200] = *age);
    let (x, y) = (numbers(&[rows, 200], &values), numbers(&[rows], &vec![0.25; ages.len()]));
    let texts: Vec<u8> = [1, 0, 0, 0, b'a'].repeat(ages.len());
    let shape = Shape::new([rows, 1]).expect("a shape");
    let plan = Tensor::new(crate::types::DType::Bytes, shape, texts.into()).expect("a tensor");
    let rows = Rows { inputs: &[x, plan], wanted: &[0], outputs: &[y] };
    assert!(watch.active().expect("a profile").count(role, rows));
}

/// Looks at the counts, as the worker does.
fn look(watch: &Watch) {
    let active = watch.active().expect("a profile");
    for role in Role::ALL {
        let Some(total) = active.total(role) else { continue };
        let mut monitor = Monitor::new(&active.profile, &DriftOptions::default());
        let report = monitor.step(&active.profile, 0, &total);
        active.reports[role as usize].store(Some(Arc::new(report)));
    }
}

/// The samples of drift on the page.
fn page(watches: &[Arc<Watch>]) -> Vec<String> {
    let telemetry = Telemetry::new(TelemetryOptions::default());
    let watches = watches.to_vec();
    telemetry.drift().set_source(Box::new(move || readings(&watches, 2)));
    let page = telemetry.render();
    let samples = page.lines().filter(|line| line.starts_with("modelgate_drift_"));
    let samples: Vec<String> = samples.map(str::to_owned).collect();
    let series: BTreeSet<&str> =
        samples.iter().filter_map(|line| Some(line.rsplit_once(' ')?.0)).collect();
    assert_eq!(series.len(), samples.len(), "a series stands twice");
    samples
}

#[track_caller]
fn assert_sample(page: &[String], sample: &str) {
    assert!(page.iter().any(|line| line == sample), "{sample} is missing in:\n{}", page.join("\n"));
}

const OWN: &str = r#"model="m",version="3",profile="abababababab""#;

#[test]
fn every_bin_is_there_before_the_first_row() {
    let page = page(&[watch("m", "3", &[age("age", 0), plan()])]);
    for (feature, bins, rows) in [("age", 3, 500), ("plan", 3, 900), ("p", 2, 900)] {
        for bin in 0..bins {
            let labels = format!(r#"{OWN},feature="{feature}",role="primary",bin="0{bin}""#);
            assert_sample(&page, &format!("modelgate_drift_observations_total{{{labels}}} 0"));
        }
        let labels = format!(r#"{OWN},feature="{feature}",bin="00""#);
        assert_sample(&page, &format!("modelgate_drift_reference_rows{{{labels}}} {rows}"));
    }
    for sample in [
        r#"missing_total{OWN,feature="age",role="primary"} 0"#,
        r#"out_of_range_total{OWN,feature="age",role="primary",side="below"} 0"#,
        r#"new_category_total{OWN,feature="plan",role="primary"} 0"#,
        r#"invalid_total{OWN,feature="age",role="primary",reason="infinite"} 0"#,
        r#"saturated_total{OWN,feature="p",role="primary"} 0"#,
        r#"scaled_sum_total{OWN,feature="age",role="primary"} 0"#,
        r#"dispersion_ratio{OWN,feature="age"} 1.25"#,
        r#"profile_state{OWN,state="active"} 1"#,
        r#"profile_state{OWN,state="none"} 0"#,
        r#"features_unexported{model="m",version="3"} 0"#,
    ] {
        assert_sample(&page, &format!("modelgate_drift_{}", sample.replace("OWN", OWN)));
    }
    let sha256 = "ab".repeat(32);
    assert_sample(
        &page,
        &format!(r#"modelgate_drift_profile_info{{{OWN},source="sidecar",sha256="{sha256}"}} 1"#),
    );
    let never = ["shadow", "evidence", "psi", "drift_alarm", "drift_features{"];
    for part in never {
        assert!(!page.iter().any(|line| line.contains(part)), "{part}");
    }
    assert!(
        !page.iter().any(|line| line.contains(r#"new_category_total{"#) && line.contains("age"))
    );
    assert!(!page.iter().any(|line| line.contains("scaled") && line.contains("plan")));
}

#[test]
fn counts_are_those_of_the_moment_and_scores_those_of_the_last_look() {
    let watch = watch("m", "3", &[age("age", 0), plan()]);
    count(&watch, Role::Primary, &[-1.0, 5.0, 30.0, 50.0, 90.0, f32::NAN, f32::INFINITY]);
    count(&watch, Role::Shadow, &[30.0; 4000]);
    look(&watch);
    count(&watch, Role::Primary, &[30.0]);
    let page = page(&[watch]);
    for sample in [
        r#"observations_total{OWN,feature="age",role="primary",bin="00"} 2"#,
        r#"observations_total{OWN,feature="age",role="primary",bin="01"} 2"#,
        r#"observations_total{OWN,feature="age",role="primary",bin="02"} 2"#,
        r#"observations_total{OWN,feature="age",role="shadow",bin="01"} 4000"#,
        r#"missing_total{OWN,feature="age",role="primary"} 1"#,
        r#"invalid_total{OWN,feature="age",role="primary",reason="infinite"} 1"#,
        r#"invalid_total{OWN,feature="age",role="primary",reason="unreadable"} 0"#,
        r#"out_of_range_total{OWN,feature="age",role="primary",side="below"} 1"#,
        r#"out_of_range_total{OWN,feature="age",role="primary",side="above"} 1"#,
        r#"scaled_sum_total{OWN,feature="age",role="shadow"} 1500"#,
        r#"scaled_squares_total{OWN,feature="age",role="shadow"} 562.5"#,
        r#"features{OWN,role="primary",window="1h",state="insufficient"} 3"#,
        r#"features{OWN,role="primary",window="24h",state="drifted"} 0"#,
        r#"features{OWN,role="shadow",window="1h",state="warning"} 3"#,
        r#"alarm{OWN,feature="age",role="shadow",window="1h"} 0"#,
    ] {
        assert_sample(&page, &format!("modelgate_drift_{}", sample.replace("OWN", OWN)));
    }
    let told = |family: &str, role: &str| {
        let (family, role) = (format!("modelgate_drift_{family}{{"), format!("role=\"{role}\""));
        page.iter().filter(|line| line.starts_with(&family) && line.contains(&role)).count()
    };
    for family in ["psi", "psi_adjusted", "js_distance"] {
        assert_eq!(told(family, "shadow"), 6, "{family}: three features, two windows");
        assert_eq!(told(family, "primary"), 0, "{family} of seven rows says nothing");
    }
    for family in ["ks_statistic", "wasserstein_stddevs"] {
        assert_eq!(told(family, "shadow"), 4, "{family}: texts have no order");
    }
    assert_eq!((told("evidence_log10", "shadow"), told("evidence_log10", "primary")), (3, 0));
}

#[test]
fn what_has_no_profile_is_said_to_have_none() {
    let model = ModelName::parse("m").expect("a name");
    let page = page(&[Watch::none(&model, Version::FIRST, "no profile".to_owned())]);
    let labels = r#"model="m",version="1",profile="""#;
    assert_sample(&page, &format!(r#"modelgate_drift_profile_state{{{labels},state="none"}} 1"#));
    assert_sample(&page, &format!(r#"modelgate_drift_profile_state{{{labels},state="active"}} 0"#));
    assert!(!page.iter().any(|line| line.contains("profile_info")));
}

/// One scrape has a series once, and counters that do not fall and rise.
#[test]
fn a_version_that_is_loaded_anew_is_read_where_it_serves() {
    let serving = watch("m", "3", &[age("age", 0)]);
    count(&serving, Role::Primary, &[30.0]);
    let loading = watch("m", "3", &[age("age", 0), plan()]);
    let page = page(&[serving, loading]);
    let labels = format!(r#"{OWN},feature="age",role="primary",bin="01""#);
    assert_sample(&page, &format!("modelgate_drift_observations_total{{{labels}}} 1"));
    assert!(!page.iter().any(|line| line.contains("plan")));
}

#[test]
fn series_are_bounded_and_what_is_left_out_is_told() {
    let inputs: Vec<Value> = (0..100).map(|at| age(&format!("i{at}"), at)).collect();
    let watches: Vec<Arc<Watch>> = (0..9)
        .flat_map(|model| ["1", "2", "3", "4"].map(|version| (format!("m{model}"), version)))
        .map(|(model, version)| watch(&model, version, &inputs))
        .collect();
    for watch in &watches {
        count(watch, Role::Primary, &[30.0; 2000]);
        count(watch, Role::Shadow, &[30.0; 2000]);
        look(watch);
    }
    let one = page(&watches[..1]);
    assert_sample(&one, r#"modelgate_drift_features_unexported{model="m0",version="1"} 37"#);
    let of = |page: &[String], part: &str| page.iter().filter(|line| line.contains(part)).count();
    assert_eq!(of(&one, "dispersion_ratio{"), MAX_EXPORTED);
    // An output takes turns with inputs, so it is among them.
    assert!(of(&one, r#"feature="p""#) > 0 && of(&one, r#"feature="i63""#) == 0);
    let all = page(&watches);
    let of_features = of(&all, r#",feature=""#);
    assert!((MAX_SERIES - 100..=MAX_SERIES).contains(&of_features), "{of_features}");
    assert_sample(&all, r#"modelgate_drift_features_unexported{model="m8",version="1"} 101"#);
    assert_eq!(of(&all, "features_unexported{"), 36);
}

/// All bins that a profile may have have a label.
#[test]
fn the_last_bin_has_a_label() {
    let values: Vec<usize> = (0..MAX_BINS - 1).collect();
    let column = json!({
        "name": "v", "tensor": "x", "index": [0], "kind": "values", "values": values,
        "counts": vec![100; MAX_BINS - 1], "other": 3, "min": 0, "max": 40, "p001": 0, "p999": 22,
        "mean": 11, "std": 6,
    });
    let page = page(&[watch("m", "3", &[column])]);
    let last = format!(r#"feature="v",bin="{}"}} 3"#, MAX_BINS - 1);
    assert!(page.iter().any(|line| line.ends_with(&last)), "{last}");
}
