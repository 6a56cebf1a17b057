//! What is sent when a model is to be trained anew, and once that was done:
//! CloudEvents 1.0 (github.com/cloudevents/spec).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::evidence::{Drifted, Evidence, Rule};
use super::facts::{Alert, Quality};
use crate::types::{Digest, ModelName, Version, rfc3339};

/// An event, whole: what is sent is made of it and nothing else, so that every
/// attempt sends the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Names it for good: whoever sees it twice has seen it once. Hexadecimal.
    pub id: String,
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// `/models/<model>/versions/<version>`.
    pub source: String,
    /// The model.
    pub subject: String,
    /// RFC 3339.
    pub time: String,
    /// W3C trace context, of a trace of its own that the id names.
    pub traceparent: String,
    pub data: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    #[serde(rename = "io.modelgate.retrain.requested.v1")]
    Requested,
    #[serde(rename = "io.modelgate.retrain.completed.v1")]
    Completed,
}

impl EventKind {
    pub fn label(self) -> &'static str {
        match self {
            EventKind::Requested => "io.modelgate.retrain.requested.v1",
            EventKind::Completed => "io.modelgate.retrain.completed.v1",
        }
    }
}

/// The data of `io.modelgate.retrain.requested.v1`. Times are RFC 3339.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Requested<'a> {
    id: &'a str,
    model: &'a ModelName,
    version: Version,
    model_sha256: Digest,
    profile: &'a str,
    /// `drift`, `quality` or `estimated_quality`; `test` where it is one.
    reason: &'static str,
    rule: Option<&'static str>,
    /// `critical` where quality is worse, else `warning`.
    severity: &'static str,
    /// Whether it is only to try the way.
    test: bool,
    findings: &'a [String],
    window: Window,
    features: &'a [Drifted],
    quality: Option<QualityShown<'a>>,
    alerts: &'a [Alert],
    evidence_log10: Option<f64>,
    #[serde(flatten)]
    context: &'a Context,
    traceparent: &'a str,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Window {
    from: String,
    to: String,
    /// The most that any feature has in its window.
    rows: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct QualityShown<'a> {
    metric: &'a str,
    reference: f64,
    current: f64,
    ci: Option<(f64, f64)>,
    labels: u64,
    coverage: f64,
    source: super::facts::QualitySource,
}

/// What stands around the evidence, at the time of the request.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Context {
    pub traffic: Traffic,
    pub log: Option<LogContext>,
    pub suggested_training_range: Option<Range>,
    /// When the last new version came of a request, and until when no further
    /// request is made.
    pub last_retrain: Option<String>,
    pub cooldown_until: Option<String>,
    pub dashboards: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Traffic {
    /// Rows a second in the shortest window.
    pub rps: f64,
    pub arms: Vec<Arm>,
}

/// A version that callers are answered by.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Arm {
    pub route: String,
    pub variant: String,
    pub version: Option<Version>,
    /// In percent.
    pub weight: f64,
}

/// Where what was predicted, and how it came out, is recorded.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LogContext {
    pub uri: String,
    /// Folders of Parquet, below `uri`, with wildcards for hours.
    pub partitions: Vec<String>,
    /// Of this version, since this gateway started.
    pub rows_available: u64,
    pub rows_labelled: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Range {
    pub from: String,
    pub to: String,
}

impl Event {
    /// Asks for training. `is_test` marks it as one that only tries the way.
    pub fn requested(
        model: &ModelName,
        evidence: &Evidence,
        context: &Context,
        at: i64,
        is_test: bool,
    ) -> Event {
        let traceparent = traceparent(&evidence.id);
        let data = Requested {
            id: &evidence.id,
            model,
            version: evidence.version,
            model_sha256: evidence.digest,
            profile: &evidence.profile,
            reason: evidence.rule.filter(|_| !is_test).map_or("test", Rule::reason),
            rule: evidence.rule.map(Rule::label),
            severity: if evidence.quality.is_empty() { "warning" } else { "critical" },
            test: is_test,
            findings: &evidence.findings,
            window: Window {
                from: rfc3339(evidence.from),
                to: rfc3339(evidence.to),
                rows: evidence.features.iter().map(|of| of.rows).max().unwrap_or(0),
            },
            features: &evidence.features,
            quality: evidence.quality.first().map(QualityShown::of),
            alerts: &evidence.alerts,
            evidence_log10: evidence.evidence_log10,
            context,
            traceparent: &traceparent,
        };
        Event {
            id: evidence.id.clone(),
            kind: EventKind::Requested,
            source: source(model, evidence.version),
            subject: model.to_string(),
            time: rfc3339(at),
            // Its fields have names of texts: it cannot fail.
            data: serde_json::to_value(&data).unwrap_or_default(),
            traceparent,
        }
    }

    /// Tells that what was asked for by `id` came to its end: `outcome` is
    /// `promoted` or `rejected`.
    pub fn completed(
        model: &ModelName,
        (id, asked_at): (&str, i64),
        version: Version,
        outcome: &str,
        at: i64,
    ) -> Event {
        let data = json!({
            "request": id,
            "requested_at": rfc3339(asked_at),
            "model": model,
            "version": version,
            "outcome": outcome,
        });
        Event {
            id: hash(&[id, &version.to_string(), outcome]),
            kind: EventKind::Completed,
            source: source(model, version),
            subject: model.to_string(),
            time: rfc3339(at),
            traceparent: traceparent(id),
            data,
        }
    }

    /// The JSON format of an event: what structured mode sends.
    pub fn structured(&self) -> Value {
        let mut event = serde_json::to_value(self).unwrap_or_default();
        event["specversion"] = json!("1.0");
        event["datacontenttype"] = json!("application/json");
        event
    }

