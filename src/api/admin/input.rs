//! What comes with a call: its body, who asks and why, and its query.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::api::http::read_object;
use crate::api::percent;
use crate::control::{Asked, Promotion};
use crate::routing::RouteDocument;
use crate::types::{Code, InferError, ModelName, VariantName, Version, Weight};

const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Characters of a name, and of a reason, in the audit log.
const MAX_ACTOR: usize = 128;
const MAX_REASON: usize = 1024;

/// Who asks where nobody is named.
const NOBODY: &str = "admin-api";

/// Entries of the audit log in one answer.
const AUDIT_ENTRIES: usize = 100;
const MAX_AUDIT_ENTRIES: usize = 1000;

/// The body of a POST, of at most `limit` bytes, and that of a DELETE where
/// there is one; others have none to read.
///
/// # Errors
/// `UnsupportedMedia` for what is not declared as JSON, `TooLarge`,
/// `DeadlineExceeded`, and `Cancelled` where the client left.
pub async fn read(
    method: &Method,
    headers: &HeaderMap,
    body: Incoming,
    limit: usize,
) -> Result<Bytes, InferError> {
    if *method != Method::POST && (*method != Method::DELETE || body.is_end_stream()) {
        return Ok(Bytes::new());
    }
    // Not only good form: a page of another origin cannot send this type unasked.
    let media = headers.get(header::CONTENT_TYPE).and_then(|media| media.to_str().ok());
    if !media.is_some_and(is_json) {
        return Err(InferError::new(
            Code::UnsupportedMedia,
            "expected content-type application/json",
        ));
    }
    let too_large = || {
        let message = format!("the body is larger than {limit} bytes");
        InferError::new(Code::TooLarge, message)
    };
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let whole = Limited::new(body, limit).collect();
    match tokio::time::timeout(BODY_TIMEOUT, whole).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => {
            Err(InferError::new(Code::Cancelled, "the request ended before its body was complete"))
        }
        Err(_) => Err(InferError::new(
            Code::DeadlineExceeded,
            format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs()),
        )),
    }
}

fn is_json(media: &str) -> bool {
    let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let sub = media.strip_prefix("application/").unwrap_or_default();
    sub == "json" || sub.ends_with("+json")
}

/// The body of every call but an event.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ask {
    pub actor: Option<String>,
    pub reason: Option<String>,
}

/// The body of a rollback.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RollbackAsk {
    pub version: Option<Version>,
    pub actor: Option<String>,
    pub reason: Option<String>,
}

/// Routes to make or change.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoutesAsk {
    pub routes: Vec<RouteDocument>,
    pub dry_run: bool,
    pub actor: Option<String>,
    pub reason: Option<String>,
}

/// Weights to set by hand.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrafficAsk {
    weights: Option<BTreeMap<VariantName, Weight>>,
    pub actor: Option<String>,
    pub reason: Option<String>,
}

/// What to make the champion.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PromoteAsk {
    variant: Option<VariantName>,
    version: Option<Version>,
    pub actor: Option<String>,
    pub reason: Option<String>,
}

impl TrafficAsk {
    /// Takes the weights; without a word about them nothing is set back.
    pub fn weights(&mut self) -> Result<BTreeMap<VariantName, Weight>, InferError> {
        self.weights.take().ok_or_else(|| {
            InferError::invalid(
                "weights: expected percentages by variant, such as {\"candidate\": 5}; {} goes \
                 back to the route's own",
            )
        })
    }
}

impl PromoteAsk {
    pub fn promotion(&mut self) -> Result<Promotion, InferError> {
        match (self.variant.take(), self.version.take()) {
            (None, None) => Ok(Promotion::Next),
            (Some(variant), None) => Ok(Promotion::Variant(variant)),
            (None, Some(version)) => Ok(Promotion::Version(version)),
            (Some(_), Some(_)) => {
                Err(InferError::invalid("expected one of variant and version, got both"))
            }
        }
    }
}

/// # Errors
/// `InvalidArgument` for names and reasons that the log cannot take.
pub fn asked(actor: Option<String>, reason: Option<String>) -> Result<Asked, InferError> {
    Ok(Asked {
        actor: text("actor", actor, MAX_ACTOR)?.unwrap_or_else(|| NOBODY.to_owned()),
        reason: text("reason", reason, MAX_REASON)?.unwrap_or_default(),
    })
}

fn text(what: &str, text: Option<String>, most: usize) -> Result<Option<String>, InferError> {
    match &text {
        Some(given) if given.chars().count() > most || given.chars().any(char::is_control) => {
            Err(InferError::invalid(format!(
                "{what}: expected at most {most} characters, and no control characters"
            )))
        }
        _ => Ok(text.filter(|given| !given.is_empty())),
    }
}

