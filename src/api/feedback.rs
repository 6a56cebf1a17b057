//! Labels, scores and rewards of predictions: `POST /v1/feedback`, and what it
//! shares with gRPC's `modelgate.v1.Feedback`.

mod document;
mod time;

use ::http::request::Parts;
use ::http::{Response, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;

use super::Face;
use super::body::ResponseBody;
use super::codec::compression::{self, Encoding};
use super::http::json_answer;
use super::read::read_body;
use crate::predictions::{Label, Truth};
use crate::quality::{MOST_IN_BATCH, Outcome, Quality, now_us};
use crate::request::RequestId;
use crate::types::{InferError, ModelName};

/// Longest text of a class.
const MOST_TEXT: usize = 255;

/// How far in the future a label may say that it became known: clocks differ,
/// but a label of next year could never be corrected.
const MOST_AHEAD_US: i64 = 24 * 3600 * 1_000_000;

/// One item as it came, on whichever face.
#[derive(Clone, Debug, PartialEq)]
struct Item<'a> {
    id: &'a str,
    row: u32,
    truth: Truth,
    /// Microseconds since 1970; now where it is not said.
    label_time: Option<i64>,
    weight: f64,
    model: &'a str,
}

/// A field of an item, and what is wrong with it.
type Wrong = (&'static str, String);

/// What became of an item, as the answer tells it.
#[derive(Serialize)]
struct Told<'a> {
    id: &'a str,
    row: u32,
    outcome: &'static str,
}

#[derive(Serialize)]
struct Answer<'a> {
    results: Vec<Told<'a>>,
}

/// Answers `POST /v1/feedback`.
///
/// # Errors
/// `InvalidArgument` that names the item and the field, before anything was
/// applied; as [`Quality::submit`] and [`read_body`].
pub async fn answer(
    face: &Face,
    head: &Parts,
    body: Incoming,
) -> Result<Response<ResponseBody>, InferError> {
    let encoding = match head.headers.get(::http::header::CONTENT_ENCODING) {
        Some(encoding) => Encoding::of_request(encoding.to_str().unwrap_or("?"))?,
        None => None,
    };
    let (mut body, mut reserved) = read_body(face, body).await?;
    if let Some(encoding) = encoding {
        body = compression::inflate(encoding, &body, face.limits.max_body_bytes)?;
        reserved.grow(body.len())?;
    }
    let labels = document::read(&body, now_us())?;
    let (labels, outcomes) = submit(&face.gateway.quality, labels).await?;
    let results = labels.iter().zip(outcomes).map(|(label, outcome)| Told {
        id: &label.0,
        row: label.1,
        outcome: outcome.label(),
    });
    let response = json_answer(StatusCode::OK, &Answer { results: results.collect() });
    Ok(response.map(|body| body.reserving(reserved)))
}

/// Id and row of each label, and what became of it.
pub type Submitted = (Vec<(String, u32)>, Vec<Outcome>);

/// Submits labels, and says which they were.
pub async fn submit(quality: &Quality, labels: Vec<Label>) -> Result<Submitted, InferError> {
    let told = labels.iter().map(|label| (label.request_id.clone(), label.row)).collect();
    Ok((told, quality.submit(labels).await?))
}

/// Refuses batches of more than may be.
fn check_count(count: usize) -> Result<(), InferError> {
    if count > MOST_IN_BATCH {
        return Err(InferError::invalid(format!(
            "expected at most {MOST_IN_BATCH} items in one call, got {count}: send them in several"
        )));
    }
    Ok(())
}

