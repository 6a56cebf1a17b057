//! Events in the words of those who take them. Pure.

use serde_json::{Value, json};

use super::event::Event;
use super::signature::Signer;

/// The `event_type` of a repository dispatch, which workflows name.
const DISPATCH: &str = "modelgate_retrain";

/// Who takes events, and so how they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// A CloudEvent as one JSON document.
    CloudEvent,
    /// A CloudEvent whose attributes are headers.
    CloudEventBinary,
    /// `POST /api/v2/dags/{dag}/dagRuns` of Airflow 3, and v1 of Airflow 2.
    Airflow,
    /// A webhook event source of Argo Events: the event as plain JSON.
    Argo,
    /// `POST /repos/{owner}/{repo}/dispatches` of GitHub.
    GitHub,
}

/// What is sent: headers and a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Body {
    /// Whether it is told of the end of a request, too: what begins a run for
    /// every event it gets would begin another.
    pub fn takes_completed(self) -> bool {
        matches!(self, Body::CloudEvent | Body::CloudEventBinary)
    }

    /// Whether an answer means that the event is there already.
    pub fn is_known(self, status: u16) -> bool {
        self == Body::Airflow && status == 409
    }

    /// Writes an event; signed, where there is a key, at a time in seconds
    /// since 1970.
    pub fn write(self, event: &Event, signer: Option<&Signer>, seconds: i64) -> Message {
        let (content_type, value) = match self {
            Body::CloudEvent => ("application/cloudevents+json; charset=utf-8", event.structured()),
            Body::CloudEventBinary => ("application/json", event.data.clone()),
            Body::Argo => ("application/json", event.structured()),
            Body::Airflow => ("application/json", airflow(event)),
            Body::GitHub => ("application/json", github(event)),
        };
        let body = value.to_string().into_bytes();
        let mut headers = vec![
            ("content-type", content_type.to_owned()),
            ("user-agent", concat!("modelgate/", env!("CARGO_PKG_VERSION")).to_owned()),
            ("traceparent", event.traceparent.clone()),
        ];
        match self {
            Body::CloudEventBinary => headers.extend(event.headers()),
            Body::GitHub => headers.push(("accept", "application/vnd.github+json".to_owned())),
            _ => {}
        }
        if let Some(signer) = signer {
            headers.push(("webhook-id", event.id.clone()));
            headers.push(("webhook-timestamp", seconds.to_string()));
            headers.push(("webhook-signature", signer.sign(&event.id, seconds, &body)));
        }
        Message { headers, body }
    }
}

/// A run named by the event, so that a second attempt begins no second run. A
/// run without a logical date may begin at any time.
fn airflow(event: &Event) -> Value {
    json!({"dag_run_id": event.id, "logical_date": null, "conf": event.structured()})
}

/// At most ten properties and 65,535 characters are allowed in the payload.
fn github(event: &Event) -> Value {
    let data = &event.data;
    let payload = json!({
        "id": event.id,
        "model": data["model"],
        "version": data["version"],
        "reason": data["reason"],
        "severity": data["severity"],
        "test": data["test"],
        "event": event.structured(),
    });
    json!({"event_type": DISPATCH, "client_payload": payload})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::retrain::event::{Context, fixture};
    use crate::types::ModelName;

    fn event() -> Event {
        let model = ModelName::parse("churn").expect("a name");
        Event::requested(&model, &fixture::evidence(), &Context::default(), 0, true)
    }

    fn written(body: Body) -> (Message, Value) {
        let message = body.write(&event(), None, 0);
        let value = serde_json::from_slice(&message.body).expect("JSON");
        (message, value)
    }

    fn header<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
        let found = message.headers.iter().find(|(header, _)| *header == name);
        found.map(|(_, value)| value.as_str())
    }

    #[test]
    fn everybody_gets_what_they_read() {
        let (message, value) = written(Body::CloudEvent);
        assert_eq!(value, event().structured());
        let expected = Some("application/cloudevents+json; charset=utf-8");
        assert_eq!(header(&message, "content-type"), expected);

        let (message, value) = written(Body::CloudEventBinary);
        assert_eq!(value, event().data);
        assert_eq!(header(&message, "ce-id"), Some(&*event().id));
        assert_eq!(header(&message, "content-type"), Some("application/json"));

        let (_, value) = written(Body::Airflow);
        assert_eq!(value["dag_run_id"], event().id);
        assert!(value.get("logical_date").is_some_and(Value::is_null));
        assert_eq!(value["conf"]["data"]["model"], "churn");

        assert_eq!(written(Body::Argo).1["type"], "io.modelgate.retrain.requested.v1");

        let (message, value) = written(Body::GitHub);
        let payload = value["client_payload"].as_object().expect("an object");
        assert!(payload.len() <= 10 && message.body.len() < 65_535);
        assert_eq!((&value["event_type"], &payload["test"]), (&json!(DISPATCH), &json!(true)));
    }

    #[test]
    fn what_is_signed_is_what_is_sent() {
        let signer = Signer::new("0123456789abcdef0123456789abcdef").expect("a key");
        let message = Body::CloudEvent.write(&event(), Some(&signer), 1_614_265_330);
        let signed = signer.sign(&event().id, 1_614_265_330, &message.body);
        assert_eq!(header(&message, "webhook-signature"), Some(&*signed));
        assert_eq!(header(&message, "webhook-id"), Some(&*event().id));
        assert_eq!(header(&message, "webhook-timestamp"), Some("1614265330"));
    }
}