    /// The attributes as headers of binary mode, beside `content-type`. All
    /// values are of characters that need no encoding: names of models are.
    pub fn headers(&self) -> [(&'static str, String); 7] {
        [
            ("ce-specversion", "1.0".to_owned()),
            ("ce-id", self.id.clone()),
            ("ce-type", self.kind.label().to_owned()),
            ("ce-source", self.source.clone()),
            ("ce-subject", self.subject.clone()),
            ("ce-time", self.time.clone()),
            ("ce-traceparent", self.traceparent.clone()),
        ]
    }
}

impl<'a> QualityShown<'a> {
    fn of(quality: &'a Quality) -> QualityShown<'a> {
        QualityShown {
            metric: &quality.metric,
            reference: quality.reference,
            current: quality.current,
            ci: quality.interval,
            labels: quality.labels,
            coverage: quality.coverage,
            source: quality.source,
        }
    }
}

fn source(model: &ModelName, version: Version) -> String {
    format!("/models/{model}/versions/{version}")
}

/// 32 hexadecimal digits for a list of texts.
pub fn hash(parts: &[&str]) -> String {
    let hash = Sha256::digest(parts.join("\n").as_bytes());
    hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Version 00, the id as the trace, half of it as the span, sampled.
fn traceparent(id: &str) -> String {
    format!("00-{id}-{}-01", id.get(..16).unwrap_or_default())
}

#[cfg(test)]
pub(super) mod fixture {
    use super::*;
    use crate::control::retrain::evidence::MOST_FEATURES;
    use crate::control::retrain::facts::QualitySource;

    /// As much as there can be.
    pub(in super::super) fn evidence() -> Evidence {
        let drifted = Drifted {
            name: "age".to_owned(),
            face: "input".to_owned(),
            window: "1h".to_owned(),
            rows: 1000,
            psi_adj: 0.3,
            js: 0.2,
            chi2: 90.0,
            df: 9,
            p: 1e-12,
            z: 8.0,
            dispersion: 1.1,
            ref_counts: vec![5000; 24],
            live_counts: vec![50; 24],
            missing: 0.01,
        };
        let quality = Quality {
            metric: "roc_auc".to_owned(),
            window: "24h".to_owned(),
            reference: 0.97,
            bound: 0.96,
            less_is_better: false,
            current: 0.91,
            interval: Some((0.9, 0.92)),
            labels: 900,
            coverage: 0.9,
            source: QualitySource::Labels,
        };
        Evidence {
            id: "0123456789abcdef0123456789abcdef".to_owned(),
            version: Version::FIRST,
            digest: Digest::new([7; 32]),
            profile: "0123456789ab".to_owned(),
            rule: Some(Rule::Quality),
            from: 0,
            to: 3_600_000_000,
            findings: vec!["roc_auc is 0.9100".to_owned()],
            features: vec![drifted; MOST_FEATURES],
            quality: vec![quality],
            alerts: Vec::new(),
            evidence_log10: Some(12.5),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    fn event() -> Event {
        let model = ModelName::parse("churn").expect("a name");
        Event::requested(&model, &fixture::evidence(), &Context::default(), 7_200_000_000, false)
    }

    #[test]
    fn a_request_says_all_that_is_needed() {
        let event = event().structured();
        for (path, expected) in [
            ("/specversion", json!("1.0")),
            ("/type", json!("io.modelgate.retrain.requested.v1")),
            ("/source", json!("/models/churn/versions/1")),
            ("/id", json!("0123456789abcdef0123456789abcdef")),
            ("/time", json!("1970-01-01T02:00:00.000000Z")),
            ("/datacontenttype", json!("application/json")),
            ("/traceparent", json!("00-0123456789abcdef0123456789abcdef-0123456789abcdef-01")),
            ("/data/reason", json!("quality")),
            ("/data/severity", json!("critical")),
            ("/data/model_sha256", json!(Digest::new([7; 32]))),
            ("/data/window/to", json!("1970-01-01T01:00:00.000000Z")),
            ("/data/window/rows", json!(1000)),
            ("/data/features/0/psi_adj", json!(0.3)),
            ("/data/quality/ci", json!([0.9, 0.92])),
            ("/data/quality/source", json!("labels")),
            ("/data/traffic/rps", json!(0.0)),
            ("/data/test", json!(false)),
        ] {
            assert_eq!(event.pointer(path), Some(&expected), "{path}");
        }
    }

    #[test]
    fn an_event_is_read_back_as_it_was() {
        let event = event();
        let text = serde_json::to_string(&event).expect("JSON");
        assert_eq!(serde_json::from_str::<Event>(&text).expect("an event"), event);
        assert!(text.len() < 32 << 10, "{} bytes", text.len());
    }

    #[test]
    fn headers_need_no_encoding() {
        for (name, value) in event().headers() {
            let is_plain = |byte: u8| matches!(byte, 0x21..=0x7e) && !matches!(byte, b'"' | b'%');
            assert!(value.bytes().all(is_plain), "{name}: {value}");
        }
    }

    #[test]
    fn each_end_has_an_event_of_its_own() {
        let model = ModelName::parse("churn").expect("a name");
        let end = |outcome| Event::completed(&model, ("ab", 0), Version::FIRST, outcome, 1);
        assert_eq!(end("promoted"), end("promoted"));
        assert_ne!(end("promoted").id, end("rejected").id);
        assert_eq!(end("promoted").data["request"], "ab");
        assert_eq!(end("promoted").structured()["type"], "io.modelgate.retrain.completed.v1");
    }
}
