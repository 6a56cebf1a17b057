//! What a request costs from its bytes to the encoded answer, with a fake
//! engine and without a socket; and reading the catalog while it changes.

#[path = "../tests/support/fake_gateway.rs"]
mod fake_gateway;

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use fake_gateway::{
    answer_grpc, answer_http, binary_body, gateway, grpc_message, json_body, publish,
};

const COLUMNS: usize = 30;

fn whole_path(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let gateway = gateway(1, COLUMNS);
    let mut group = c.benchmark_group("infer_path");
    let body = json_body(COLUMNS);
    group.bench_function("json", |b| {
        b.iter(|| runtime.block_on(answer_http(&gateway, black_box(&body), None)));
    });
    let (body, length) = binary_body(COLUMNS);
    group.bench_function("binary", |b| {
        b.iter(|| runtime.block_on(answer_http(&gateway, black_box(&body), Some(length))));
    });
    let message = grpc_message(COLUMNS);
    group.bench_function("grpc", |b| {
        b.iter(|| runtime.block_on(answer_grpc(&gateway, black_box(message.clone()))));
    });
    group.finish();
}

fn catalog(c: &mut Criterion) {
    let mut group = c.benchmark_group("catalog_resolve");
    for models in [1, 100, 10_000] {
        let gateway = gateway(models, 4);
        let last = format!("m{}", models - 1);
        group.bench_function(BenchmarkId::new("quiet", models), |b| {
            b.iter(|| gateway.catalog.load().resolve(black_box(&last), "").map(drop));
        });
    }
    let gateway = gateway(10, 4);
    for _ in 0..10_000 {
        publish(&gateway, "m0", 4);
    }
    group.bench_function("after_10000_swaps", |b| {
        b.iter(|| gateway.catalog.load().resolve(black_box("m0"), "").map(drop));
    });
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                publish(&gateway, "m0", 4);
            }
        });
        group.bench_function("while_versions_are_published", |b| {
            b.iter(|| gateway.catalog.load().resolve(black_box("m0"), "").map(drop));
        });
        stop.store(true, Ordering::Relaxed);
    });
    group.finish();
}

criterion_group!(benches, whole_path, catalog);
criterion_main!(benches);
