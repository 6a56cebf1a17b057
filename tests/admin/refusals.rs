//! What the admin API does not take, and from whom.

use std::time::{Duration, Instant};

use crate::scripted::Admin;
use crate::support::http::{Connection, Request};

/// Calls that are taken with an empty object.
const CALLS: [(&str, &str); 20] = [
    ("GET", "/admin/v1/models"),
    ("GET", "/admin/v1/models/breast-cancer"),
    ("POST", "/admin/v1/models/breast-cancer/rollback"),
    ("POST", "/admin/v1/models/breast-cancer/release"),
    ("POST", "/admin/v1/models/breast-cancer/load"),
    ("POST", "/admin/v1/models/breast-cancer/unload"),
    ("POST", "/admin/v1/models/breast-cancer/versions/3/retry"),
    ("GET", "/admin/v1/routes"),
    ("POST", "/admin/v1/routes"),
    ("GET", "/admin/v1/routes/breast-cancer"),
    ("DELETE", "/admin/v1/routes/breast-cancer"),
    ("POST", "/admin/v1/routes/breast-cancer/delete"),
    ("GET", "/admin/v1/routes/breast-cancer/traffic"),
    ("POST", "/admin/v1/routes/breast-cancer/promote"),
    ("GET", "/admin/v1/routes/breast-cancer/why"),
    ("GET", "/admin/v1/predictions"),
    ("POST", "/admin/v1/registry/events"),
    ("GET", "/admin/v1/audit"),
    ("GET", "/admin/v1/config"),
    ("GET", "/admin/v1/openapi.json"),
];

fn call(method: &'static str, path: &str) -> Request {
    let body = if method == "POST" { "{}" } else { "" };
    let request = Request::post(path, body).method(method);
    request.header("content-type", "application/json")
}

#[test]
fn each_path_takes_its_methods() {
    let admin = Admin::start();
    for (_, path) in CALLS {
        // To set weights takes weights.
        let calls = CALLS.iter().filter(|(_, other)| *other == path).map(|(method, _)| *method);
        let mut taken: Vec<&str> = calls.collect();
        if path.ends_with("/traffic") {
            taken.push("POST");
        }
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            if path.ends_with("/traffic") && method == "POST" {
                continue;
            }
            let reply = admin.send(call(method, path));
            if taken.contains(&method) {
                assert!(reply.status < 300, "{method} {path}: {}", reply.text());
            } else {
                assert_eq!(reply.status, 405, "{method} {path}");
                let allowed = reply.header("allow").expect("the methods that are taken");
                assert_eq!(allowed.split(", ").collect::<Vec<_>>(), taken, "{method} {path}");
                reply.error();
            }
        }
    }
    for path in ["/", "/admin/v1", "/admin/v1/model", "/admin/v1/models/m/retry", "/v2", "/metrics"]
    {
        for method in ["GET", "POST"] {
            let reply = admin.send(call(method, path));
            assert_eq!(reply.status, 404, "{method} {path}");
            assert!(reply.error().contains("openapi.json"), "{}", reply.text());
        }
    }
}

#[test]
fn a_post_is_declared_as_json() {
    let admin = Admin::start();
    for (_, path) in CALLS.iter().filter(|(method, _)| *method == "POST") {
        for media in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "text/plain; application/json",
            "",
        ] {
            let reply = admin.send(Request::post(path, "{}").header("content-type", media));
            assert_eq!(reply.status, 415, "{path} {media}");
            assert!(reply.error().contains("application/json"), "{}", reply.text());
        }
        assert_eq!(admin.send(Request::post(path, "{}")).status, 415, "{path} without any");
    }
    assert!(admin.asked().is_empty(), "none of them was heard");
}

#[test]
fn web_pages_of_others_are_kept_out() {
    let admin = Admin::start();
    let own = admin.address.to_string();
    for (_, path) in CALLS {
        let method = if path.contains("rollback") { "POST" } else { "GET" };
        for host in ["gateway.example.org", "127.0.0.1.example.org", "10.0.0.1:8003", ""] {
            let reply = admin.send_as(call(method, path), host);
            assert_eq!(reply.status, 403, "{path} to {host:?}");
            reply.error();
        }
        for origin in ["http://example.org", "null", "http://localhost:3000", "file://"] {
            let reply = admin.send(call(method, path).header("origin", origin));
            assert_eq!(reply.status, 403, "{path} from {origin}");
            assert!(reply.header("access-control-allow-origin").is_none());
        }
    }
    let same = call("GET", "/admin/v1/models").header("origin", format!("http://{own}"));
    assert_eq!(admin.send(same).status, 200);
    let forwarded = call("GET", "/admin/v1/models").header("origin", "http://localhost:9000");
    assert_eq!(admin.send_as(forwarded, "localhost:9000").status, 200);
    let mut old = Connection::open(admin.address);
    old.write(b"GET /admin/v1/models HTTP/1.0\r\n\r\n").expect("a request");
    assert_eq!(old.reply().status, 403, "without a host");
    assert!(admin.asked().is_empty(), "none of them was heard");
}

