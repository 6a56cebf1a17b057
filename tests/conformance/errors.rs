//! Refusals: the same code on every face, a body that is `{"error": "..."}`,
//! and a message that names what was expected and what came.

use modelgate::types::{Code, DType};

use crate::gateway;
use crate::support::grpc::Client;
use crate::support::http::Request;
use crate::support::predict::{Face, Predict, Tensor, tensor};
use crate::support::zoo::floats;

fn pair(name: &str) -> Tensor {
    tensor(name, DType::Fp32, &[1, 2], floats(&[1.0, 2.0]))
}

fn add_sub() -> Predict {
    Predict::of("add-sub", [pair("a"), pair("b")])
}

#[test]
fn requests_that_do_not_fit_the_model_are_refused_alike() {
    let with_b = |b: Tensor| Predict::of("add-sub", [pair("a"), b]);
    let table: [(&str, Predict, Code, &[&str]); 18] = [
        ("unknown model", Predict::of("nobody", [pair("a")]), Code::NotFound, &["nobody"]),
        ("unknown version", add_sub().version("7"), Code::NotFound, &["add-sub", "7", "1"]),
        ("a label", add_sub().version("v1"), Code::NotFound, &["v1"]),
        ("version 0", add_sub().version("0"), Code::NotFound, &["0"]),
        (
            "a version beyond 64 bits",
            add_sub().version("18446744073709551616"),
            Code::NotFound,
            &["18446744073709551616"],
        ),
        ("not loaded", Predict::of("broken", [pair("a")]), Code::Unavailable, &["broken"]),
        (
            "a version not loaded",
            Predict::of("half-broken", [pair("x")]).version("2"),
            Code::Unavailable,
            &["half-broken", "2"],
        ),
        ("no inputs", Predict::of("add-sub", []), Code::InvalidArgument, &["'a'", "missing"]),
        (
            "missing",
            Predict::of("add-sub", [pair("a")]),
            Code::InvalidArgument,
            &["'b'", "missing"],
        ),
        ("unknown input", with_b(pair("c")), Code::InvalidArgument, &["'c'", "'a', 'b'"]),
        ("twice", with_b(pair("a")), Code::InvalidArgument, &["a", "twice"]),
        (
            "one too many",
            Predict::of("add-sub", [pair("a"), pair("b"), pair("c")]),
            Code::InvalidArgument,
            &["'c'"],
        ),
        (
            "datatype",
            with_b(tensor("b", DType::Int32, &[1, 2], vec![0; 8])),
            Code::InvalidArgument,
            &["'b'", "INT32", "FP32"],
        ),
        (
            "rank",
            with_b(tensor("b", DType::Fp32, &[2], floats(&[1.0, 2.0]))),
            Code::InvalidArgument,
            &["'b'", "[2]", "-1"],
        ),
        (
            "dimension",
            with_b(tensor("b", DType::Fp32, &[1, 3], floats(&[1.0, 2.0, 3.0]))),
            Code::InvalidArgument,
            &["'b'", "[1,3]", "-1"],
        ),
        (
            "rows that differ",
            with_b(tensor("b", DType::Fp32, &[2, 2], floats(&[0.0; 4]))),
            Code::InvalidArgument,
            &["'a'", "'b'", "[1,2]", "[2,2]"],
        ),
        (
            "unknown output",
            add_sub().wanting(&["product"]),
            Code::InvalidArgument,
            &["product", "'sum'"],
        ),
        (
            "output twice",
            add_sub().wanting(&["sum", "sum"]),
            Code::InvalidArgument,
            &["sum", "twice"],
        ),
    ];
    for (what, request, code, fragments) in table {
        for face in Face::ALL {
            let error = request.ask(gateway(), face).expect_err(what);
            error.assert_is(code);
            for fragment in fragments {
                assert!(error.message.contains(fragment), "{what}, {face:?}: {}", error.message);
            }
        }
    }
}

#[test]
fn an_unknown_datatype_lists_the_known_ones() {
    for face in [Face::Binary, Face::Grpc] {
        let mut request = add_sub();
        request.inputs[1].dtype = "FLOAT".to_owned();
        let error = request.ask(gateway(), face).expect_err("no such type");
        error.assert_is(Code::InvalidArgument);
        assert!(error.message.contains("FLOAT") && error.message.contains("FP32"));
    }
}

