//! What each call does: reads its input, asks the lifecycle, shows the answer.

use ::http::{Response, StatusCode, header};
use serde_json::json;

use super::input::{self, Ask, RollbackAsk};
use super::routes::{Named, Operation};
use super::{Admin, OPENAPI};
use crate::api::body::ResponseBody;
use crate::api::http::{JSON, json_answer};
use crate::api::repository::refusal;
use crate::control::{Asked, ControlError};
use crate::types::InferError;

type Answer = Result<Response<ResponseBody>, InferError>;

pub(super) async fn run(
    admin: &Admin,
    operation: Operation,
    named: &Named<'_>,
    query: &str,
    body: &[u8],
) -> Answer {
    if !query.is_empty() && operation != Operation::Audit {
        return Err(InferError::invalid("this path takes no query"));
    }
    let control = &admin.control;
    let asked = || -> Result<Asked, InferError> { input::parse::<Ask>(body)?.asked() };
    match operation {
        Operation::Models => Ok(json_answer(StatusCode::OK, &*control.status())),
        Operation::Model => {
            let name = named.model()?;
            let status = control.status();
            match status.models.iter().find(|model| model.name == name) {
                Some(model) => Ok(json_answer(StatusCode::OK, model)),
                None => Err(refusal(ControlError::UnknownModel(name.to_string()))),
            }
        }
        Operation::Rollback => {
            let name = named.model()?;
            let ask: RollbackAsk = input::parse(body)?;
            let to = ask.version;
            let hold = control.rollback(name, to, ask.asked()?).await.map_err(refusal)?;
            Ok(json_answer(StatusCode::OK, &hold))
        }
        Operation::Release => {
            let name = named.model()?;
            control.release(name.clone(), asked()?).await.map_err(refusal)?;
            Ok(json_answer(StatusCode::OK, &json!({"model": name, "outcome": "released"})))
        }
        Operation::Load => {
            let name = named.model()?;
            control.load(name.clone(), asked()?).await.map_err(refusal)?;
            Ok(json_answer(StatusCode::OK, &json!({"model": name, "outcome": "loaded"})))
        }
        Operation::Unload => {
            let name = named.model()?;
            control.unload(name.clone(), asked()?).await.map_err(refusal)?;
            Ok(json_answer(StatusCode::OK, &json!({"model": name, "outcome": "unloaded"})))
        }
        Operation::Retry => {
            let (name, version) = (named.model()?, named.version()?);
            control.retry(name.clone(), version, asked()?).await.map_err(refusal)?;
            let outcome = json!({"model": name, "version": version, "outcome": "retrying"});
            Ok(json_answer(StatusCode::ACCEPTED, &outcome))
        }
        Operation::Events => {
            let registry = input::registry_of_event(body)?;
            let poked = control.poke(registry).await.map_err(refusal)?;
            Ok(json_answer(StatusCode::ACCEPTED, &json!({"registries": poked})))
        }
        Operation::Audit => {
            let (model, most) = input::audit_query(query)?;
            let entries = control.audit(model, most).await.map_err(refusal)?;
            Ok(json_answer(StatusCode::OK, &entries))
        }
        Operation::Config => Ok(json_answer(StatusCode::OK, &**admin.config.load())),
        Operation::OpenApi => {
            let mut response = Response::new(ResponseBody::full(OPENAPI));
            response.headers_mut().insert(header::CONTENT_TYPE, JSON);
            Ok(response)
        }
    }
}
