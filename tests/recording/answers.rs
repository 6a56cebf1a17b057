//! Answers and refusals, without routes.

use std::collections::BTreeSet;

use modelgate::predictions::{Assignment, Role, SchemaId};
use modelgate::types::Code;
use serde_json::json;

use crate::support::http::Request;
use crate::support::metrics::Scrape;
use crate::support::predict::Face;
use crate::{Recorded, numbers, sign_of};

/// At level `process`, whoever has the answer finds the record, at once.
#[test]
fn an_answer_is_in_the_log_before_it_leaves_on_every_face() {
    let world = Recorded::start("");
    for (face, id) in Face::ALL.into_iter().zip(["a-1", "a-2", "a-3"]) {
        sign_of(id, -3.0).ask(&world.gateway, face).expect("an answer");
        let record = world.one(id);
        assert_eq!((record.model.as_str(), record.version), ("sign", 2), "{record:#?}");
        assert_eq!(record.protocol.map(|protocol| protocol.label()), Some(face.label()));
        assert_eq!((record.code, record.role), (None, Role::Primary));
        assert_eq!(record.assignment, Assignment::None);
        assert_eq!(numbers(&record.inputs[0]), [-3.0]);
        assert_eq!(numbers(&record.outputs[0]), [3.0]);
        assert_eq!((record.rows, record.batch_rows), (1, 1));
        assert!(record.total_us >= record.infer_us, "{record:#?}");
        assert_ne!(record.schema, SchemaId::NONE);
        let schema = world.root().join("schemas").join(format!("{}.json", record.schema));
        let schema = std::fs::read_to_string(schema).expect("its schema");
        assert!(schema.contains("\"name\":\"x\""), "{schema}");
    }
}

#[test]
fn the_time_and_the_trace_of_the_caller_are_kept() {
    let world = Recorded::start("");
    let micros = || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        i64::try_from(now.expect("a clock").as_micros()).expect("this century")
    };
    let before = micros();
    let request = sign_of("t-1", 1.0)
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    request.ask(&world.gateway, Face::Binary).expect("an answer");
    let record = world.one("t-1");
    assert!((before..=micros()).contains(&record.event_time));
    let trace = record.trace.expect("a trace");
    assert_eq!((trace.trace[0], trace.span[7]), (0x4b, 0xb7));
}

#[test]
fn what_fails_is_recorded_without_its_payload() {
    let world = Recorded::start("");
    let body = json!({"inputs": [
        {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [[77.5, 1], [2, 3]]}
    ]});
    let infer = |model: &str, id: &str| {
        let path = format!("/v2/models/{model}/infer");
        world.ask(Request::post(&path, body.to_string()).header("x-request-id", id))
    };
    assert_eq!(infer("sign", "f-1").status, 400);
    assert_eq!(infer("nobody", "f-2").status, 404);
    assert_eq!(infer("sign/versions/9", "f-3").status, 404);
    let record = world.one("f-1");
    assert_eq!((record.code, record.version), (Some(Code::InvalidArgument), 2));
    assert!(record.inputs.is_empty() && record.outputs.is_empty());
    assert_eq!(record.sampling, 1.0);
    let unknown: Vec<_> =
        world.records().into_iter().filter(|record| record.model == "_unknown").collect();
    assert_eq!(unknown.len(), 2, "{unknown:#?}");
    assert!(unknown.iter().all(|record| record.code == Some(Code::NotFound)));
    let shown = 77.5_f32.to_le_bytes();
    assert!(!world.bytes().windows(4).any(|bytes| bytes == shown), "no payload is there");
}

#[test]
fn every_level_keeps_what_it_promises_and_off_keeps_nothing() {
    for level in ["fsync", "process", "async", "\"off\""] {
        let world = Recorded::start(&format!("  defaults: {{level: {level}}}"));
        sign_of("l-1", 2.0).ask(&world.gateway, Face::Json).expect("an answer");
        match level {
            "async" => world.wait_for("the record", || world.of("l-1").len() == 1),
            "\"off\"" => assert!(!world.root().exists()),
            _ => drop(world.one("l-1")),
        }
        let recorded = Scrape::of(world.gateway.ops).sum(
            "modelgate_prediction_log_records_total",
            &[("model", "sign"), ("outcome", "recorded")],
        );
        assert_eq!(recorded, if level == "\"off\"" { 0.0 } else { 1.0 }, "{level}");
    }
}

/// A sample is of units, here of request ids: the same on any gateway.
#[test]
fn a_sample_is_the_same_everywhere_and_failures_are_always_in_it() {
    let worlds = [(); 2].map(|()| Recorded::start("  defaults: {sample: 0.25}"));
    let ids = |world: &Recorded| -> BTreeSet<String> {
        for number in 0..200 {
            let id = format!("s-{number}");
            sign_of(&id, 1.0).ask(&world.gateway, Face::Binary).expect("an answer");
        }
        let records = world.records();
        assert!(records.iter().all(|record| record.sampling == 0.25));
        records.into_iter().map(|record| record.request_id).collect()
    };
    let [one, other] = [ids(&worlds[0]), ids(&worlds[1])];
    assert_eq!(one, other);
    assert!((25..=75).contains(&one.len()), "{} of 200", one.len());
    let unsampled = Scrape::of(worlds[0].gateway.ops)
        .sum("modelgate_prediction_log_records_total", &[("outcome", "unsampled")]);
    assert_eq!(unsampled as usize + one.len(), 200);
    for number in 0..20 {
        let path = "/v2/models/sign/infer";
        let request = Request::post(path, "{}").header("x-request-id", format!("bad-{number}"));
        assert_eq!(worlds[0].ask(request).status, 400);
    }
    let failed = worlds[0].records().into_iter().filter(|record| record.code.is_some());
    assert_eq!(failed.filter(|record| record.sampling == 1.0).count(), 20);
}
