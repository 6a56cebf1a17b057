//! Training is asked for on a started gateway: from an alert of Alertmanager to
//! the version that came of it, through a receiver that fails and a gateway
//! that is killed.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use modelgate::control::retrain::Signer;
use modelgate::types::DType;
use rustix::process::Signal;
use serde_json::{Value, json};
use support::gateway::{Gateway, Launch};
use support::http::{self, Reply, Request};
use support::metrics::Scrape;
use support::predict::{Face, Predict, tensor};
use support::registry::Registry;
use support::zoo::{self, floats};

/// Far longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A request that a receiver got: its head and its body.
type Got = (String, Vec<u8>);

/// Refuses the first `failing` events for now, and takes the rest.
fn receiver(failing: usize) -> (SocketAddr, mpsc::Receiver<Got>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (got, received) = mpsc::channel();
    thread::spawn(move || {
        for at in 0.. {
            let Ok((stream, _)) = listener.accept() else { return };
            let mut reader = BufReader::new(stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if reader.read_line(&mut head).unwrap_or(0) == 0 {
                    break;
                }
            }
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
            let mut body = vec![0; length];
            if reader.read_exact(&mut body).is_err() {
                continue;
            }
            let status = if at < failing { "503 Service Unavailable" } else { "202 Accepted" };
            let _ = write!(
                reader.get_mut(),
                "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
            if got.send((head, body)).is_err() {
                return;
            }
        }
    });
    (address, received)
}

/// Two inputs, of which the profile describes one.
fn add_profile(registry: &Registry, version: u64) {
    let profile = json!({
        "schema": "modelgate.drift.profile/v1", "model": "loans",
        "inputs": [{
            "name": "income", "tensor": "x", "index": [0], "kind": "numeric",
            "edges": [0.5], "counts": [1000, 1000], "missing": 0, "min": 0.0, "max": 1.0,
            "p001": 0.0, "p999": 1.0, "mean": 0.5, "std": 0.3,
        }],
    });
    let path = registry.path().join(format!("loans/{version}/profile.json"));
    std::fs::write(path, profile.to_string()).expect("a profile");
}

fn launch(registry: &Registry, data: &Path, to: SocketAddr) -> Gateway {
    let config = format!(
        "
drift: {{windows_ms: [6000, 12000], every_ms: 100}}
retrain:
  dry_run: false
  evaluate_ms: 100
  deliver:
    to: cloudevent
    url: http://{to}/hook
    headers: {{authorization: Bearer hunter2}}
    secret: {KEY}
"
    );
    Launch::new().models(registry.path()).data(data).config(&config).start()
}

fn predict(gateway: &Gateway) {
    let input = tensor("x", DType::Fp32, &[1, 2], floats(&[0.2, 0.8]));
    Predict::of("loans", [input]).ask(gateway, Face::Json).expect("an answer");
}

fn status(gateway: &Gateway) -> Value {
    http::get(gateway.admin, "/admin/v1/retrain").json()
}

/// The outcome of the model's last request; null where there is none.
fn outcome(gateway: &Gateway) -> Value {
    status(gateway)["models"][0]["request"]["outcome"].clone()
}

#[track_caller]
fn wait_for(what: &str, mut is: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < until, "{what} did not come in time");
        thread::sleep(Duration::from_millis(50));
    }
}

fn alert(gateway: &Gateway, status: &str) -> Reply {
    let labels = json!({"alertname": "ModelAucDropped", "model": "loans", "version": "1"});
    let alert = json!({"status": status, "fingerprint": "f", "labels": labels});
    let stranger = json!({"status": status, "labels": {"alertname": "NodeDown"}});
    let body = json!({"version": "4", "alerts": [alert, stranger]}).to_string();
    Request::post("/admin/v1/hooks/alertmanager", body)
        .header("content-type", "application/json")
        .send(gateway.admin)
}

