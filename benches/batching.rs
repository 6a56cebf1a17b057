//! Gathering rows of several requests into one batch, and cutting the answer up.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use modelgate::serving::batching::{gather, scatter};
use modelgate::types::{DType, Shape, Tensor};

fn tensor(rows: usize, columns: usize) -> Tensor {
    let shape = Shape::new([rows as i64, columns as i64]).expect("a legal shape");
    Tensor::new(DType::Fp32, shape, Bytes::from(vec![0; rows * columns * 4])).expect("sizes agree")
}

fn rows(c: &mut Criterion) {
    let mut group = c.benchmark_group("batching");
    for (requests, columns) in [(8, 30), (64, 30), (64, 256)] {
        let members = vec![tensor(1, columns); requests];
        let mut batch = Vec::new();
        group.bench_function(BenchmarkId::new("gather", format!("{requests}x{columns}")), |b| {
            b.iter(|| {
                batch.clear();
                gather(black_box(&members).iter(), &mut batch);
            });
        });
        let output = tensor(requests, columns);
        group.bench_function(BenchmarkId::new("scatter", format!("{requests}x{columns}")), |b| {
            b.iter(|| {
                scatter(black_box(&output), std::iter::repeat_n(1, requests), |part| {
                    black_box(part);
                })
                .expect("rows agree");
            });
        });
    }
    group.finish();
}

criterion_group!(benches, rows);
criterion_main!(benches);
