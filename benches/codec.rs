//! What decoding a request and encoding an answer cost, by wire form and size.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use modelgate::api::codec::pb::ModelInferRequest;
use modelgate::api::codec::pb::model_infer_request::InferInputTensor;
use modelgate::api::codec::{AnswerView, DecodeLimits, json, protobuf};
use modelgate::types::{DType, OutputTensor, Outputs, Shape, Tensor};
use prost::Message;

/// Rows and columns of the tensors.
const SIZES: [(usize, usize); 2] = [(1, 30), (32, 256)];

fn values(rows: usize, columns: usize) -> Vec<f32> {
    (0..rows * columns).map(|i| (i as f32 * 0.37).sin() * 10.0).collect()
}

fn packed(values: &[f32]) -> Bytes {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn decode(c: &mut Criterion) {
    let limits = DecodeLimits::default();
    let mut group = c.benchmark_group("decode");
    for (rows, columns) in SIZES {
        let size = format!("{rows}x{columns}");
        let values = values(rows, columns);
        let data = packed(&values);

        let numbers: Vec<String> = values.iter().map(f32::to_string).collect();
        let body = Bytes::from(format!(
            r#"{{"inputs":[{{"name":"x","shape":[{rows},{columns}],"datatype":"FP32","data":[{}]}}]}}"#,
            numbers.join(",")
        ));
        group.bench_function(BenchmarkId::new("json", &size), |b| {
            b.iter(|| json::decode_infer(black_box(&body), None, &limits).map(black_box).is_ok());
        });

        let head = format!(
            r#"{{"inputs":[{{"name":"x","shape":[{rows},{columns}],"datatype":"FP32","parameters":{{"binary_data_size":{}}}}}]}}"#,
            data.len()
        );
        let body = Bytes::from([head.as_bytes(), &data].concat());
        group.bench_function(BenchmarkId::new("binary", &size), |b| {
            let header = Some(head.len());
            b.iter(|| json::decode_infer(black_box(&body), header, &limits).map(black_box).is_ok());
        });

        let message = ModelInferRequest {
            model_name: "breast-cancer".to_owned(),
            inputs: vec![InferInputTensor {
                name: "x".to_owned(),
                datatype: "FP32".to_owned(),
                shape: vec![rows as i64, columns as i64],
                ..InferInputTensor::default()
            }],
            raw_input_contents: vec![data],
            ..ModelInferRequest::default()
        };
        let wire = Bytes::from(message.encode_to_vec());
        group.bench_function(BenchmarkId::new("protobuf", &size), |b| {
            b.iter(|| {
                let message = ModelInferRequest::decode(black_box(wire.clone()));
                message.map(|mut message| {
                    protobuf::decode_infer(&mut message, &limits).map(black_box).is_ok()
                })
            });
        });
    }
    group.finish();
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    for (rows, columns) in SIZES {
        let size = format!("{rows}x{columns}");
        let shape = Shape::new([rows as i64, columns as i64]).expect("a legal shape");
        let data = packed(&values(rows, columns));
        let outputs = |binary| {
            let tensor = Tensor::new(DType::Fp32, shape.clone(), data.clone());
            let tensor = tensor.expect("data that fits");
            Outputs::from_iter([OutputTensor { name: "y".into(), tensor, binary }])
        };
        let (json_outputs, binary_outputs) = (outputs(false), outputs(true));
        let answer = |outputs| AnswerView {
            id: "0198c0de-0000-7000-8000-000000000000",
            model_name: "breast-cancer",
            model_version: "1",
            parameters: &[],
            outputs,
        };
        group.bench_function(BenchmarkId::new("json", &size), |b| {
            b.iter(|| json::encode_infer(black_box(&answer(&json_outputs))).map(black_box).is_ok());
        });
        group.bench_function(BenchmarkId::new("binary", &size), |b| {
            b.iter(|| {
                json::encode_infer(black_box(&answer(&binary_outputs))).map(black_box).is_ok()
            });
        });
        group.bench_function(BenchmarkId::new("protobuf", &size), |b| {
            b.iter(|| protobuf::encode_infer(black_box(&answer(&binary_outputs))).encode_to_vec());
        });
    }
    group.finish();
}

criterion_group!(benches, decode, encode);
criterion_main!(benches);