#[test]
fn bodies_say_what_is_known_or_nothing() {
    let admin = Admin::start();
    let long = format!(r#"{{"actor": "{}"}}"#, "x".repeat(129));
    for (call, body) in [
        ("rollback", "[]"),
        ("rollback", "{"),
        ("rollback", "null"),
        ("rollback", r#"{"to": 3}"#),
        ("rollback", r#"{"version": 0}"#),
        ("rollback", r#"{"version": "3"}"#),
        ("release", r#"{"version": 3}"#),
        ("load", r#"{"config": "{}"}"#),
        ("unload", r#"{"actor": 3}"#),
        ("release", r#"{"actor": "a\nb"}"#),
        ("release", r#"{"actor": "a\u001b[31m"}"#),
        ("release", r#"{"reason": "a\u0000b"}"#),
        ("release", &long),
        ("versions/0/retry", "{}"),
        ("versions/newest/retry", "{}"),
        ("release?force=1", "{}"),
    ] {
        let path = format!("/admin/v1/models/m/{call}");
        let reply =
            admin.send(Request::post(&path, body).header("content-type", "application/json"));
        assert_eq!(reply.status, 400, "{call} {body}");
        reply.error();
    }
    let list = Request::post("/admin/v1/registry/events", "[{}]");
    assert_eq!(admin.send(list.header("content-type", "application/json")).status, 400);
    assert!(admin.asked().is_empty(), "none of them was heard");
}

#[test]
fn a_large_body_is_refused_at_once_or_when_it_has_grown() {
    let admin = Admin::start();
    let path = "/admin/v1/registry/events";
    let fits = format!(r#"{{"x": "{}"}}"#, "x".repeat((64 << 10) - 9));
    assert_eq!(fits.len(), 64 << 10);
    let post = |body: String| Request::post(path, body).header("content-type", "application/json");
    assert_eq!(admin.send(post(fits.clone())).status, 202);
    let reply = admin.send(post(fits.clone() + " "));
    assert_eq!(reply.status, 413);
    assert!(reply.error().contains("65536"), "{}", reply.text());

    let mut declared = Connection::open(admin.address);
    let head = |more: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{more}\r\n"
        )
    };
    declared.write(head("content-length: 99999999\r\n").as_bytes()).expect("a head");
    assert_eq!(declared.reply().status, 413, "without a byte of it");

    let mut chunked = Connection::open(admin.address);
    chunked.write(head("transfer-encoding: chunked\r\n").as_bytes()).expect("a head");
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    for _ in 0..32 {
        // It may hang up before the last.
        let _ = chunked.write(chunk.as_bytes());
    }
    assert_eq!(chunked.reply().status, 413);
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for_long() {
    let admin = Admin::start();
    let mut slow = Connection::open(admin.address);
    let head = "POST /admin/v1/registry/events HTTP/1.1\r\nhost: localhost\r\n\
                content-type: application/json\r\ncontent-length: 10\r\n\r\n{";
    let since = Instant::now();
    slow.write(head.as_bytes()).expect("a head");
    assert_eq!(admin.send(call("GET", "/admin/v1/models")).status, 200, "others are served");
    let reply = slow.reply();
    assert_eq!(reply.status, 504, "{}", reply.text());
    assert!(since.elapsed() >= Duration::from_secs(9), "{:?}", since.elapsed());
    assert!(admin.asked().is_empty());
}

#[test]
fn a_queue_that_is_full_is_told() {
    let (admin, commands) = Admin::unanswered();
    admin.fill_queue();
    let refused = admin.send(call("POST", "/admin/v1/registry/events"));
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.error().contains("try again"), "{}", refused.text());
    // A second, more or less by up to a half, in whole seconds.
    assert!(matches!(refused.header("retry-after"), Some("1" | "2")));
    drop(commands);
}

#[test]
fn a_lifecycle_that_has_ended_is_told() {
    let (admin, commands) = Admin::unanswered();
    drop(commands);
    let reply = admin.send(call("POST", "/admin/v1/registry/events"));
    assert_eq!(reply.status, 503);
    assert!(reply.error().contains("stopping"), "{}", reply.text());
    assert_eq!(admin.send(call("GET", "/admin/v1/models")).status, 200, "the last status is kept");
}

#[test]
fn it_stops_with_every_place_taken() {
    let admin = Admin::start();
    let request = call("GET", "/admin/v1/config").header("host", "localhost");
    let mut taken = Vec::new();
    for _ in 0..64 {
        let mut connection = Connection::open(admin.address);
        assert_eq!(connection.exchange(&request).status, 200);
        taken.push(connection);
    }
    let mut waiting = Connection::open(admin.address);
    waiting.write(&request.bytes()).expect("a request");
    assert!(!waiting.is_closed_within(Duration::from_millis(200)), "no place for it yet");
    taken.pop();
    assert_eq!(waiting.reply().status, 200, "the place of the one that left");
    admin.stop();
}
