//! Statistics and metrics agree with what was sent.

use std::time::{SystemTime, UNIX_EPOCH};

use modelgate::api::codec::pb;
use modelgate::types::{Code, DType};
use serde_json::{Value, json};

use crate::gateway;
use crate::support::grpc::Client;
use crate::support::http::Request;
use crate::support::metrics::Scrape;
use crate::support::predict::{Face, Predict, tensor};
use crate::support::zoo::{floats, packed};

const REQUESTS: &str = "modelgate_requests_total";

fn rows(model: &str, rows: usize) -> Predict {
    let data = floats(&vec![2.0; rows * 2]);
    Predict::of(model, [tensor("x", DType::Fp32, &[rows as i64, 2], data)])
}

fn statistics(model: &str) -> Value {
    let all = gateway().get(&format!("/v2/models/{model}/stats")).json();
    let stats = all["model_stats"].as_array().expect("a list");
    assert_eq!(stats.len(), 1);
    stats[0].clone()
}

#[test]
fn statistics_count_requests_rows_runs_and_failures() {
    const MODEL: &str = "count-statistics";
    let fresh = statistics(MODEL);
    assert_eq!((&fresh["name"], &fresh["version"]), (&json!(MODEL), &json!("1")));
    assert_eq!((&fresh["inference_count"], &fresh["last_inference"]), (&json!(0), &json!(0)));
    let now = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        since.as_millis() as u64
    };
    let before = now();
    let (mut requests, mut all_rows, mut failed) = (0, 0, 0);
    for face in Face::ALL {
        for batch in [1, 3, 8] {
            rows(MODEL, batch).ask(gateway(), face).expect("an answer");
            requests += 1;
            all_rows += batch;
        }
        let mut bad = rows(MODEL, 1);
        bad.inputs[0].data.pop();
        bad.inputs[0].dtype = "FP64".to_owned();
        bad.ask(gateway(), face).expect_err("a bad tensor");
        rows(MODEL, 1).wanting(&["z"]).ask(gateway(), face).expect_err("no such output");
        failed += 2;
    }
    let stats = statistics(MODEL);
    let count = |name: &str| stats["inference_stats"][name]["count"].as_u64().expect(name);
    assert_eq!(stats["inference_count"], all_rows);
    assert_eq!(count("success"), requests);
    assert_eq!(count("fail"), failed, "refused requests of a known model count");
    assert_eq!(count("compute_infer"), requests);
    let runs = stats["execution_count"].as_u64().expect("a count");
    assert!((1..=requests).contains(&runs), "{runs} runs for {requests} requests");
    let by_size = stats["batch_stats"].as_array().expect("a list").iter();
    let by_size = by_size.map(|batch| {
        let runs = batch["compute_infer"]["count"].as_u64().expect("a count");
        (batch["batch_size"].as_u64().expect("a size"), runs)
    });
    let by_size: Vec<(u64, u64)> = by_size.collect();
    assert_eq!(by_size, [(1, 3), (3, 3), (8, 3)], "one caller at a time: no run is shared");
    let last = stats["last_inference"].as_u64().expect("milliseconds");
    assert!((before..=now()).contains(&last), "{last} is no time since {before}");
    let time = |name: &str| stats["inference_stats"][name]["ns"].as_u64().expect(name);
    assert!(time("compute_infer") > 0 && time("success") >= time("compute_infer"));
    assert!(stats["memory_usage"][0]["byte_size"].is_u64());

    let mut client = Client::connect(gateway().grpc);
    let request = pb::ModelStatisticsRequest { name: MODEL.to_owned(), ..Default::default() };
    let message: pb::ModelStatisticsResponse =
        client.unary("ModelStatistics", &request).expect("statistics");
    assert_eq!(serde_json::to_value(&message.model_stats[0]).expect("JSON"), stats);
    let all = gateway().get("/v2/models/stats").json();
    assert!(all["model_stats"].as_array().expect("a list").len() > 10, "of every model");
}

