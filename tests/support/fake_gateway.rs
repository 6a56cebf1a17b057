//! A gateway in this process with one model behind a [`FakeEngine`], and the
//! way of a request through it without a socket.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use modelgate::admission::{ByteBudget, Limiter};
use modelgate::api::codec::{AnswerView, DecodeLimits, json, pb, protobuf};
use modelgate::engine::FakeEngine;
use modelgate::request::{Call, Gateway};
use modelgate::serving::{ExecutionOptions, Loaded, ModelEntry, Servable};
use modelgate::shadow::Mirror;
use modelgate::telemetry::{Protocol, Telemetry, TelemetryOptions, VersionLabels};
use modelgate::types::{ModelName, Version};

/// Serves `columns` wide rows as the models `m0`, `m1` and so on.
pub fn gateway(models: usize, columns: usize) -> Gateway {
    let telemetry = Arc::new(Telemetry::new(TelemetryOptions::default()));
    let budget = ByteBudget::new(1 << 30);
    let mirror = Mirror::start(&telemetry).expect("a mirror");
    let recording = Arc::new(modelgate::predictions::Recording::off());
    let gateway = Gateway::new(telemetry, budget, mirror, recording, Duration::from_secs(60));
    for number in 0..models {
        publish(&gateway, &format!("m{number}"), columns);
    }
    gateway
}

/// Publishes version 1 of a model, anew where it is there already.
pub fn publish(gateway: &Gateway, name: &str, columns: usize) {
    let name = ModelName::parse(name).expect("a legal name");
    let labels = VersionLabels::champion(name.clone(), Version::FIRST);
    let metrics = gateway.telemetry.version(labels);
    let engine = Box::new(FakeEngine::new(columns, Duration::ZERO));
    let options = ExecutionOptions::default();
    let loaded = Loaded::new(name.clone(), Version::FIRST, engine, options, metrics);
    let model_metrics = gateway.telemetry.model(&name);
    let limiter = Limiter::new(Arc::clone(&model_metrics));
    let servable = Arc::new(Servable::new(loaded, model_metrics, limiter));
    let entry = ModelEntry {
        default: Some(Arc::clone(&servable)),
        ready: [(Version::FIRST, servable)].into(),
        ..ModelEntry::default()
    };
    gateway.catalog.publish([(name, Some(Arc::new(entry)))], []);
}

fn call(protocol: Protocol, headers: &HeaderMap) -> Call<'_> {
    let (timeout, body_bytes, received) = (None, 0, Instant::now());
    Call { protocol, model: "m0", version: "", headers, timeout, body_bytes, received }
}

/// Decodes, answers and encodes a JSON body, or a binary one with `header_length`.
pub async fn answer_http(
    gateway: &Gateway,
    body: &Bytes,
    header_length: Option<usize>,
) -> json::Encoded {
    let protocol = match header_length {
        None => Protocol::HttpJson,
        Some(_) => Protocol::HttpBinary,
    };
    let headers = HeaderMap::new();
    let call = call(protocol, &headers);
    let ticket = gateway.route(&call).expect("a model");
    let request = json::decode_infer(body, header_length, &DecodeLimits::default()).expect("fits");
    let mut begun = ticket.begin(&call, request).expect("fits the model");
    let encoded = begun.answer(|answer| {
        json::encode_infer(&AnswerView {
            id: "",
            model_name: call.model,
            model_version: answer.servable.version_str(),
            parameters: &[],
            outputs: &answer.outputs,
        })
    });
    encoded.await.expect("an answer")
}

/// Decodes, answers and encodes a gRPC message.
pub async fn answer_grpc(gateway: &Gateway, message: Bytes) -> Bytes {
    use prost::Message;
    let mut message = pb::ModelInferRequest::decode(message).expect("a message");
    let headers = HeaderMap::new();
    let call = call(Protocol::Grpc, &headers);
    let ticket = gateway.route(&call).expect("a model");
    let request = protobuf::decode_infer(&mut message, &DecodeLimits::default()).expect("fits");
    let mut begun = ticket.begin(&call, request).expect("fits the model");
    let encoded = begun.answer(|answer| {
        let message = protobuf::encode_infer(&AnswerView {
            id: "",
            model_name: call.model,
            model_version: answer.servable.version_str(),
            parameters: &[],
            outputs: &answer.outputs,
        });
        Ok(Bytes::from(message.encode_to_vec()))
    });
    encoded.await.expect("an answer")
}

/// One row of `columns` as a JSON body.
pub fn json_body(columns: usize) -> Bytes {
    let data: Vec<String> = (0..columns).map(|i| format!("{}.25", i * 7 % 90)).collect();
    Bytes::from(format!(
        r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,{columns}],"data":[{}]}}]}}"#,
        data.join(",")
    ))
}

/// One row as a binary body, and the length of its JSON.
pub fn binary_body(columns: usize) -> (Bytes, usize) {
    let json = format!(
        r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,{columns}],"parameters":{{"binary_data_size":{}}}}}],"parameters":{{"binary_data_output":true}}}}"#,
        columns * 4
    );
    let length = json.len();
    let mut body = json.into_bytes();
    body.resize(length + columns * 4, 0);
    (Bytes::from(body), length)
}

/// One row as a gRPC message.
pub fn grpc_message(columns: usize) -> Bytes {
    use prost::Message;
    let input = pb::model_infer_request::InferInputTensor {
        name: "x".to_owned(),
        datatype: "FP32".to_owned(),
        shape: vec![1, columns as i64],
        ..Default::default()
    };
    let message = pb::ModelInferRequest {
        model_name: "m0".to_owned(),
        inputs: vec![input],
        raw_input_contents: vec![Bytes::from(vec![0; columns * 4])],
        ..Default::default()
    };
    Bytes::from(message.encode_to_vec())
}
