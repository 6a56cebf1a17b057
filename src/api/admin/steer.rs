//! Calls about routes: see them, make and delete them, move their weights.

use ::http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::input::{self, PromoteAsk, TrafficAsk};
use crate::api::body::ResponseBody;
use crate::api::http::json_answer;
use crate::api::repository::refusal;
use crate::control::{
    Asked, Control, ControlError, Hold, RouteStatus, TrafficChange, VariantStatus,
};
use crate::types::{InferError, ModelName, Version, Weight};

type Answer = Result<Response<ResponseBody>, InferError>;

/// How a route's traffic is split, and by whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    pub route: ModelName,
    pub variants: Vec<TrafficVariant>,
    /// Set while weights differ from the document's by hand.
    pub traffic: Option<TrafficChange>,
    /// Set while the champion is another than the document says.
    pub champion: Option<Hold>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrafficVariant {
    pub name: String,
    /// In force, and by the document, in percent.
    pub weight: Weight,
    pub declared_weight: Weight,
    /// What it stands for now.
    pub version: Option<Version>,
}

impl From<&RouteStatus> for Traffic {
    fn from(route: &RouteStatus) -> Traffic {
        let variant = |variant: &VariantStatus| TrafficVariant {
            name: variant.name.clone(),
            weight: variant.weight,
            declared_weight: variant.declared_weight,
            version: variant.version,
        };
        Traffic {
            route: route.name.clone(),
            variants: route.variants.iter().map(variant).collect(),
            traffic: route.traffic.clone(),
            champion: route.champion.clone(),
        }
    }
}

pub(super) fn list(control: &Control) -> Answer {
    Ok(json_answer(StatusCode::OK, &control.routes()))
}

pub(super) fn show(control: &Control, name: &ModelName) -> Answer {
    with_route(control, name, |route| json_answer(StatusCode::OK, route))
}

pub(super) fn traffic(control: &Control, name: &ModelName) -> Answer {
    with_route(control, name, |route| json_answer(StatusCode::OK, &Traffic::from(route)))
}

pub(super) async fn apply(control: &Control, body: &[u8]) -> Answer {
    let ask = input::parse_routes(body)?;
    let asked = input::asked(ask.actor, ask.reason)?;
    answer(control.apply_routes(ask.routes, ask.dry_run, asked).await)
}

pub(super) async fn delete(control: &Control, name: ModelName, asked: Asked) -> Answer {
    answer(control.delete_route(name, asked).await)
}

pub(super) async fn set_traffic(control: &Control, name: ModelName, body: &[u8]) -> Answer {
    let mut ask: TrafficAsk = input::parse(body)?;
    let weights = ask.weights()?;
    let asked = input::asked(ask.actor, ask.reason)?;
    answer(control.set_traffic(name, weights, asked).await)
}

pub(super) async fn promote(control: &Control, name: ModelName, body: &[u8]) -> Answer {
    let mut ask: PromoteAsk = input::parse(body)?;
    let promotion = ask.promotion()?;
    let asked = input::asked(ask.actor, ask.reason)?;
    answer(control.promote(name, promotion, asked).await)
}

fn with_route(
    control: &Control,
    name: &ModelName,
    show: impl FnOnce(&RouteStatus) -> Response<ResponseBody>,
) -> Answer {
    match control.route(name) {
        Some(route) => Ok(show(&route)),
        None => Err(refusal(ControlError::UnknownRoute(name.to_string()))),
    }
}

/// What the lifecycle answered. A route that cannot be taken is told with the
/// key that is wrong, so that its author's tools find the place.
fn answer<T: Serialize>(outcome: Result<T, ControlError>) -> Answer {
    match outcome {
        Ok(value) => Ok(json_answer(StatusCode::OK, &value)),
        Err(error) => {
            let message = error.to_string();
            match error {
                ControlError::BadRoute { route, path, .. } => {
                    let body = json!({"error": message, "route": route, "path": path});
                    Ok(json_answer(StatusCode::BAD_REQUEST, &body))
                }
                error => Err(refusal(error)),
            }
        }
    }
}