#[test]
fn metadata_questions_are_refused_alike() {
    let gateway = gateway();
    for (path, status) in [
        ("/v2/models/nobody", 404),
        ("/v2/models/nobody/ready", 404),
        ("/v2/models/nobody/config", 404),
        ("/v2/models/nobody/stats", 404),
        ("/v2/models/two/versions/v1", 404),
        ("/v2/models/two/versions/v1/ready", 404),
        ("/v2/models/two/versions/4/stats", 404),
        ("/v2/models/broken", 503),
        ("/v2/models/broken/config", 503),
        ("/v2/models/..%2f..%2fetc%2fpasswd", 404),
        ("/v2/models/%00", 404),
    ] {
        let reply = gateway.get(path);
        assert_eq!(reply.status, status, "{path}: {}", reply.text());
        reply.error();
    }
    use modelgate::api::codec::pb;
    let mut client = Client::connect(gateway.grpc);
    for (name, version, code) in
        [("nobody", "", 5), ("two", "v1", 5), ("two", "4", 5), ("broken", "", 14)]
    {
        let (name, version) = (name.to_owned(), version.to_owned());
        let request = pb::ModelMetadataRequest { name: name.clone(), version: version.clone() };
        let called = client.unary::<pb::ModelMetadataResponse>("ModelMetadata", &request);
        assert_eq!(called.expect_err("refused").code, code, "{name} {version}");
        let request = pb::ModelConfigRequest { name: name.clone(), version: version.clone() };
        let called = client.unary::<pb::ModelConfigResponse>("ModelConfig", &request);
        assert_eq!(called.expect_err("refused").code, code, "{name} {version}");
        let request = pb::ModelStatisticsRequest { name, version };
        let called = client.unary::<pb::ModelStatisticsResponse>("ModelStatistics", &request);
        assert_eq!(called.expect_err("refused").code, code);
    }
    let request = pb::ModelReadyRequest { name: "nobody".to_owned(), ..Default::default() };
    let called = client.unary::<pb::ModelReadyResponse>("ModelReady", &request);
    assert_eq!(called.expect_err("an unknown model is an error").code, 5);
}

#[test]
fn every_http_refusal_is_one_error_string() {
    let infer = "/v2/models/add-sub/infer";
    let good = add_sub().json_request().body;
    let post = |body: &[u8]| Request::post(infer, body);
    let table: [(&str, Request, u16); 26] = [
        ("no such path", Request::get("/"), 404),
        ("a path of another protocol", Request::get("/v1/models/add-sub"), 404),
        ("a path too deep", Request::get("/v2/models/a/b/c/d/e/f"), 404),
        ("a broken escape", Request::get("/v2/models/%zz"), 404),
        ("GET of infer", Request::get(infer), 405),
        ("POST of health", Request::post("/v2/health/live", ""), 405),
        ("GET of the index", Request::get("/v2/repository/index"), 405),
        ("an odd method", Request::get("/v2").method("BREW"), 405),
        ("an empty body", post(b""), 400),
        ("no JSON", post(b"not json"), 400),
        ("JSON cut short", post(&good[..good.len() - 1]), 400),
        ("JSON and more", post(&[&good[..], b"{}"].concat()), 400),
        ("a list", post(b"[]"), 400),
        ("no inputs", post(b"{}"), 400),
        ("inputs twice", post(br#"{"inputs":[],"inputs":[]}"#), 400),
        ("no UTF-8", post(b"{\"id\":\"\xff\"}"), 400),
        ("another media type", post(&good).header("content-type", "text/html"), 415),
        ("a form", post(&good).header("content-type", "multipart/form-data; boundary=x"), 415),
        ("no such encoding", post(&good).header("content-encoding", "br"), 501),
        ("two encodings", post(&good).header("content-encoding", "gzip, gzip"), 501),
        ("bad gzip", post(&good).header("content-encoding", "gzip"), 400),
        ("bad deflate", post(&good).header("content-encoding", "deflate"), 400),
        ("no timeout", post(&good).header("x-request-timeout-ms", "soon"), 400),
        (
            "a model to load in the request",
            Request::post("/v2/repository/models/x/load", r#"{"parameters": {"config": "{}"}}"#),
            400,
        ),
        ("a list to unload", Request::post("/v2/repository/models/x/unload", "[]"), 400),
        ("a name that is none", Request::post("/v2/repository/models/..%2fx/load", "{}"), 400),
    ];
    for (what, request, status) in table {
        for listener in gateway().listeners() {
            let reply = request.send(listener);
            assert_eq!(reply.status, status, "{what}: {}", reply.text());
            let message = reply.error();
            assert!(!message.contains("src/") && !message.contains("/tmp"), "{what}: {message}");
        }
    }
    let reply = post(&good).header("content-encoding", "br").send(gateway().http);
    assert_eq!(reply.header("accept-encoding"), Some("gzip, deflate"));
}

#[test]
fn media_types_that_clients_send_are_taken() {
    let body = add_sub().json_request().body;
    for media in [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "text/plain",
    ] {
        let request = Request::post("/v2/models/add-sub/infer", body.clone());
        let reply = request.header("content-type", media).send(gateway().http);
        assert_eq!(reply.status, 200, "{media}: {}", reply.text());
    }
}

#[test]
fn bodies_over_the_limit_are_refused_by_what_they_declare() {
    let gateway = gateway();
    let request = Request::post("/v2/models/add-sub/infer", "");
    let mut connection = gateway.connect();
    let head = String::from_utf8(request.head()).expect("text");
    let head = head.replace("content-length: 0", "content-length: 1000000000000");
    connection.write(head.as_bytes()).expect("a head");
    let reply = connection.reply();
    assert_eq!(reply.status, 413);
    assert!(reply.error().contains("max_body_bytes"), "{}", reply.text());
    gateway.assert_serves();
}
