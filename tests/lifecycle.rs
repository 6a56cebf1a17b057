//! Start, readiness, stop, and what is said where starting fails.

mod support;

use std::time::{Duration, Instant};

use modelgate::types::DType;
use rustix::process::Signal;
use support::gateway::{Gateway, Launch};
use support::grpc::Client;
use support::http::{self, Request};
use support::predict::{Face, Predict, tensor};
use support::registry::Registry;
use support::zoo::{self, floats, longs};

const SOON: Duration = Duration::from_secs(10);

fn registry() -> Registry {
    Registry::new()
        .model("square", zoo::square_plus_one())
        .model("slow", zoo::halving())
        .options("slow", "execution: lane")
}

fn start(registry: &Registry, config: &str) -> Gateway {
    Launch::new().models(registry.path()).config(config).start()
}

fn square() -> Predict {
    Predict::of("square", [tensor("x", DType::Fp32, &[1, 1], floats(&[2.0]))])
}

/// Takes as long as it is allowed to.
fn endless(allowed_ms: u32) -> Predict {
    let inputs = [
        tensor("trips", DType::Int64, &[], longs(&[1 << 62])),
        tensor("x", DType::Fp32, &[1], floats(&[8.0])),
    ];
    Predict::of("slow", inputs).header("x-request-timeout-ms", &allowed_ms.to_string())
}

