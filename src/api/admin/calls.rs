//! What each call does: reads its input, asks the lifecycle, shows the answer.

use ::http::{Response, StatusCode, header};
use serde_json::json;

use super::input::{self, Ask, RollbackAsk};
use super::routes::{Named, Operation};
use super::{Admin, OPENAPI, drift, log, retrain, steer, why};
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
    if !query.is_empty() && !operation.takes_query() {
        return Err(InferError::invalid("this path takes no query"));
    }
    let control = &admin.control;
    let asked = || -> Result<Asked, InferError> {
        let ask: Ask = input::parse(body)?;
        input::asked(ask.actor, ask.reason)
    };
    match operation {
        Operation::Models => Ok(json_answer(StatusCode::OK, &*control.status())),
        Operation::Model => {
            let name = named.name()?;
            let status = control.status();
            match status.models.iter().find(|model| model.name == name) {
                Some(model) => Ok(json_answer(StatusCode::OK, model)),
                None => Err(refusal(ControlError::UnknownModel(name.to_string()))),
            }
        }
        Operation::Rollback => {
            let name = named.name()?;
            let ask: RollbackAsk = input::parse(body)?;
            let asked = input::asked(ask.actor, ask.reason)?;
            let hold = control.rollback(name, ask.version, asked).await.map_err(refusal)?;
            Ok(json_answer(StatusCode::OK, &hold))
        }
        Operation::Release => {
            let name = named.name()?;
            control.release(name.clone(), asked()?).await.map_err(refusal)?;
            Ok(json_answer(StatusCode::OK, &json!({"model": name, "outcome": "released"})))
        }
        Operation::Load => {
            let name = named.name()?;
            control.load(name.clone(), asked()?).await.map_err(refusal)?;
            Ok(json_answer(StatusCode::OK, &json!({"model": name, "outcome": "loaded"})))
        }
        Operation::Unload => {
            let name = named.name()?;
            control.unload(name.clone(), asked()?).await.map_err(refusal)?;
            Ok(json_answer(StatusCode::OK, &json!({"model": name, "outcome": "unloaded"})))
        }
        Operation::Retry => {
            let (name, version) = (named.name()?, named.version()?);
            control.retry(name.clone(), version, asked()?).await.map_err(refusal)?;
            let outcome = json!({"model": name, "version": version, "outcome": "retrying"});
            Ok(json_answer(StatusCode::ACCEPTED, &outcome))
        }
        Operation::Routes => steer::list(control),
        Operation::Route => steer::show(control, &named.name()?),
        Operation::ApplyRoutes => steer::apply(control, body).await,
        Operation::DeleteRoute => steer::delete(control, named.name()?, asked()?).await,
        Operation::Traffic => steer::traffic(control, &named.name()?),
        Operation::SetTraffic => steer::set_traffic(control, named.name()?, body).await,
        Operation::Promote => steer::promote(control, named.name()?, body).await,
        Operation::Why => {
            let why = why::why(&admin.gateway.catalog.load(), &named.name()?, query)?;
            Ok(json_answer(StatusCode::OK, &why))
        }
        Operation::ShadowDiff => {
            let name = named.name()?;
            match admin.gateway.mirror.report(&name) {
                Some(report) => Ok(json_answer(StatusCode::OK, &report)),
                None => Err(InferError::not_found(format!(
                    "no requests of '{name}' are mirrored; spec.shadow of its route says to what"
                ))),
            }
        }
        Operation::Drifts => drift::overview(&admin.gateway),
        Operation::Drift => drift::version(&admin.gateway, &named.name()?, query),
        Operation::DriftPlot => drift::plot(&admin.gateway, &named.name()?, query),
        Operation::Predictions => Ok(json_answer(StatusCode::OK, &log::status(&admin.gateway))),
        Operation::Retrain => retrain::show(&admin.retrain),
        Operation::TestRetrain => retrain::test(&admin.retrain, named.name()?).await,
        Operation::Alerts => retrain::alerts(&admin.retrain, body),
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
