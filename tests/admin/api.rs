//! Every call, and that the document describes what it answers.

use modelgate::control::Status;
use serde_json::{Value, json};

use crate::scripted::{Admin, NOON, audit, digest, document as document_of, status};
use crate::support::http::{Reply, Request};
use crate::support::openapi::{assert_described, resolve};

pub fn get(path: &str) -> Request {
    Request::get(path)
}

/// The plain way to send a POST.
pub fn post(path: &str, body: &str) -> Request {
    Request::post(path, body).header("content-type", "application/json")
}

pub fn json_of(reply: &Reply, status: u16) -> Value {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    reply.json()
}

#[test]
fn the_status_is_shown_whole_and_by_model() {
    let admin = Admin::start();
    let all = json_of(&admin.send(get("/admin/v1/models")), 200);
    let read: Status = serde_json::from_value(all.clone()).expect("a status");
    assert_eq!(read, status());
    let one = json_of(&admin.send(get("/admin/v1/models/breast-cancer")), 200);
    assert_eq!(one, all["models"][0]);
    assert_eq!(one["hold"]["actor"], "ada");
    let missing = admin.send(get("/admin/v1/models/absent"));
    assert_eq!(missing.status, 404);
    assert!(missing.error().contains("unknown model 'absent'"), "{}", missing.text());
    let none = admin.send(get("/admin/v1/models/_x"));
    assert_eq!(none.status, 400);
    assert!(none.error().contains("is not a model name"), "{}", none.text());
}

