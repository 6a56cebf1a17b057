//! What counting a value costs, a scrape of the counts, and a look at them.
//! Bars: 5 ns per number, 25 ns per category; 10 ms per scrape of three
//! versions with 64 features each.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use modelgate::drift::bins::{CategoryBins, EdgeBins, Scale, ValueBins};
use modelgate::drift::live::{
    Drift, DriftOptions, Found, Monitor, ProfileSource, Role, Rows, Watch,
};
use modelgate::drift::{Bins, Detector, DetectorOptions, Profile, Tally};
use modelgate::telemetry::{Telemetry, TelemetryOptions};
use modelgate::types::{DType, Digest, ModelName, Shape, Signature, Tensor, Version};
use serde_json::json;

const VALUES: usize = 10_000;

/// SplitMix64 from a fixed seed: values that no branch predictor knows.
fn random() -> impl Iterator<Item = u64> {
    let mut state = 1u64;
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    })
}

fn edges(bins: usize) -> Bins {
    let edges = (1..bins).map(|edge| edge as f64 / bins as f64).collect();
    Bins::Edges(EdgeBins::new(edges, 0.0, 1.0, Scale::new(0.0, 1.0), false))
}

fn numbers(c: &mut Criterion) {
    let share = |bits: u64| f64::from((bits >> 11) as f32 / (1u64 << 53) as f32);
    let even: Vec<f64> = random().map(share).take(VALUES).collect();
    let few: Vec<f64> = random().map(|bits| (bits % 12) as f64).take(VALUES).collect();
    let values = ValueBins::new((0..12).map(f64::from).collect(), None, Scale::new(0.0, 11.0));
    let cases = [
        ("numeric, 10 bins", edges(10), &even),
        ("numeric, 20 bins", edges(20), &even),
        ("12 values", Bins::Values(values), &few),
    ];
    let mut group = c.benchmark_group("drift");
    group.throughput(Throughput::Elements(VALUES as u64));
    for (name, bins, values) in cases {
        let mut tally = Tally::new(bins.count());
        group.bench_function(name, |b| {
            b.iter(|| {
                values.iter().for_each(|value| bins.count_number(black_box(*value), &mut tally))
            });
        });
        black_box(tally);
    }
    group.finish();
}

fn categories(c: &mut Criterion) {
    let name = |at: u64| format!("category-{at}");
    let own: Vec<String> = (0..23).map(name).collect();
    let rest: Vec<String> = (23..1000).map(name).collect();
    let cases = [
        ("23 categories", CategoryBins::new(own.clone(), Some(Vec::new())), 23),
        ("23 categories, 977 others", CategoryBins::new(own, Some(rest)), 1000),
    ];
    let mut group = c.benchmark_group("drift");
    group.throughput(Throughput::Elements(VALUES as u64));
    for (case, bins, distinct) in cases {
        let texts: Vec<String> = random().map(|bits| name(bits % distinct)).take(VALUES).collect();
        let bins = Bins::Categories(bins);
        let mut tally = Tally::new(bins.count());
        group.bench_function(case, |b| {
            b.iter(|| {
                texts
                    .iter()
                    .for_each(|text| bins.count_text(black_box(text.as_bytes()), &mut tally));
            });
        });
        black_box(tally);
    }
    group.finish();
}

fn sequential(c: &mut Criterion) {
    let places: Vec<usize> = random().map(|bits| (bits % 10) as usize).take(VALUES).collect();
    let mut detector = Detector::new(&[1000; 10], DetectorOptions::default());
    let mut group = c.benchmark_group("drift");
    group.throughput(Throughput::Elements(VALUES as u64));
    group.bench_function("sequential, 10 bins", |b| {
        b.iter(|| {
            for bin in &places {
                detector.add(black_box(*bin));
            }
        });
    });
    group.finish();
}

