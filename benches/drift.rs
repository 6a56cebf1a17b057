//! What counting a value costs. Bars: 5 ns per number, 25 ns per category.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use modelgate::drift::bins::{CategoryBins, EdgeBins, Scale, ValueBins};
use modelgate::drift::{Bins, Detector, DetectorOptions, Tally};

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

criterion_group!(benches, numbers, categories, sequential);
criterion_main!(benches);
