//! Loading and unloading through the protocol, over HTTP and gRPC.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use modelgate::admission::ByteBudget;
use modelgate::api::codec::{DecodeLimits, pb};
use modelgate::api::net::{self, TimeLimits, Workers};
use modelgate::api::{Face, WireLimits};
use modelgate::control::{Control, Status};
use modelgate::request::Gateway;
use modelgate::shadow::Mirror;
use modelgate::telemetry::{Telemetry, TelemetryOptions};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::scripted::answer_all;
use crate::support::grpc::{Called, Client};
use crate::support::http::{Reply, Request};

const FAILED_PRECONDITION: i32 = 9;
const NOT_FOUND: i32 = 5;
const INVALID_ARGUMENT: i32 = 3;
const DEADLINE_EXCEEDED: i32 = 4;
const UNAVAILABLE: i32 = 14;

/// One network thread that serves no model, before the scripted lifecycle.
struct Server {
    address: SocketAddr,
    face: Arc<Face>,
    asked: Arc<Mutex<Vec<String>>>,
    _stop: watch::Sender<bool>,
    runtime: Runtime,
}

impl Server {
    fn start() -> Server {
        let server = Server::starting();
        let (control, commands) = Control::scripted(Status::default());
        server.runtime.spawn(answer_all(commands, Arc::clone(&server.asked)));
        server.face.set_control(control);
        server
    }

    /// A server whose lifecycle has not begun.
    fn starting() -> Server {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let telemetry = Arc::new(Telemetry::new(TelemetryOptions::default()));
        let mirror = Mirror::start(&telemetry).expect("a mirror");
        let budget = ByteBudget::new(1 << 20);
        let recording = Arc::new(modelgate::predictions::Recording::off());
        let gateway = Gateway::new(telemetry, budget, mirror, recording, Duration::from_secs(2));
        let face = Arc::new(Face::new(Arc::new(gateway), limits(), false));
        let (stop, stopped) = watch::channel(false);
        let _inside = runtime.enter();
        let listener = net::bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let address = listener.address;
        let (workers, _pool) = Workers::start(1, &face, &stopped).expect("a thread");
        runtime.spawn(listener.accept_into(workers, stopped));
        drop(_inside);
        Server { address, face, asked: Arc::default(), _stop: stop, runtime }
    }

    fn http(&self, model: &str, call: &str, body: &str) -> Reply {
        Request::post(&format!("/v2/repository/models/{model}/{call}"), body).send(self.address)
    }

    fn load(&self, request: pb::RepositoryModelLoadRequest) -> Result<(), Called> {
        let answer: Result<pb::RepositoryModelLoadResponse, Called> =
            Client::connect(self.address).unary("RepositoryModelLoad", &request);
        answer.map(|_| ())
    }

    fn unload(&self, request: pb::RepositoryModelUnloadRequest) -> Result<(), Called> {
        let answer: Result<pb::RepositoryModelUnloadResponse, Called> =
            Client::connect(self.address).unary("RepositoryModelUnload", &request);
        answer.map(|_| ())
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().expect("no panic"))
    }
}

fn limits() -> WireLimits {
    WireLimits {
        max_body_bytes: 1 << 16,
        max_head_bytes: 16 << 10,
        max_headers: 100,
        max_connections: 100,
        max_streams: 16,
        body_timeout: Duration::from_secs(5),
        spin: Duration::ZERO,
        ping_every: Duration::from_secs(30),
        time: TimeLimits { head_ms: 5000, idle_ms: 60_000, write_ms: 5000, stalled_ms: 60_000 },
        decode: DecodeLimits::default(),
    }
}

fn load(model: &str) -> pb::RepositoryModelLoadRequest {
    pb::RepositoryModelLoadRequest { model_name: model.to_owned(), ..Default::default() }
}

fn unload(model: &str) -> pb::RepositoryModelUnloadRequest {
    pb::RepositoryModelUnloadRequest { model_name: model.to_owned(), ..Default::default() }
}

fn parameter(name: &str) -> std::collections::BTreeMap<String, pb::ModelRepositoryParameter> {
    [(name.to_owned(), pb::ModelRepositoryParameter::default())].into()
}