#[test]
fn metrics_count_by_protocol_and_code() {
    const MODEL: &str = "count-metrics";
    for face in Face::ALL {
        for _ in 0..3 {
            rows(MODEL, 2).ask(gateway(), face).expect("an answer");
        }
        rows(MODEL, 2).version("9").ask(gateway(), face).expect_err("no such version");
        rows(MODEL, 1).wanting(&["z"]).ask(gateway(), face).expect_err("no such output");
        let late = rows(MODEL, 1).header("x-request-timeout-ms", "0");
        late.ask(gateway(), face).expect_err("no time").assert_is(Code::DeadlineExceeded);
    }
    let not_json = Request::post(&format!("/v2/models/{MODEL}/infer"), "{");
    assert_eq!(not_json.send(gateway().http).status, 400);
    let scrape = Scrape::of(gateway().ops);
    for face in Face::ALL {
        let count = |code: &str| {
            let labels = [("model", MODEL), ("protocol", face.label()), ("code", code)];
            scrape.sum(REQUESTS, &labels)
        };
        assert_eq!(count("ok"), 3.0, "{face:?}");
        let undecodable = if face == Face::Json { 1.0 } else { 0.0 };
        assert_eq!(count("invalid_argument"), 1.0 + undecodable, "{face:?}");
        assert_eq!(count("deadline_exceeded"), 1.0, "{face:?}");
    }
    let of_model = [("model", MODEL), ("version", "1"), ("variant", "champion")];
    assert_eq!(scrape.sum("modelgate_request_duration_seconds_count", &of_model), 16.0);
    assert_eq!(scrape.sum("modelgate_inference_duration_seconds_count", &of_model), 9.0);
    assert_eq!(scrape.sum("modelgate_batch_rows_sum", &of_model), 18.0);
    assert_eq!(scrape.sum("modelgate_inflight_requests", &[("model", MODEL)]), 0.0);
    let late = [("model", MODEL), ("reason", "deadline")];
    assert_eq!(scrape.sum("modelgate_rejected_total", &late), 3.0);
    assert_eq!(scrape.sum("modelgate_model_state", &[("model", MODEL), ("state", "ready")]), 1.0);
    assert_eq!(
        scrape.sum("modelgate_model_state", &[("model", "broken"), ("state", "rejected")]),
        1.0
    );
    assert_eq!(scrape.sum("modelgate_build_info", &[]), 1.0);
}

/// An answer that cannot be encoded is no success.
#[test]
fn what_fails_after_its_run_counts_as_failed() {
    const MODEL: &str = "count-text";
    let path = format!("/v2/models/{MODEL}/infer");
    let odd = packed(&[[0xff_u8]]);
    let document = json!({"inputs": [{
        "name": "x", "datatype": "BYTES", "shape": [1, 1],
        "parameters": {"binary_data_size": odd.len()},
    }]});
    let document = document.to_string();
    let body = [document.as_bytes(), &odd].concat();
    let no_utf8 = Request::post(&path, body);
    let no_utf8 = no_utf8.header("inference-header-content-length", document.len());
    assert_eq!(no_utf8.send(gateway().http).status, 400);
    let classified = json!({
        "inputs": [{"name": "x", "datatype": "BYTES", "shape": [1, 1], "data": ["a"]}],
        "outputs": [{"name": "y", "parameters": {"classification": 1}}],
    });
    assert_eq!(Request::post(&path, classified.to_string()).send(gateway().http).status, 400);
    let mut message =
        Predict::of(MODEL, [tensor("x", DType::Bytes, &[1, 1], packed(&["a"]))]).message();
    let classification = pb::InferParameter {
        parameter_choice: Some(pb::infer_parameter::ParameterChoice::Int64Param(1)),
    };
    message.outputs = vec![pb::model_infer_request::InferRequestedOutputTensor {
        name: "y".to_owned(),
        parameters: [("classification".to_owned(), classification)].into(),
    }];
    let refused = Client::connect(gateway().grpc).infer(&message).expect_err("no numbers");
    assert_eq!(refused.code, 3);
    let scrape = Scrape::of(gateway().ops);
    let count = |code: &str| scrape.sum(REQUESTS, &[("model", MODEL), ("code", code)]);
    assert_eq!((count("invalid_argument"), count("ok")), (3.0, 0.0));
    assert_eq!(statistics(MODEL)["inference_stats"]["fail"]["count"], 3);
}

#[test]
fn names_that_clients_make_up_add_no_series() {
    // A gateway of its own: others add series meanwhile.
    let registry = crate::support::registry::Registry::new()
        .model("known", crate::support::zoo::square_plus_one());
    let gateway = crate::support::gateway::Launch::new().models(registry.path()).start();
    let ask = |model: &str| {
        for face in Face::ALL {
            rows(model, 1).ask(&gateway, face).expect_err("no such model");
        }
    };
    rows("known", 1).version("99").ask(&gateway, Face::Json).expect_err("no such version");
    ask("first");
    let before = Scrape::of(gateway.ops);
    let mut connection = gateway.connect();
    let mut client = Client::connect(gateway.grpc);
    for number in 0..1000 {
        let model = format!("m{number}%22%7d%0a{}", "x".repeat(number % 200));
        let path = format!("/v2/models/{model}/versions/{number}/infer");
        let request = Request::post(&path, "{}").header("x-request-id", format!("id-{number}"));
        assert_eq!(connection.exchange(&request).status, 404);
        rows(&format!("m\"{number}\n"), 1).ask_grpc(&mut client).expect_err("no such model");
    }
    let after = Scrape::of(gateway.ops);
    let new: Vec<&str> = after.names().filter(|name| before.sum(name, &[]) == 0.0).collect();
    assert_eq!(after.series(), before.series(), "{new:#?}");
    let unknown = |scrape: &Scrape| scrape.sum(REQUESTS, &[("model", "_unknown")]);
    assert_eq!(unknown(&after) - unknown(&before), 2000.0);
    assert_eq!(unknown(&before), 4.0);
}
