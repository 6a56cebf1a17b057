//! Callers that leave while the disk is to have their record.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};
use modelgate::admission::ByteBudget;
use modelgate::api::codec::{DecodeLimits, json};
use modelgate::predictions::{
    Hasher, Level, Log, LogOptions, OnFailure, Policy, Recording, Schemas,
};
use modelgate::request::{Call, Gateway};
use modelgate::shadow::Mirror;
use modelgate::telemetry::{Protocol, Telemetry, TelemetryOptions};
use modelgate::types::{Digest, ModelName, Version};

use crate::fake_gateway::{json_body, publish};
use crate::support::log;

const COLUMNS: usize = 2;

/// A gateway whose model `m0` is recorded at level `fsync`, in `log`.
fn gateway(log: &Arc<Log>) -> Gateway {
    let telemetry = Arc::new(Telemetry::new(TelemetryOptions::default()));
    let mirror = Mirror::start(&telemetry).expect("a mirror");
    let schemas = Arc::new(Schemas::new(log.root().to_owned()));
    let hasher = Hasher::new(b"key");
    let recording = Arc::new(Recording::new(Arc::clone(log), schemas, hasher, Level::Off));
    let budget = ByteBudget::new(1 << 30);
    let recorded = Arc::clone(&recording);
    let gateway = Gateway::new(telemetry, budget, mirror, recorded, Duration::from_secs(60));
    publish(&gateway, "m0", COLUMNS);
    let served = gateway.resolve("m0", "").expect("a version");
    let policy = Policy { level: Level::Fsync, on_failure: OnFailure::Strict, ..Policy::default() };
    let name = ModelName::parse("m0").expect("a name");
    let digest = Digest::new([7; 32]);
    let recorder =
        recording.recorder(&name, Version::FIRST, &digest, served.signature(), &Arc::new(policy));
    served.recorder.store(recorder);
    gateway
}

/// Asks, and leaves as soon as the answer has to wait. Says whether it had to.
fn ask_and_leave(gateway: &Gateway, id: &str) -> bool {
    let id = HeaderValue::from_str(id).expect("an id");
    let headers = HeaderMap::from_iter([(HeaderName::from_static("x-request-id"), id)]);
    let (protocol, received) = (Protocol::HttpJson, Instant::now());
    let (model, version, timeout, body_bytes) = ("m0", "", None, 0);
    let call = Call { protocol, model, version, headers: &headers, timeout, body_bytes, received };
    let ticket = gateway.route(&call).expect("a model");
    let body = json_body(COLUMNS);
    let request = json::decode_infer(&body, None, &DecodeLimits::default()).expect("fits");
    let mut begun = ticket.begin(&call, request).expect("fits the model");
    let mut is_encoded = false;
    let left = {
        let answer = pin!(begun.answer(|_| {
            is_encoded = true;
            Ok(())
        }));
        answer.poll(&mut Context::from_waker(Waker::noop())).is_pending()
    };
    assert!(is_encoded, "only the record is waited for");
    left
}

#[test]
fn whoever_leaves_while_the_record_is_flushed_leaves_one_record() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = LogOptions {
        root: folder.path().to_owned(),
        shards: 1,
        segment_bytes: 1 << 20,
        segment_age: Duration::from_secs(3600),
        flush_every: Duration::from_secs(3600),
        slow_append: Duration::from_secs(60),
        queue_records: 16,
        queue_bytes: 1 << 20,
    };
    let log = Log::open(options, Arc::default()).expect("a log");
    let gateway = gateway(&log);
    let until = Instant::now() + crate::SOON;
    let mut asked = 0;
    // The disk may be faster than the look at it, now and then.
    loop {
        assert!(Instant::now() < until, "the disk was always faster");
        asked += 1;
        if ask_and_leave(&gateway, &format!("r-{asked}")) {
            break;
        }
    }
    drop(gateway);
    log.close();
    let records = log::raw(folder.path()).into_values();
    let found: Vec<_> = records.map(|record| (record.request_id, record.code)).collect();
    let expected: Vec<_> = (1..=asked).map(|number| (format!("r-{number}"), None)).collect();
    assert_eq!(found, expected);
}