/// So many features of ten bins.
fn profile(features: usize) -> Profile {
    let feature = |at: usize| {
        json!({
            "name": format!("feature_{at}"), "tensor": "x", "index": [at], "kind": "numeric",
            "edges": (1..10).map(|edge| f64::from(edge) / 10.0).collect::<Vec<_>>(),
            "counts": [1000, 1010, 990, 1020, 980, 1000, 1001, 999, 1003, 997],
            "min": 0, "max": 1, "p001": 0.001, "p999": 0.999, "mean": 0.5, "std": 0.289,
            "dispersion": 1.0 + at as f64 / 7.0,
        })
    };
    let document = json!({
        "schema": "modelgate.drift.profile/v1", "model": "churn",
        "inputs": (0..features).map(feature).collect::<Vec<_>>(),
    });
    Profile::parse(document.to_string().as_bytes()).expect("a profile")
}

/// Rows of numbers from 0 to 1.
fn rows(rows: usize, features: usize) -> Tensor {
    let numbers = random().map(|bits| (bits >> 40) as f32 / (1u64 << 24) as f32);
    let data: Vec<u8> = numbers.take(rows * features).flat_map(f32::to_le_bytes).collect();
    let shape = Shape::new([rows as i64, features as i64]).expect("a shape");
    Tensor::new(DType::Fp32, shape, data.into()).expect("a tensor")
}

fn scrape(c: &mut Criterion) {
    const FEATURES: usize = 64;
    let telemetry = Telemetry::new(TelemetryOptions::default());
    let options = DriftOptions { every: Duration::from_millis(50), ..DriftOptions::default() };
    let drift = Drift::start(options, telemetry.drift()).expect("a thread");
    let signature: Signature = serde_json::from_value(json!({
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, FEATURES]}], "outputs": [],
    }))
    .expect("a signature");
    let model = ModelName::parse("churn").expect("a name");
    let watches: Vec<Arc<Watch>> = (1..=3)
        .map(|version| {
            let version = Version::parse(&version.to_string()).expect("a version");
            let digest = Digest::new([7; 32]);
            let source = ProfileSource::Sidecar;
            let found = Found { profile: profile(FEATURES), digest, source };
            Watch::by(&model, version, found, &signature, drift.shards())
        })
        .collect();
    let inputs = [rows(1000, FEATURES)];
    for watch in &watches {
        drift.follow(watch);
        drift.saw(watch, Role::Primary, Rows { inputs: &inputs, wanted: &[], outputs: &[] });
    }
    // Scores stand on the page once the counts were looked at.
    while telemetry.render().matches("modelgate_drift_psi{").count() < 3 * FEATURES {
        std::thread::yield_now();
    }
    let mut group = c.benchmark_group("drift");
    group.bench_function("scrape, 3 versions of 64 features", |b| {
        b.iter(|| black_box(telemetry.render()));
    });
    group.finish();
}

fn look(c: &mut Criterion) {
    const FEATURES: usize = 512;
    let profile = profile(FEATURES);
    let mut monitor = Monitor::new(&profile, &DriftOptions::default());
    let mut total: Vec<Tally> = profile.columns().map(|column| column.tally()).collect();
    let mut values = random().map(|bits| (bits >> 11) as f64 / (1u64 << 53) as f64);
    let mut now = 0;
    let mut step = |minutes: i64| {
        for (column, tally) in profile.columns().zip(&mut total) {
            let value = values.next().expect("there is no end of them");
            column.bins.count_number(value, tally);
        }
        now += minutes * 60_000_000;
        monitor.step(&profile, now, &total)
    };
    // Until every bucket of both windows is in use.
    (0..96).for_each(|_| _ = step(15));
    (0..60).for_each(|_| _ = step(1));
    let mut group = c.benchmark_group("drift");
    group.bench_function("look at 512 columns, an hour and a day", |b| {
        b.iter(|| black_box(step(0)))
    });
    group.finish();
}

criterion_group!(benches, numbers, categories, sequential, scrape, look);
criterion_main!(benches);
