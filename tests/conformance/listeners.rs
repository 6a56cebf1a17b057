//! Both inference listeners answer HTTP/1, HTTP/2 and gRPC.

use http::{Request as Http2Request, Version};
use modelgate::types::DType;

use crate::gateway;
use crate::support::gateway::Launch;
use crate::support::grpc::{Client, Upload, frame};
use crate::support::http::Request;
use crate::support::predict::{Face, Predict, read_reply, tensor};
use crate::support::registry::Registry;
use crate::support::zoo::{self, floats};

fn square() -> Predict {
    Predict::of("square", [tensor("x", DType::Fp32, &[1, 1], floats(&[3.0]))])
}

#[test]
fn every_protocol_is_answered_on_every_listener() {
    for listener in gateway().listeners() {
        for (face, request) in
            [(Face::Json, square().json_request()), (Face::Binary, square().binary_request())]
        {
            let answer = read_reply(face, request.send(listener)).expect("HTTP/1");
            assert_eq!(answer.outputs[0].data, floats(&[10.0]));
        }
        let mut client = Client::connect(listener);
        let answer = square().ask_grpc(&mut client).expect("gRPC");
        assert_eq!(answer.outputs[0].data, floats(&[10.0]));
        // Plain HTTP on the same HTTP/2 connection.
        let request = Http2Request::post("http://gateway/v2/models/square/infer")
            .version(Version::HTTP_2)
            .header("content-type", "application/json")
            .body(Upload::whole(square().json_request().body))
            .expect("a request");
        let (head, body, _) = client.exchange(request).expect("HTTP/2");
        assert_eq!(head.status(), 200);
        assert_eq!(head.headers()["x-variant"], "champion");
        let answer: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(answer["outputs"][0]["data"][0].as_f64(), Some(10.0));
        let missing = Http2Request::get("http://gateway/nowhere").body(Upload::whole(""));
        let (head, body, _) = client.exchange(missing.expect("a request")).expect("HTTP/2");
        assert_eq!(head.status(), 404);
        let error: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert!(error["error"].is_string());
    }
}

#[test]
fn one_connection_carries_many_requests() {
    let mut connection = gateway().connect();
    for round in 0..20 {
        let request = square().json_request();
        let reply = connection.exchange(&request);
        assert_eq!(reply.status, 200, "{round}");
        assert_eq!(connection.exchange(&Request::get("/nowhere")).status, 404, "and refusals");
    }
    // Pipelined: all are sent before the first answer is read.
    for _ in 0..8 {
        connection.write(&square().json_request().bytes()).expect("a request");
    }
    for _ in 0..8 {
        assert_eq!(connection.reply().status, 200);
    }
}

#[test]
fn grpc_over_http1_is_told_what_it_needs() {
    let call = Request::post("/inference.GRPCInferenceService/ServerLive", frame(&[]));
    let reply = call.header("content-type", "application/grpc").send(gateway().grpc);
    assert_eq!(reply.status, 415);
    assert!(reply.error().contains("HTTP/2"), "{}", reply.text());
}

#[test]
fn http_1_0_is_answered_and_closed() {
    let mut connection = gateway().connect();
    connection.write(b"GET /v2/health/live HTTP/1.0\r\n\r\n").expect("a request");
    let reply = connection.reply();
    assert_eq!((reply.status, reply.version.as_str()), (200, "HTTP/1.0"));
    assert!(connection.is_closed_within(std::time::Duration::from_secs(5)));
}

#[test]
fn metrics_and_health_have_a_listener_of_their_own() {
    let ops = gateway().ops;
    let page = Request::get("/metrics").send(ops);
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").is_some_and(|media| media.starts_with("text/plain")));
    for path in ["/livez", "/readyz", "/v2/health/live", "/v2/health/ready"] {
        assert_eq!(Request::get(path).send(ops).status, 200, "{path}");
    }
    assert_eq!(Request::get("/v2/models/square").send(ops).status, 404);
    assert_eq!(Request::post("/metrics", "").send(ops).status, 405);
    assert_eq!(Request::get("/metrics").send(gateway().http).status, 404);
}

/// Names of the services that reflection lists, or the code of its refusal.
fn reflected(client: &mut Client) -> Result<String, i32> {
    let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    // `list_services` is field 7.
    let called = client.call_framed(path, &[], frame(&[0x3a, 1, b'*']));
    match called.code {
        0 => Ok(called.messages.iter().map(|message| String::from_utf8_lossy(message)).collect()),
        code => Err(code),
    }
}

#[test]
fn reflection_is_off_unless_it_is_turned_on() {
    const UNIMPLEMENTED: i32 = 12;
    assert_eq!(reflected(&mut Client::connect(gateway().grpc)), Err(UNIMPLEMENTED));
    let registry = Registry::new().model("square", zoo::square_plus_one());
    let launch = Launch::new().models(registry.path());
    let gateway = launch.config("server: {reflection: true}").start();
    let services = reflected(&mut Client::connect(gateway.grpc)).expect("a list");
    let expected =
        ["inference.GRPCInferenceService", "grpc.health.v1.Health", "modelgate.v1.Feedback"];
    for service in expected {
        assert!(services.contains(service), "{services}");
    }
}

#[test]
fn metrics_come_under_tritons_names_where_asked_for() {
    let registry = Registry::new().model("square", zoo::square_plus_one());
    let launch = Launch::new().models(registry.path());
    let gateway = launch.config("telemetry: {nv_aliases: true}").start();
    square().ask(&gateway, Face::Grpc).expect("an answer");
    let scrape = crate::support::metrics::Scrape::of(gateway.ops);
    let of_model = [("model", "square"), ("version", "1")];
    assert_eq!(scrape.sum("nv_inference_request_success", &of_model), 1.0);
    let absent = crate::support::metrics::Scrape::of(crate::gateway().ops);
    assert!(absent.names().all(|name| !name.starts_with("nv_")));
}