#[track_caller]
fn wait_until_not_ready(gateway: &Gateway) {
    let until = Instant::now() + SOON;
    loop {
        let reply = http::get(gateway.ops, "/readyz");
        if reply.status == 503 {
            assert!(reply.text().contains("stopping"), "{}", reply.text());
            return;
        }
        assert!(Instant::now() < until, "it is still ready");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn telemetry_of_the_library_is_off_whatever_the_environment_says() {
    // The gateway refuses a library that would not be silenced, so that it starts is the proof.
    let registry = registry();
    let launch = Launch::new().models(registry.path()).env("ORT_DISABLE_TELEMETRY", "0");
    launch.start().assert_serves();
}

#[test]
fn requests_under_way_are_answered_before_the_end() {
    let registry = registry();
    let gateway = start(&registry, "");
    let mut busy = gateway.connect();
    busy.write(&endless(1200).json_request().bytes()).expect("a request");
    let mut idle = gateway.connect();
    assert_eq!(idle.exchange(&Request::get("/v2/health/ready")).status, 200);
    std::thread::sleep(Duration::from_millis(200));
    let stopping = Instant::now();
    gateway.terminate();
    wait_until_not_ready(&gateway);
    assert_eq!(http::get(gateway.ops, "/livez").status, 200, "but alive");
    assert!(idle.is_closed_within(SOON), "idle connections are closed");
    let reply = busy.reply();
    assert_eq!(reply.status, 504, "answered as ever: {}", reply.text());
    assert_eq!(reply.header("connection"), Some("close"), "and told to go");
    let status = gateway.wait(SOON);
    assert_eq!(status.code(), Some(0));
    assert!(stopping.elapsed() < SOON);
}

/// The thread that is to answer them runs something long when the signal comes.
#[test]
fn requests_that_came_before_the_signal_are_answered() {
    let registry = Registry::new()
        .model("square", zoo::square_plus_one())
        .model("slow", zoo::halving())
        .options("slow", "execution: inline");
    let gateway = start(&registry, "server: {threads: 1}");
    let mut busy = gateway.connect();
    busy.write(&endless(1500).json_request().bytes()).expect("a request");
    std::thread::sleep(Duration::from_millis(200));
    let asked = (0..8).map(|_| {
        let mut connection = gateway.connect();
        connection.write(&square().json_request().bytes()).expect("a request");
        connection
    });
    let asked: Vec<_> = asked.collect();
    gateway.terminate();
    wait_until_not_ready(&gateway);
    for mut connection in asked {
        let reply = connection.try_reply().expect("an answer");
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    assert_eq!(busy.reply().status, 504);
    assert_eq!(gateway.wait(SOON).code(), Some(0));
}

#[test]
fn during_the_drain_delay_requests_are_served_while_not_ready() {
    let registry = registry();
    let gateway = start(&registry, "server: {shutdown: {drain_delay_ms: 1500}}");
    let mut client = Client::connect(gateway.grpc);
    let mut kept = gateway.connect();
    gateway.terminate();
    wait_until_not_ready(&gateway);
    assert_eq!(gateway.get("/v2/health/live").status, 200, "new connections are accepted");
    let ready = kept.exchange(&Request::get("/v2/health/ready"));
    assert_eq!((ready.status, ready.json()["ready"].as_bool()), (503, Some(false)));
    use modelgate::api::codec::pb;
    let ready: pb::ServerReadyResponse =
        client.unary("ServerReady", &pb::ServerReadyRequest {}).expect("OK, with ready: false");
    assert!(!ready.ready);
    let model = pb::ModelReadyRequest { name: "square".to_owned(), ..Default::default() };
    let ready: pb::ModelReadyResponse = client.unary("ModelReady", &model).expect("OK");
    assert!(!ready.ready);
    for face in Face::ALL {
        let answer = square().ask(&gateway, face).expect("served until the end");
        assert_eq!(answer.outputs[0].data, floats(&[5.0]));
    }
    assert_eq!(gateway.wait(SOON).code(), Some(0));
}

/// Reads frames off an HTTP/2 connection until one of `kind` comes.
fn read_until_frame(connection: &mut http::Connection, kind: u8) -> Option<Vec<u8>> {
    use std::io::Read;
    let mut socket = connection.socket();
    loop {
        let mut head = [0; 9];
        socket.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        socket.read_exact(&mut payload).ok()?;
        if head[3] == kind {
            return Some(payload);
        }
    }
}

#[test]
fn http2_connections_get_a_goaway() {
    const SETTINGS: u8 = 4;
    const GOAWAY: u8 = 7;
    let registry = registry();
    let gateway = start(&registry, "");
    let mut connection = gateway.connect();
    connection.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").expect("a preface");
    read_until_frame(&mut connection, SETTINGS).expect("settings");
    gateway.terminate();
    let goaway = read_until_frame(&mut connection, GOAWAY).expect("GOAWAY before the end");
    assert_eq!(goaway[4..8], [0; 4], "NO_ERROR");
    // This peer neither answers nor hangs up, and still does not hold up the end.
    assert_eq!(gateway.wait(SOON).code(), Some(0));
}

#[test]
fn a_second_signal_stops_at_once() {
    let registry = registry();
    let gateway = start(&registry, "");
    let mut busy = gateway.connect();
    busy.write(&endless(60_000).json_request().bytes()).expect("a request");
    std::thread::sleep(Duration::from_millis(200));
    gateway.terminate();
    wait_until_not_ready(&gateway);
    std::thread::sleep(Duration::from_millis(200));
    assert!(!gateway.has_ended(), "it waits for the request");
    let second = Instant::now();
    gateway.signal(Signal::INT);
    assert_eq!(gateway.wait(SOON).code(), Some(0));
    assert!(second.elapsed() < Duration::from_secs(3), "{:?}", second.elapsed());
}

#[test]
fn the_grace_period_bounds_the_wait() {
    let registry = registry();
    let gateway = start(&registry, "server: {shutdown: {grace_ms: 400}}");
    let mut busy = gateway.connect();
    busy.write(&endless(60_000).json_request().bytes()).expect("a request");
    std::thread::sleep(Duration::from_millis(200));
    let stopping = Instant::now();
    gateway.terminate();
    assert_eq!(gateway.wait(SOON).code(), Some(0));
    let taken = stopping.elapsed();
    assert!(taken >= Duration::from_millis(400) && taken < Duration::from_secs(5), "{taken:?}");
}

#[test]
fn not_ready_until_the_models_are_loaded() {
    // Trying this model takes a while: each made-up run of it does.
    let registry = registry();
    let gateway = Launch::new().models(registry.path()).listen();
    let mut seen = Vec::new();
    let until = Instant::now() + SOON;
    while seen.last() != Some(&200) && Instant::now() < until {
        let inference = gateway.get("/v2/health/ready").status;
        let ops = http::get(gateway.ops, "/readyz");
        if ops.status == 503 {
            assert!(ops.text().contains("loading"), "{}", ops.text());
        }
        seen.push(inference);
    }
    let ready = seen.iter().position(|status| *status == 200).expect("ready in the end");
    assert!(seen[..ready].iter().all(|status| *status == 503), "{seen:?}");
    gateway.wait_for_log(|line| line["message"] == "ready");
    let position = |message: &str| {
        let logged = gateway.logged();
        logged.iter().position(|line| line["message"] == message).expect("it was logged")
    };
    assert!(position("listening") < position("ready"), "it listens before it is ready");
    assert!(position("model ready") < position("ready"));
}

#[test]
fn a_broken_model_does_not_keep_others_from_serving() {
    let registry = registry()
        .version("garbage", 1, b"not a model")
        .version("square", 2, b"not a model either")
        .model("bad-options", zoo::square_plus_one())
        .options("bad-options", "lanes: none");
    let gateway = start(&registry, "");
    let answer = square().ask(&gateway, Face::Json).expect("version 1 serves");
    assert_eq!(answer.version, "1");
    let rejected = |line: &serde_json::Value| line["message"] == "model rejected";
    gateway.wait_for_log(|line| rejected(line) && line["model"] == "square");
    let index = Request::post("/v2/repository/index", "").send(gateway.http).json();
    let index = index.as_array().expect("a list").iter();
    let broken: Vec<_> = index.filter(|entry| entry["state"] != "READY").collect();
    assert_eq!(broken.len(), 3, "{broken:#?}");
    for entry in &broken {
        assert_eq!(entry["state"], "UNAVAILABLE");
        assert!(!entry["reason"].as_str().unwrap_or_default().is_empty(), "{entry}");
    }
    let options = broken.iter().find(|entry| entry["name"] == "bad-options").expect("it");
    assert!(options["reason"].as_str().is_some_and(|why| why.contains("lanes")), "{options}");
    assert_eq!(gateway.logged().into_iter().filter(rejected).count(), 3);
}

#[test]
fn every_log_line_is_one_json_object() {
    let registry = registry();
    let gateway = start(&registry, "telemetry: {log_level: debug}");
    for odd in ["a%0ab", "%1b[31m", "%e2%80%a8", "%22%7d"] {
        gateway.get(&format!("/v2/models/{odd}"));
        let request = Request::post(&format!("/v2/models/{odd}/infer"), "{}");
        request.header("x-request-id", "a\u{1b}[0m").send(gateway.http);
    }
    let logged = gateway.logged();
    assert!(logged.len() > 5);
    for line in logged {
        assert!(line.is_object(), "{line}");
    }
}

#[test]
fn the_outcome_of_a_failed_start_is_told() {
    let registry = registry();
    let nowhere = registry.path().join("nowhere");
    let missing = Launch::new().models(&nowhere).run();
    assert_eq!(missing.code, Some(1), "{missing:?}");
    assert!(missing.stderr.contains("nowhere"), "{}", missing.stderr);

    let none = Launch::new().run();
    assert_eq!(none.code, Some(1), "{none:?}");
    assert!(none.stderr.contains("--models"), "{}", none.stderr);

    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let config = format!("server: {{http: '{address}'}}");
    let busy = Launch::bare().models(registry.path()).config(&config).run();
    assert_eq!(busy.code, Some(1), "{busy:?}");
    assert!(busy.stderr.contains(&address), "{}", busy.stderr);

    let usage = Launch::new().args(&["--no-such-flag"]).run();
    assert_eq!(usage.code, Some(2), "{usage:?}");
}

#[test]
fn a_bad_configuration_is_exit_code_3() {
    let registry = registry();
    for (yaml, fragments) in [
        ("limits:\n  max_connection: 5", &["max_connection", "max_connections", "2"][..]),
        ("limits: {max_body_bytes: 5}", &["max_body_bytes"]),
        ("server: {http: nowhere}", &["http"]),
        ("telemetry: {log_level: 'modelgate=loudly'}", &["loudly"]),
        ("server: [", &["modelgate.yaml"]),
    ] {
        for check in [&[][..], &["--check"]] {
            let ended = Launch::new().models(registry.path()).config(yaml).args(check).run();
            assert_eq!(ended.code, Some(3), "{yaml}: {ended:?}");
            for fragment in fragments {
                assert!(ended.stderr.contains(fragment), "{yaml}: {}", ended.stderr);
            }
        }
    }
    let gone = Launch::new().args(&["--config", "/no/such/file.yaml"]).run();
    assert_eq!(gone.code, Some(3), "{gone:?}");
}

#[test]
fn check_tells_a_good_configuration_and_starts_nothing() {
    let registry = registry();
    let check = || Launch::new().config("limits: {max_inputs: 3}").args(&["--check"]);
    let good = check().models(registry.path()).run();
    assert_eq!(good.code, Some(0), "{good:?}");
    assert!(good.stdout.contains("valid"), "{good:?}");
    assert!(!good.stderr.contains("listening"), "{good:?}");
    let alone = check().run();
    assert_eq!(alone.code, Some(0), "a file may be checked without its models: {alone:?}");
    let registry = registry.options("square", "lanes: none");
    let bad_options = check().models(registry.path()).run();
    assert_eq!(bad_options.code, Some(3), "{bad_options:?}");
    assert!(bad_options.stderr.contains("lanes"), "{bad_options:?}");
}

#[test]
fn a_missing_library_says_how_to_get_one() {
    let registry = registry();
    let explicit = Launch::new()
        .models(registry.path())
        .args(&["--onnxruntime", "/no/such/libonnxruntime.so"])
        .run();
    assert_eq!(explicit.code, Some(1), "{explicit:?}");
    for fragment in ["/no/such/libonnxruntime.so", "make setup", "MODELGATE_ONNXRUNTIME"] {
        assert!(explicit.stderr.contains(fragment), "{fragment}: {}", explicit.stderr);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let fake = folder.path().join("libonnxruntime.so");
    std::fs::write(&fake, b"no library").expect("a file");
    let fake = Launch::new()
        .models(registry.path())
        .args(&["--onnxruntime", &fake.to_string_lossy()])
        .run();
    assert_eq!(fake.code, Some(1), "{fake:?}");
    assert!(fake.stderr.contains("cannot use"), "{}", fake.stderr);
}
