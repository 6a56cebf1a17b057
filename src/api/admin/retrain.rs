//! Calls about retraining: see what is decided, try the way, and the hook that
//! Alertmanager tells of alerts.

use std::sync::Arc;

use ::http::{Response, StatusCode};
use serde_json::json;

use crate::api::body::ResponseBody;
use crate::api::http::json_answer;
use crate::control::retrain::{Retrain, RetrainError};
use crate::types::{Code, InferError, ModelName};

type Answer = Result<Response<ResponseBody>, InferError>;

pub(super) fn show(retrain: &Retrain) -> Answer {
    Ok(json_answer(StatusCode::OK, &retrain.status()))
}

pub(super) async fn test(retrain: &Arc<Retrain>, model: ModelName) -> Answer {
    let id = retrain.test(model.clone()).await.map_err(|error| refusal(&error))?;
    Ok(json_answer(StatusCode::ACCEPTED, &json!({"model": model, "id": id})))
}

pub(super) fn alerts(retrain: &Retrain, body: &[u8]) -> Answer {
    let taken = retrain.alerts(body).map_err(|error| refusal(&error))?;
    Ok(json_answer(StatusCode::OK, &taken))
}

fn refusal(error: &RetrainError) -> InferError {
    let code = match error {
        RetrainError::Off | RetrainError::NoTarget => Code::FailedPrecondition,
        RetrainError::UnknownModel(_) => Code::NotFound,
        RetrainError::Hook(_) => Code::InvalidArgument,
        RetrainError::Outbox(_) | RetrainError::Stopping => Code::Unavailable,
    };
    InferError::new(code, error.to_string())
}
