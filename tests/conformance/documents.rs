//! Health, metadata, configuration and the repository's index.

use modelgate::api::codec::pb;
use serde_json::{Value, json};

use crate::gateway;
use crate::support::grpc::Client;
use crate::support::http::Request;

#[test]
fn health_has_a_body_and_a_status() {
    let gateway = gateway();
    for listener in gateway.listeners() {
        for (path, body) in [
            ("/v2/health/live", json!({"live": true})),
            ("/v2/health/ready", json!({"live": true, "ready": true})),
            ("/v2/models/add-sub/ready", json!({"name": "add-sub", "ready": true})),
            ("/v2/models/two/versions/3/ready", json!({"name": "two", "ready": true})),
        ] {
            let reply = Request::get(path).send(listener);
            assert_eq!((reply.status, reply.json()), (200, body), "{path}");
            assert_eq!(reply.header("content-type"), Some("application/json"), "{path}");
        }
    }
    let mut client = Client::connect(gateway.grpc);
    let live: pb::ServerLiveResponse =
        client.unary("ServerLive", &pb::ServerLiveRequest {}).expect("live");
    let ready: pb::ServerReadyResponse =
        client.unary("ServerReady", &pb::ServerReadyRequest {}).expect("ready");
    assert!(live.live && ready.ready);
}

#[test]
fn a_version_that_failed_to_load_is_known_and_not_ready() {
    let gateway = gateway();
    for path in ["/v2/models/broken/ready", "/v2/models/half-broken/versions/2/ready"] {
        let reply = gateway.get(path);
        assert_eq!(reply.status, 503, "{path}");
        assert!(reply.error().contains("ready"), "{}", reply.text());
        assert!(reply.header("retry-after").is_some(), "{path}");
    }
    assert_eq!(gateway.get("/v2/models/half-broken/ready").status, 200, "version 1 serves");
    let mut client = Client::connect(gateway.grpc);
    for (name, version, expected) in
        [("broken", "", false), ("half-broken", "2", false), ("half-broken", "", true)]
    {
        let request = pb::ModelReadyRequest { name: name.to_owned(), version: version.to_owned() };
        let answer: pb::ModelReadyResponse =
            client.unary("ModelReady", &request).expect("not ready is no error in gRPC");
        assert_eq!(answer.ready, expected, "{name} {version}");
    }
}

#[test]
fn the_server_names_only_extensions_that_work() {
    let gateway = gateway();
    for path in ["/v2", "/v2/"] {
        let metadata = gateway.get(path).json();
        assert_eq!(metadata["name"], "modelgate");
        assert_eq!(metadata["version"], env!("CARGO_PKG_VERSION"));
        let extensions = metadata["extensions"].as_array().expect("extensions");
        for extension in ["binary_tensor_data", "classification", "model_repository", "statistics"]
        {
            assert!(extensions.contains(&json!(extension)), "{extension}");
        }
        for absent in ["system_shared_memory", "cuda_shared_memory", "trace", "sequence"] {
            assert!(!extensions.contains(&json!(absent)), "{absent}");
        }
    }
    let mut client = Client::connect(gateway.grpc);
    let metadata: pb::ServerMetadataResponse =
        client.unary("ServerMetadata", &pb::ServerMetadataRequest {}).expect("metadata");
    let over_http: Vec<Value> = metadata.extensions.iter().map(|name| json!(name)).collect();
    assert_eq!(gateway.get("/v2").json()["extensions"], Value::Array(over_http));
}

#[test]
fn metadata_comes_from_the_graph() {
    let gateway = gateway();
    let metadata = gateway.get("/v2/models/add-sub").json();
    let tensor = |name: &str| json!({"name": name, "datatype": "FP32", "shape": [-1, 2]});
    assert_eq!(
        metadata,
        json!({
            "name": "add-sub", "versions": ["1"], "platform": "onnxruntime_onnx",
            "inputs": [tensor("a"), tensor("b")], "outputs": [tensor("sum"), tensor("difference")],
        })
    );
    // Versions in the order of their numbers, not of their digits.
    assert_eq!(gateway.get("/v2/models/two").json()["versions"], json!(["3", "12"]));
    assert_eq!(gateway.get("/v2/models/half-broken").json()["versions"], json!(["1"]));
    assert_eq!(gateway.get("/v2/models/scalar").json()["inputs"][0]["shape"], json!([]));
    let digits = gateway.get("/v2/models/digits").json();
    assert_eq!(digits["outputs"][0]["labels"][7], "7");

    let mut client = Client::connect(gateway.grpc);
    let request = pb::ModelMetadataRequest { name: "add-sub".to_owned(), ..Default::default() };
    let message: pb::ModelMetadataResponse =
        client.unary("ModelMetadata", &request).expect("metadata");
    assert_eq!(serde_json::to_value(&message).expect("JSON"), metadata);
}

#[test]
fn the_configuration_says_how_a_model_batches() {
    let gateway = gateway();
    let config = gateway.get("/v2/models/add-sub/config").json();
    assert_eq!(config["name"], "add-sub");
    assert_eq!(config["max_batch_size"], 64);
    assert_eq!(config["input"][0]["data_type"], "TYPE_FP32");
    assert_eq!(config["input"][0]["dims"], json!([2]), "without the batch dimension");
    let fixed = gateway.get("/v2/models/pairs/versions/1/config").json();
    assert_eq!(fixed["max_batch_size"], 0);
    assert_eq!(fixed["input"][0]["dims"], json!([2, 2]));
    let mut client = Client::connect(gateway.grpc);
    let request = pb::ModelConfigRequest { name: "add-sub".to_owned(), ..Default::default() };
    let answer: pb::ModelConfigResponse = client.unary("ModelConfig", &request).expect("config");
    assert_eq!(serde_json::to_value(answer.config).expect("JSON"), config);
}

#[test]
fn the_index_is_a_bare_list_of_every_version() {
    let gateway = gateway();
    let index = |body: &str| Request::post("/v2/repository/index", body).send(gateway.http).json();
    let all = index("");
    let entry = |name: &str, version: &str| {
        let entries = all.as_array().expect("a bare list").iter();
        let found = entries.filter(|entry| entry["name"] == name && entry["version"] == version);
        let found: Vec<Value> = found.cloned().collect();
        assert_eq!(found.len(), 1, "{name} {version}");
        found[0].clone()
    };
    assert_eq!(entry("two", "3")["state"], "READY");
    for (name, version) in [("broken", "1"), ("half-broken", "2")] {
        let broken = entry(name, version);
        assert_eq!(broken["state"], "UNAVAILABLE");
        assert!(broken["reason"].as_str().is_some_and(|reason| reason.len() > 10), "{broken}");
    }
    assert_eq!(index("{}"), all);
    let ready = index(r#"{"ready": true}"#);
    let ready = ready.as_array().expect("a list");
    assert!(ready.iter().all(|entry| entry["state"] == "READY"));
    assert_eq!(ready.len() + 2, all.as_array().expect("a list").len());
    let bad = Request::post("/v2/repository/index", "[1]").send(gateway.http);
    assert_eq!(bad.status, 400);
    bad.error();

    let mut client = Client::connect(gateway.grpc);
    let answer: pb::RepositoryIndexResponse =
        client.unary("RepositoryIndex", &pb::RepositoryIndexRequest::default()).expect("index");
    assert_eq!(serde_json::to_value(answer.models).expect("JSON"), all);
}