fn command(gateway: &Gateway, args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_modelgate"))
        .env("MODELGATE_URL", format!("http://{}", gateway.admin))
        .arg("retrain")
        .args(args)
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn event((_, body): &Got) -> Value {
    serde_json::from_slice(body).expect("JSON")
}

#[test]
fn an_alert_leads_to_one_request_and_that_to_a_version() {
    let model = |op| zoo::unary(op, DType::Fp32, &["rows", "2"]);
    let registry = Registry::new().model("loans", model("Identity"));
    add_profile(&registry, 1);
    let data = tempfile::tempdir().expect("a folder");
    let (address, received) = receiver(1);
    let gateway = launch(&registry, data.path(), address);
    predict(&gateway);
    assert!(!http::get(gateway.admin, "/admin/v1/config").text().contains("hunter2"));

    let taken = alert(&gateway, "firing").json();
    assert_eq!(taken, json!({"firing": 1, "resolved": 0, "ignored": 1}));
    let first = received.recv_timeout(PATIENCE).expect("a request");
    let (head, body) = &first;
    assert!(head.starts_with("POST /hook HTTP/1.1\r\n"), "{head}");
    let header = |name: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no {name} in {head}")).to_owned()
    };
    assert_eq!(header("authorization"), "Bearer hunter2");
    let seconds = header("webhook-timestamp").parse().expect("a number");
    let signer = Signer::new(KEY).expect("a key");
    let signed = signer.sign(&header("webhook-id"), seconds, body);
    assert_eq!(header("webhook-signature"), signed);
    let asked = event(&first);
    assert_eq!(asked["type"], "io.modelgate.retrain.requested.v1");
    assert_eq!(asked["source"], "/models/loans/versions/1");
    assert_eq!(
        (&asked["data"]["reason"], &asked["data"]["test"]),
        (&json!("quality"), &json!(false))
    );
    assert_eq!(asked["data"]["alerts"][0]["name"], "ModelAucDropped");
    let of_loans = [("model", "loans"), ("reason", "quality")];
    let requests = |gateway: &Gateway| {
        Scrape::of(gateway.ops).sum("modelgate_retrain_requests_total", &of_loans)
    };
    assert_eq!(requests(&gateway), 1.0);

    // The receiver failed; the gateway is killed before it can try again.
    gateway.signal(Signal::KILL);
    let _ = gateway.wait(PATIENCE);
    let gateway = launch(&registry, data.path(), address);
    let again = received.recv_timeout(PATIENCE).expect("another attempt");
    assert_eq!(event(&again), asked);
    wait_for("its delivery", || outcome(&gateway) == "delivered");
    alert(&gateway, "firing");
    predict(&gateway);

    // A version comes of it, and answers at once, as no route says otherwise.
    let folder = registry.path().join("loans/2");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("model.onnx"), model("Neg").model()).expect("a model");
    add_profile(&registry, 2);
    wait_for("the new version", || outcome(&gateway) == "promoted");
    let ended = event(&received.recv_timeout(PATIENCE).expect("the end"));
    assert_eq!(ended["type"], "io.modelgate.retrain.completed.v1");
    assert_eq!(
        (&ended["data"]["request"], &ended["data"]["outcome"]),
        (&asked["id"], &json!("promoted"))
    );
    assert_eq!(ended["source"], "/models/loans/versions/2");

    // All that led to it is told.
    let model = &status(&gateway)["models"][0];
    let steps = model["lineage"].as_array().expect("steps").iter();
    let steps: Vec<&str> = steps.filter_map(|step| step["step"].as_str()).collect();
    assert_eq!(steps, ["requested", "delivered", "arrived", "promoted"]);
    assert_eq!(model["cooldown_until"], Value::Null);
    let shown = command(&gateway, &["loans"]);
    assert!(shown.contains("promoted") && shown.contains("ModelAucDropped"), "{shown}");
    assert!(command(&gateway, &[]).contains("requests left today: 2"));
    assert_eq!(requests(&gateway), 0.0, "none since the restart");
}

#[test]
fn a_test_event_is_marked_and_changes_nothing() {
    let model = zoo::unary("Identity", DType::Fp32, &["rows", "2"]);
    let registry = Registry::new().model("loans", model);
    let data = tempfile::tempdir().expect("a folder");
    let (address, received) = receiver(0);
    let gateway = launch(&registry, data.path(), address);
    assert!(command(&gateway, &["test", "loans"]).contains("on its way"));
    let event = event(&received.recv_timeout(PATIENCE).expect("a request"));
    assert_eq!((&event["data"]["test"], &event["data"]["reason"]), (&json!(true), &json!("test")));
    wait_for("an evaluation", || status(&gateway)["models"][0]["lineage"][0]["step"] == "test");
    assert_eq!(outcome(&gateway), Value::Null);
    let unknown = Request::post("/admin/v1/retrain/nobody/test", "{}")
        .header("content-type", "application/json")
        .send(gateway.admin);
    assert_eq!(unknown.status, 404, "{}", unknown.text());
}