#[test]
fn models_are_loaded_and_unloaded_by_request() {
    let server = Server::start();
    let dependents = r#"{"parameters": {"unload_dependents": true}}"#;
    for (call, body) in [("load", ""), ("load", "{}"), ("unload", ""), ("unload", dependents)] {
        let reply = server.http("a%2Db", call, body);
        assert_eq!((reply.status, reply.text().as_str()), (200, "{}"), "{call} {body}");
        assert_eq!(
            server.asked(),
            [format!("{call} a-b by http because \"repository extension\"")]
        );
    }
    server.load(load("m")).expect("OK");
    assert_eq!(server.asked(), [r#"load m by grpc because "repository extension""#]);
    let request = pb::RepositoryModelUnloadRequest {
        parameters: parameter("unload_dependents"),
        ..unload("m")
    };
    server.unload(request).expect("OK");
    assert_eq!(server.asked(), [r#"unload m by grpc because "repository extension""#]);
}

#[test]
fn what_cannot_be_done_has_a_code_and_a_reason() {
    let server = Server::start();
    for (model, status, code, part) in [
        ("absent", 404, NOT_FOUND, "unknown model 'absent'"),
        ("stuck", 409, FAILED_PRECONDITION, "explicit mode"),
        ("broken", 422, FAILED_PRECONDITION, "bad_model: no graph"),
        ("..", 400, INVALID_ARGUMENT, "is not a model name"),
    ] {
        for call in ["load", "unload"] {
            let reply = server.http(model, call, "{}");
            assert_eq!(reply.status, status, "{call} {model}");
            assert!(reply.error().contains(part), "{}", reply.text());
        }
        for called in [server.load(load(model)), server.unload(unload(model))] {
            let called = called.expect_err("refused");
            assert_eq!(called.code, code, "{model}: {}", called.message);
            assert!(called.message.contains(part), "{}", called.message);
        }
    }
}

#[test]
fn models_come_from_the_registry_alone() {
    let server = Server::start();
    for name in ["config", "file:1/model.onnx", "version"] {
        let body = format!(r#"{{"parameters": {{"{name}": "{{}}"}}}}"#);
        let reply = server.http("m", "load", &body);
        assert_eq!(reply.status, 400, "{name}");
        assert!(reply.error().contains(name), "{}", reply.text());
        let request = pb::RepositoryModelLoadRequest { parameters: parameter(name), ..load("m") };
        let called = server.load(request).expect_err("refused");
        assert_eq!(called.code, INVALID_ARGUMENT, "{}", called.message);
        assert!(called.message.contains(name), "{}", called.message);
        let request =
            pb::RepositoryModelUnloadRequest { parameters: parameter(name), ..unload("m") };
        assert_eq!(server.unload(request).expect_err("refused").code, INVALID_ARGUMENT);
    }
    let elsewhere =
        pb::RepositoryModelLoadRequest { repository_name: "other".to_owned(), ..load("m") };
    let called = server.load(elsewhere).expect_err("refused");
    assert_eq!(called.code, INVALID_ARGUMENT);
    assert!(called.message.contains("repository_name"), "{}", called.message);
    for body in ["[]", "null", r#"{"parameters": []}"#, "{"] {
        assert_eq!(server.http("m", "load", body).status, 400, "{body}");
    }
    assert_eq!(Request::get("/v2/repository/models/m/load").send(server.address).status, 405);
    assert!(server.asked().is_empty(), "none of them was heard");
}

#[test]
fn web_pages_of_others_change_nothing() {
    let server = Server::start();
    for (origin, status) in [("http://example.org", 403), ("null", 403), ("http://gateway", 200)] {
        for call in ["load", "unload"] {
            let request = Request::post(&format!("/v2/repository/models/m/{call}"), "{}");
            let reply = request.header("origin", origin).send(server.address);
            assert_eq!(reply.status, status, "{call} from {origin}: {}", reply.text());
        }
    }
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn a_long_load_holds_up_nothing_and_is_not_waited_for_forever() {
    let server = Server::start();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let since = Instant::now();
            let reply = server.http("slow", "load", "{}");
            (reply, since.elapsed())
        });
        let until = Instant::now() + Duration::from_secs(10);
        while server.asked().is_empty() {
            assert!(Instant::now() < until, "nothing was asked for");
            std::thread::yield_now();
        }
        let live = Request::get("/v2/health/live").send(server.address);
        assert_eq!(live.status, 200, "on the only network thread");
        assert!(!waiting.is_finished());
        let (reply, taken) = waiting.join().expect("no panic");
        assert_eq!(reply.status, 504, "{}", reply.text());
        assert!(reply.error().contains("repository index"), "{}", reply.text());
        assert!(taken >= Duration::from_secs(2), "{taken:?}");
    });
    let mut client = Client::connect(server.address);
    let called: Result<(pb::RepositoryModelLoadResponse, _), Called> =
        client.unary_with("RepositoryModelLoad", &[("grpc-timeout", "100m")], &load("slow"));
    assert_eq!(called.expect_err("too late").code, DEADLINE_EXCEEDED);
}

#[test]
fn before_the_lifecycle_begins_callers_are_told_to_try_again() {
    let server = Server::starting();
    let reply = server.http("m", "load", "{}");
    assert_eq!(reply.status, 503, "{}", reply.text());
    // A second, more or less by up to a half, in whole seconds.
    assert!(matches!(reply.header("retry-after"), Some("1" | "2")));
    assert_eq!(server.load(load("m")).expect_err("refused").code, UNAVAILABLE);
}