#[test]
fn a_rollback_reaches_the_lifecycle_as_it_was_asked() {
    let admin = Admin::start();
    let body = r#"{"version": 2, "actor": "ada", "reason": "3 is late"}"#;
    let hold = json_of(&admin.send(post("/admin/v1/models/m/rollback", body)), 200);
    assert_eq!(
        hold,
        json!({"version": 2, "digest": digest(1), "actor": "ada", "reason": "3 is late", "since": NOON})
    );
    assert_eq!(admin.asked(), [r#"rollback m to Some(Version(2)) by ada because "3 is late""#]);
    for body in ["", "{}"] {
        json_of(&admin.send(post("/admin/v1/models/m/rollback", body)), 200);
        assert_eq!(admin.asked(), [r#"rollback m to None by admin-api because """#]);
    }
}

#[test]
fn changes_answer_with_what_was_done() {
    let admin = Admin::start();
    for (path, status, outcome, asked) in [
        ("m/release", 200, json!({"model": "m", "outcome": "released"}), "release m"),
        ("m/load", 200, json!({"model": "m", "outcome": "loaded"}), "load m"),
        ("m/unload", 200, json!({"model": "m", "outcome": "unloaded"}), "unload m"),
        (
            "m/versions/7/retry",
            202,
            json!({"model": "m", "version": 7, "outcome": "retrying"}),
            "retry m 7",
        ),
        ("a%2Db/release", 200, json!({"model": "a-b", "outcome": "released"}), "release a-b"),
    ] {
        let request = post(&format!("/admin/v1/models/{path}"), r#"{"actor": "ada"}"#);
        assert_eq!(json_of(&admin.send(request), status), outcome, "{path}");
        assert_eq!(admin.asked(), [format!("{asked} by ada because \"\"")]);
    }
}

#[test]
fn what_the_lifecycle_refuses_has_its_own_status() {
    let admin = Admin::start();
    for (model, status, part) in [
        ("absent", 404, "unknown model"),
        ("stuck", 409, "explicit"),
        ("broken", 422, "broken version 3 was rejected: bad_model: no graph"),
    ] {
        for call in ["rollback", "release", "load", "unload", "versions/3/retry"] {
            let path = format!("/admin/v1/models/{model}/{call}");
            let reply = admin.send(post(&path, "{}"));
            assert_eq!(reply.status, status, "{path}");
            assert!(reply.error().contains(part), "{path}: {}", reply.text());
        }
    }
}

#[test]
fn any_webhook_pokes_the_registries() {
    let admin = Admin::start();
    let s3 = r#"{"Records": [{"eventName": "s3:ObjectCreated:Put",
                 "s3": {"bucket": {"name": "b"}, "object": {"key": "m/1/manifest.json"}}}]}"#;
    for (body, registries, asked) in [
        ("{}", json!(["models", "store"]), "poke None"),
        (s3, json!(["models", "store"]), "poke None"),
        (r#"{"registry": "models"}"#, json!(["models"]), r#"poke Some("models")"#),
    ] {
        let reply = admin.send(post("/admin/v1/registry/events", body));
        assert_eq!(json_of(&reply, 202), json!({"registries": registries}));
        assert_eq!(admin.asked(), [asked]);
    }
    let unknown = admin.send(post("/admin/v1/registry/events", r#"{"registry": "x"}"#));
    assert_eq!(unknown.status, 404);
    assert!(unknown.error().contains("there is models, store"), "{}", unknown.text());
}

#[test]
fn the_audit_log_is_asked_for_by_model_and_length() {
    let admin = Admin::start();
    for (query, asked) in [
        ("", "audit None 100"),
        ("?limit=7", "audit None 7"),
        ("?model=breast-cancer", r#"audit Some(ModelName("breast-cancer")) 100"#),
        ("?limit=1000&model=m", r#"audit Some(ModelName("m")) 1000"#),
    ] {
        let entries = json_of(&admin.send(get(&format!("/admin/v1/audit{query}"))), 200);
        assert_eq!(entries, serde_json::to_value(audit()).expect("JSON"));
        assert_eq!(admin.asked(), [asked]);
    }
    for query in ["?limit=0", "?limit=1001", "?limit=-1", "?model=_", "?since=3"] {
        let reply = admin.send(get(&format!("/admin/v1/audit{query}")));
        assert_eq!(reply.status, 400, "{query}");
        reply.error();
    }
    assert!(admin.asked().is_empty());
}

#[test]
fn the_running_configuration_is_shown() {
    let admin = Admin::start();
    let config = json_of(&admin.send(get("/admin/v1/config")), 200);
    assert_eq!(config, json!({"server": {"admin": "here"}}));
}

#[test]
fn answers_are_as_the_document_describes_them() {
    let admin = Admin::start();
    let document = json_of(&admin.send(get("/admin/v1/openapi.json")), 200);
    assert_eq!(document["openapi"], "3.1.0");
    for (path, calls) in document["paths"].as_object().expect("paths") {
        for (method, call) in calls.as_object().expect("calls") {
            let asked = path.replace("{name}", "breast-cancer").replace("{version}", "3");
            let routes = json!({"routes": [document_of("breast-cancer"), document_of("other")]});
            let request = match (method.as_str(), asked.rsplit('/').next()) {
                ("get", Some("why")) => get(&format!("{asked}?key=user-1")),
                ("get", _) => get(&asked),
                ("post", Some("routes")) => post(&asked, &routes.to_string()),
                ("post", Some("traffic")) => post(&asked, r#"{"weights": {"candidate": 5}}"#),
                ("post", _) => post(&asked, "{}"),
                ("delete", _) => post(&asked, "").method("DELETE"),
                (method, _) => panic!("{method} {path}"),
            };
            let reply = admin.send(request);
            let answers = call["responses"].as_object().expect("answers");
            let answer = answers.get(&reply.status.to_string());
            let answer =
                answer.unwrap_or_else(|| panic!("{path}: {} is not described", reply.status));
            // Nothing is mirrored or watched here, and nothing decided about retraining.
            let is_absent = path.contains("/shadow/") || path.contains("/drift/");
            let is_off = path.contains("/retrain/") || path.contains("/hooks/");
            let is_missing = is_absent && reply.status == 404 || is_off && reply.status == 409;
            assert!(reply.status < 300 || is_missing, "{path}: {}", reply.text());
            for answer in answers.values() {
                resolve(&document, answer);
            }
            if is_missing {
                continue;
            }
            let schema = &answer["content"]["application/json"]["schema"];
            assert_described(&document, schema, &reply.json(), path);
        }
    }
}