/// Reads a JSON object; an empty body means that nothing was said.
pub fn parse<T: for<'a> Deserialize<'a> + Default>(body: &[u8]) -> Result<T, InferError> {
    if body.is_empty() {
        return Ok(T::default());
    }
    read_object(body)
}

/// Routes as JSON; an error names the key that is wrong.
pub fn parse_routes(body: &[u8]) -> Result<RoutesAsk, InferError> {
    // Whether it is an object at all.
    parse::<Map<String, Value>>(body)?;
    let mut json = serde_json::Deserializer::from_slice(body);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let (key, error) = (error.path().to_string(), error.inner());
        InferError::invalid(format!("the body: {key}: {error}"))
    })
}

/// Key and decoded value of every pair of a query.
pub fn pairs(query: &str) -> impl Iterator<Item = Result<(&str, Cow<'_, str>), InferError>> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent::decode(value);
        value
            .map(|value| (key, value))
            .ok_or_else(|| InferError::invalid("the query has a broken escape"))
    })
}

/// The registry that an event is about; `None` means all. Events come in the
/// form of whoever sends them, and nothing but our own form is looked into.
pub fn registry_of_event(body: &[u8]) -> Result<Option<String>, InferError> {
    let event: Map<String, Value> = parse(body)?;
    match (event.len(), event.get("registry")) {
        (1, Some(Value::String(name))) => text("registry", Some(name.clone()), MAX_ACTOR),
        _ => Ok(None),
    }
}

/// `model` and `limit` of a question about the audit log.
pub fn audit_query(query: &str) -> Result<(Option<ModelName>, usize), InferError> {
    let (mut model, mut limit) = (None, AUDIT_ENTRIES);
    for pair in pairs(query) {
        let (key, value) = pair?;
        match key {
            "model" => {
                let name = ModelName::parse(&value);
                model = Some(name.map_err(|error| InferError::invalid(error.to_string()))?);
            }
            "limit" => {
                let number = value.parse().ok();
                let range = 1..=MAX_AUDIT_ENTRIES;
                limit = number.filter(|number| range.contains(number)).ok_or_else(|| {
                    InferError::invalid(format!("limit: expected 1 to {MAX_AUDIT_ENTRIES}"))
                })?;
            }
            _ => return Err(InferError::invalid("the query takes model and limit")),
        }
    }
    Ok((model, limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_goes_by_several_names() {
        for (media, taken) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/cloudevents+json", true),
            ("text/plain", false),
            ("application/x-www-form-urlencoded", false),
            ("text/json", false),
            ("application/jsonp", false),
            ("", false),
        ] {
            assert_eq!(is_json(media), taken, "{media}");
        }
    }

    #[test]
    fn names_in_the_log_are_plain_and_short() {
        let actor = |actor: &str| asked(Some(actor.to_owned()), None).map(|asked| asked.actor).ok();
        assert_eq!(actor("Ada Lovelace"), Some("Ada Lovelace".to_owned()));
        assert_eq!(actor(""), Some(NOBODY.to_owned()));
        assert_eq!(actor(&"ä".repeat(MAX_ACTOR)), Some("ä".repeat(MAX_ACTOR)));
        for bad in ["a\nb", "\u{1b}[31m", &"x".repeat(MAX_ACTOR + 1)] {
            assert_eq!(actor(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn any_object_is_an_event() {
        for (body, registry) in [
            ("", Some(None)),
            ("{}", Some(None)),
            (r#"{"registry": "models"}"#, Some(Some("models"))),
            (r#"{"registry": "models", "Records": []}"#, Some(None)),
            (r#"{"registry": {"x": 1}}"#, Some(None)),
            (r#"{"Records": [{"eventName": "ObjectCreated:Put"}]}"#, Some(None)),
            ("[]", None),
            ("1", None),
            ("{", None),
        ] {
            let read = registry_of_event(body.as_bytes()).ok();
            assert_eq!(read.as_ref().map(Option::as_deref), registry, "{body}");
        }
    }

    #[test]
    fn the_audit_query_has_two_words() {
        let read = |query| {
            audit_query(query)
                .ok()
                .map(|(model, limit)| (model.map(|name| name.to_string()), limit))
        };
        assert_eq!(read(""), Some((None, 100)));
        assert_eq!(read("model=a%2Db&limit=1000"), Some((Some("a-b".to_owned()), 1000)));
        for bad in ["limit=0", "limit=1001", "limit=x", "limit", "model=", "model=%zz", "since=1"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
