//! Deliveries over real sockets and to real programs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::bodies::Body;
use super::deliver::{CommandTarget, Courier, HttpTarget, Target};
use super::event::{Context, Event, EventKind, fixture};
use super::outbox::Attempt;
use super::signature::Signer;
use crate::registry::Secret;
use crate::types::ModelName;

const PATIENCE: Duration = Duration::from_secs(60);

fn event() -> Event {
    let model = ModelName::parse("churn").expect("a name");
    Event::requested(&model, &fixture::evidence(), &Context::default(), 0, false)
}

/// A request as it came: its head, and its body.
type Seen = (String, Vec<u8>);

/// Answers one request after the other with these; then hangs up.
fn server(answers: Vec<&'static str>) -> (SocketAddr, mpsc::Receiver<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (seen, received) = mpsc::channel();
    thread::spawn(move || {
        for answer in answers {
            let (stream, _) = listener.accept().expect("a connection");
            let mut reader = BufReader::new(stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert!(reader.read_line(&mut head).expect("a line") > 0);
            }
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok()
            });
            let mut body = vec![0; length.expect("a length")];
            reader.read_exact(&mut body).expect("a body");
            seen.send((head, body)).expect("somebody looks");
            let answer =
                format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            reader.get_mut().write_all(answer.as_bytes()).expect("sent");
        }
    });
    (address, received)
}

fn courier(address: SocketAddr, body: Body) -> Courier {
    let token = (http::header::AUTHORIZATION, Secret::new("Bearer hunter2"));
    Courier::new(Target::Http(HttpTarget {
        url: Secret::new(format!("http://{address}/hook")),
        body,
        headers: vec![token],
        signer: Some(Signer::new("0123456789abcdef0123456789abcdef").expect("a key")),
        timeout: PATIENCE,
    }))
    .expect("a client")
}

#[tokio::test]
async fn an_event_arrives_signed_and_whole() {
    let (address, seen) = server(vec!["202 Accepted"]);
    let courier = courier(address, Body::CloudEvent);
    assert_eq!(courier.deliver(&event(), 1_614_265_330).await, Attempt::Delivered);
    let (head, body) = seen.recv_timeout(PATIENCE).expect("a request");
    assert!(head.starts_with("POST /hook HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("authorization: Bearer hunter2\r\n"), "{head}");
    assert!(head.contains("webhook-timestamp: 1614265330\r\n"), "{head}");
    let signer = Signer::new("0123456789abcdef0123456789abcdef").expect("a key");
    let signed = signer.sign(&event().id, 1_614_265_330, &body);
    assert!(head.contains(&format!("webhook-signature: {signed}\r\n")), "{head}");
    assert_eq!(serde_json::from_slice::<Value>(&body).expect("JSON"), event().structured());
    assert!(!format!("{courier:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_status_says_whether_to_try_again() {
    let later = |why: &str| Attempt::Later(why.to_owned());
    let refused = |why: &str| Attempt::Refused(why.to_owned());
    for (status, body, expected) in [
        ("204 No Content", Body::GitHub, Attempt::Delivered),
        ("409 Conflict", Body::Airflow, Attempt::Delivered),
        ("409 Conflict", Body::Argo, refused("status 409")),
        ("400 Bad Request", Body::CloudEvent, refused("status 400")),
        ("401 Unauthorized", Body::CloudEvent, refused("status 401")),
        ("301 Moved Permanently", Body::CloudEvent, refused("status 301")),
        ("429 Too Many Requests", Body::CloudEvent, later("status 429")),
        ("503 Service Unavailable", Body::CloudEventBinary, later("status 503")),
    ] {
        let (address, _seen) = server(vec![status]);
        let attempt = courier(address, body).deliver(&event(), 0).await;
        assert_eq!(attempt, expected, "{status}");
    }
}

#[tokio::test]
async fn nobody_there_is_tried_again_and_the_address_stays_unseen() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let attempt = courier(address, Body::CloudEvent).deliver(&event(), 0).await;
    let Attempt::Later(why) = attempt else { panic!("{attempt:?}") };
    assert!(!why.contains("hook"), "{why}");
}

fn program(script: &str, timeout: Duration) -> Courier {
    Courier::new(Target::Command(CommandTarget {
        program: "sh".to_owned(),
        arguments: vec!["-c".to_owned(), script.to_owned()],
        timeout,
    }))
    .expect("a client")
}

#[tokio::test]
async fn a_program_gets_the_event_and_little_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let [event_file, environment] =
        ["event", "environment"].map(|name| folder.path().join(name).display().to_string());
    let script = format!("cat > '{event_file}' && env > '{environment}'");
    let attempt = program(&script, PATIENCE).deliver(&event(), 0).await;
    assert_eq!(attempt, Attempt::Delivered);
    let got = std::fs::read(event_file).expect("written");
    assert_eq!(serde_json::from_slice::<Value>(&got).expect("JSON"), event().structured());
    let environment = std::fs::read_to_string(environment).expect("written");
    assert!(environment.contains(&format!("MODELGATE_EVENT_ID={}", event().id)));
    let names = environment.lines().filter_map(|line| line.split('=').next());
    for name in names.filter(|name| !name.starts_with("MODELGATE_")) {
        // A shell adds some of its own.
        assert!(["PATH", "PWD", "OLDPWD", "SHLVL", "_"].contains(&name), "{name}");
    }
}

#[tokio::test]
async fn a_program_that_fails_or_hangs_is_tried_again() {
    for (script, timeout, expected) in [
        ("exit 3", PATIENCE, "exit status: 3"),
        ("exec sleep 600", Duration::from_millis(50), "took longer than 0.05 s"),
    ] {
        let attempt = program(script, timeout).deliver(&event(), 0).await;
        let Attempt::Later(why) = attempt else { panic!("{attempt:?}") };
        assert!(why.contains(expected), "{why}");
    }
    let missing = CommandTarget {
        program: "/no/such/program".to_owned(),
        arguments: Vec::new(),
        timeout: PATIENCE,
    };
    let courier = Courier::new(Target::Command(missing)).expect("a client");
    let attempt = courier.deliver(&event(), 0).await;
    assert!(matches!(attempt, Attempt::Later(why) if why.contains("no program")));
}

#[test]
fn only_who_understands_it_is_told_of_the_end() {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    for (body, expected) in
        [(Body::CloudEvent, true), (Body::CloudEventBinary, true), (Body::Airflow, false)]
    {
        let courier = courier(address, body);
        assert!(courier.takes(EventKind::Requested));
        assert_eq!(courier.takes(EventKind::Completed), expected);
    }
    assert!(!program("true", PATIENCE).takes(EventKind::Completed));
}
