//! The floor under every request: a bare run of a sample model through the
//! engine, alone and in batches.

use std::hint::black_box;
use std::path::Path;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use modelgate::engine::{Engine, Input, Library, OrtEngine, SessionOptions};
use modelgate::types::DType;

fn raw_run(c: &mut Criterion) {
    let library = Library::open(None).expect("`make setup` fetches ONNX Runtime");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/breast-cancer/1/model.onnx");
    let engine =
        OrtEngine::load(&library, &path, &SessionOptions::default()).expect("a sample model");
    let mut group = c.benchmark_group("raw_run/breast-cancer");
    for rows in [1_usize, 8, 64] {
        let shape = [rows as i64, 30];
        let data = vec![0; rows * 30 * 4];
        group.bench_function(BenchmarkId::new("rows", rows), |b| {
            b.iter(|| {
                let input = Input { dtype: DType::Fp32, shape: &shape, data: black_box(&data) };
                engine.run(&[input], &[0, 1], None).expect("a run")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, raw_run);
criterion_main!(benches);
