//! Labels of `model.yaml` stand for versions wherever a request names one.

mod support;

use modelgate::api::codec::pb;
use modelgate::types::{Code, DType};
use serde_json::json;
use support::gateway::{Gateway, Launch};
use support::grpc::Client;
use support::http::Request;
use support::predict::{Face, Predict, tensor};
use support::registry::Registry;
use support::zoo::{self, floats};

const LABELS: &str = "versions: all\nversion_labels: {stable: 1, canary: 2, a.b-C_1: 1, gone: 9}";

/// Version 1 of `sign` negates, version 2 takes the absolute value.
fn start() -> (Gateway, Registry) {
    let registry = Registry::new()
        .version("sign", 1, &zoo::unary("Neg", DType::Fp32, &["n"]).model())
        .version("sign", 2, &zoo::unary("Abs", DType::Fp32, &["n"]).model())
        .options("sign", LABELS)
        .model("plain", zoo::unary("Neg", DType::Fp32, &["n"]));
    (Launch::new().models(registry.path()).start(), registry)
}

fn sign(version: &str) -> Predict {
    let input = tensor("x", DType::Fp32, &[1], floats(&[3.0]));
    Predict::of("sign", [input]).version(version)
}

#[test]
fn a_label_answers_as_its_version_on_every_face() {
    let (gateway, _registry) = start();
    for face in Face::ALL {
        for (label, version, answer) in
            [("stable", "1", -3.0), ("canary", "2", 3.0), ("1", "1", -3.0), ("", "2", 3.0)]
        {
            let predicted = sign(label).ask(&gateway, face).expect("an answer");
            assert_eq!(predicted.outputs[0].data, floats(&[answer]), "{face:?} {label}");
            assert_eq!(predicted.version, version, "the number, not the label: {face:?} {label}");
            assert_eq!(predicted.described[1], version, "{face:?} {label}");
        }
    }
}

#[test]
fn labels_name_versions_in_every_question() {
    let (gateway, _registry) = start();
    for label in ["stable", "%73table", "a%2Eb-C_1"] {
        for what in ["", "/ready", "/config", "/stats"] {
            let path = format!("/v2/models/sign/versions/{label}{what}");
            let reply = gateway.get(&path);
            assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        }
    }
    let stats = gateway.get("/v2/models/sign/versions/canary/stats").json();
    assert_eq!(stats["model_stats"][0]["version"], "2");
    assert_eq!(gateway.get("/v2/models/sign").json()["versions"], json!(["1", "2"]));

    let mut client = Client::connect(gateway.grpc);
    let (name, version) = ("sign".to_owned(), "a.b-C_1".to_owned());
    let request = pb::ModelReadyRequest { name: name.clone(), version: version.clone() };
    let ready: pb::ModelReadyResponse = client.unary("ModelReady", &request).expect("OK");
    assert!(ready.ready);
    let request = pb::ModelMetadataRequest { name: name.clone(), version: version.clone() };
    let _: pb::ModelMetadataResponse = client.unary("ModelMetadata", &request).expect("OK");
    let request = pb::ModelConfigRequest { name: name.clone(), version: version.clone() };
    let _: pb::ModelConfigResponse = client.unary("ModelConfig", &request).expect("OK");
    let request = pb::ModelStatisticsRequest { name, version };
    let statistics: pb::ModelStatisticsResponse =
        client.unary("ModelStatistics", &request).expect("OK");
    assert_eq!(statistics.model_stats[0].version, "1");
}

#[test]
fn what_is_no_label_is_not_found() {
    let (gateway, _registry) = start();
    let long = "x".repeat(4096);
    for face in Face::ALL {
        for label in ["unstable", "STABLE", "stable ", "-1", "1.0", &long] {
            let label =
                if face == Face::Grpc { label.to_owned() } else { label.replace(' ', "%20") };
            let refused = sign(&label).ask(&gateway, face).expect_err("no such version");
            refused.assert_is(Code::NotFound);
            assert!(refused.message.len() < 400, "{}", refused.message);
        }
        let other = Predict { model: "plain".to_owned(), ..sign("stable") };
        other.ask(&gateway, face).expect_err("a label of another model").assert_is(Code::NotFound);
    }
}

#[test]
fn a_label_whose_version_is_not_there_says_so() {
    let (gateway, _registry) = start();
    for face in Face::ALL {
        let refused = sign("gone").ask(&gateway, face).expect_err("version 9 is not there");
        assert!(refused.message.contains('9'), "{}", refused.message);
    }
    let ready = Request::get("/v2/models/sign/versions/gone/ready").send(gateway.http);
    assert!([404, 503].contains(&ready.status), "{}", ready.text());
}