impl Item<'_> {
    fn label(self, now: i64) -> Result<Label, Wrong> {
        let Item { id, row, truth, label_time, weight, model } = self;
        if RequestId::parse(id.as_bytes()).is_none() {
            let expected = "expected a prediction's id: 1 to 64 of A-Z a-z 0-9 - _ . :";
            return Err(("id", expected.to_owned()));
        }
        match &truth {
            Truth::Class(text) if text.is_empty() || text.len() > MOST_TEXT => {
                return Err(("label", format!("expected a text of 1 to {MOST_TEXT} bytes")));
            }
            Truth::Value(number) if !number.is_finite() => {
                return Err(("label", "expected a finite number".to_owned()));
            }
            Truth::Reward(number) if !number.is_finite() => {
                return Err(("reward", "expected a finite number".to_owned()));
            }
            _ => {}
        }
        if !(weight.is_finite() && weight >= 0.0) {
            return Err(("weight", "expected a finite number that is not negative".to_owned()));
        }
        if !model.is_empty() {
            ModelName::parse(model).map_err(|error| ("model", error.to_string()))?;
        }
        let label_time = label_time.unwrap_or(now);
        if label_time > now.saturating_add(MOST_AHEAD_US) {
            return Err(("label_time", "expected a time that is not in the future".to_owned()));
        }
        Ok(Label {
            request_id: id.to_owned(),
            row,
            label_time,
            recorded_time: now,
            truth,
            weight,
            model: model.to_owned(),
        })
    }
}

/// A number that is a label: whole ones beyond 2^53 only stay what they are as texts.
fn whole(number: i64) -> Truth {
    if number.unsigned_abs() <= 1 << 53 {
        Truth::Value(number as f64)
    } else {
        Truth::Class(number.to_string())
    }
}

fn invalid(item: usize, (field, message): Wrong) -> InferError {
    InferError::invalid(format!("item {item}: {field}: {message}"))
}

/// Items of gRPC.
pub mod message {
    use super::{Item, check_count, invalid, now_us, whole};
    use crate::api::codec::feedback_pb as pb;
    use crate::predictions::{Label, Truth};
    use crate::quality::Outcome;
    use crate::telemetry::FeedbackOutcome;
    use crate::types::InferError;

    /// Reads the items of a call.
    ///
    /// # Errors
    /// `InvalidArgument` that names the item and the field.
    pub fn read(request: &pb::SubmitRequest) -> Result<Vec<Label>, InferError> {
        check_count(request.items.len())?;
        let now = now_us();
        let labels = request.items.iter().enumerate().map(|(at, item)| {
            let truth = match &item.truth {
                Some(pb::item::Truth::Text(text)) => Truth::Class(text.clone()),
                Some(pb::item::Truth::Integer(number)) => whole(*number),
                Some(pb::item::Truth::Number(number)) => Truth::Value(*number),
                Some(pb::item::Truth::Boolean(is)) => Truth::Value(f64::from(u8::from(*is))),
                Some(pb::item::Truth::Score(number)) => Truth::Value(*number),
                Some(pb::item::Truth::Reward(number)) => Truth::Reward(*number),
                None => {
                    let expected = "expected a label, a score or a reward".to_owned();
                    return Err(invalid(at, ("truth", expected)));
                }
            };
            let item = Item {
                id: &item.id,
                row: item.row,
                truth,
                label_time: item.label_time_us,
                weight: item.weight.unwrap_or(1.0),
                model: &item.model,
            };
            item.label(now).map_err(|wrong| invalid(at, wrong))
        });
        labels.collect()
    }

    pub fn outcome(outcome: Outcome) -> pb::Outcome {
        match outcome {
            Outcome::Ended(FeedbackOutcome::Joined) => pb::Outcome::Joined,
            Outcome::Ended(FeedbackOutcome::Corrected) => pb::Outcome::Corrected,
            Outcome::Ended(FeedbackOutcome::Duplicate) => pb::Outcome::Duplicate,
            Outcome::Ended(FeedbackOutcome::Pending) => pb::Outcome::Pending,
            Outcome::Ended(FeedbackOutcome::Late) => pb::Outcome::Late,
            Outcome::Ended(FeedbackOutcome::Unknown) => pb::Outcome::Unknown,
            Outcome::Ended(FeedbackOutcome::Mismatched) => pb::Outcome::Mismatched,
            Outcome::NoSuchRow => pb::Outcome::NoSuchRow,
            Outcome::Ambiguous => pb::Outcome::Ambiguous,
            Outcome::Accepted => pb::Outcome::Accepted,
        }
    }
}
