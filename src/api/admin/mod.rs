//! The admin API: what is served, and how to change it. JSON under
//! `/admin/v1/`, on a listener of its own that only this machine can reach.
//! `openapi.json` describes it; the table in `routes` is what is there.

mod calls;
mod drift;
mod guard;
mod input;
mod log;
mod retrain;
mod routes;
mod steer;
mod why;

use std::sync::Arc;

use ::http::request::Parts;
use ::http::{HeaderValue, Request, Response, header};
use arc_swap::ArcSwap;
use hyper::body::Incoming;
use tokio::sync::watch;

use super::body::ResponseBody;
use super::http::refuse;
use super::net::Listener;
use super::side;
use crate::control::Control;
use crate::control::retrain::Retrain;
use crate::request::Gateway;
use crate::types::{Code, InferError};
use routes::Found;
pub use steer::{Traffic, TrafficVariant};
pub use why::Why;

/// The running configuration as the API shows it: no secret is in it.
pub type ConfigText = Arc<ArcSwap<serde_json::Value>>;

/// Describes every call; a test compares it with the routes.
const OPENAPI: &str = include_str!("openapi.json");

/// What the calls speak to.
pub struct Admin {
    pub control: Control,
    pub config: ConfigText,
    /// Knows the routes as requests see them.
    pub gateway: Arc<Gateway>,
    pub retrain: Arc<Retrain>,
}

/// Serves the admin API until `stop` turns true.
pub async fn serve_admin(listener: Listener, admin: Admin, stop: watch::Receiver<bool>) {
    let admin = Arc::new(admin);
    side::serve(listener, stop, move |request| answer(Arc::clone(&admin), request)).await;
}

async fn answer(admin: Arc<Admin>, request: Request<Incoming>) -> Response<ResponseBody> {
    let (head, body) = request.into_parts();
    let mut response = respond(&admin, &head, body).await.unwrap_or_else(|error| refuse(&error));
    let headers = response.headers_mut();
    // Nothing here is for a browser to keep, or to take for something else.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn respond(
    admin: &Admin,
    head: &Parts,
    body: Incoming,
) -> Result<Response<ResponseBody>, InferError> {
    guard::check(&head.uri, &head.headers)?;
    let (operation, named) = match routes::find(&head.method, head.uri.path()) {
        Found::Here(operation, named) => (operation, named),
        Found::OtherMethods(allowed) => return Ok(wrong_method(&allowed)),
        Found::Nothing => {
            return Err(InferError::not_found(
                "no such path; GET /admin/v1/openapi.json describes what is here",
            ));
        }
    };
    let body = input::read(&head.method, &head.headers, body, operation.body_limit()).await?;
    calls::run(admin, operation, &named, head.uri.query().unwrap_or_default(), &body).await
}

fn wrong_method(allowed: &str) -> Response<ResponseBody> {
    let message = format!("this path takes {allowed}");
    let mut response = refuse(&InferError::new(Code::MethodNotAllowed, message));
    if let Ok(allowed) = HeaderValue::from_str(allowed) {
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response
}
