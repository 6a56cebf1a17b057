//! Metrics and health, on their own listener.

use std::sync::Arc;

use ::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use tokio::sync::watch;

use super::body::ResponseBody;
use super::net::Listener;
use super::side;
use crate::request::Gateway;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Serves `/metrics`, `/livez`, `/readyz` and the protocol's two health paths
/// until `stop` turns true.
pub async fn serve_ops(listener: Listener, gateway: Arc<Gateway>, stop: watch::Receiver<bool>) {
    side::serve(listener, stop, move |request| answer(Arc::clone(&gateway), request)).await;
}

async fn answer(gateway: Arc<Gateway>, request: Request<Incoming>) -> Response<ResponseBody> {
    let (status, body) = match request.uri().path() {
        _ if request.method() != Method::GET && request.method() != Method::HEAD => {
            (StatusCode::METHOD_NOT_ALLOWED, "this listener takes GET\n".to_owned())
        }
        "/metrics" => {
            let page = tokio::task::spawn_blocking(move || gateway.telemetry.render()).await;
            match page {
                Ok(page) => (StatusCode::OK, page),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
            }
        }
        "/livez" | "/v2/health/live" => (StatusCode::OK, "live\n".to_owned()),
        "/readyz" | "/v2/health/ready" => match gateway.readiness.unready_because() {
            None => (StatusCode::OK, format!("ready\n{}", remarks(&gateway))),
            Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
        },
        _ => (
            StatusCode::NOT_FOUND,
            "this listener serves /metrics, /livez and /readyz\n".to_owned(),
        ),
    };
    let mut response = Response::new(ResponseBody::full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
    response
}

/// What is worth knowing beside it.
fn remarks(gateway: &Gateway) -> String {
    let stale = gateway.readiness.stale_registries();
    let mut remarks = String::new();
    if !stale.is_empty() {
        remarks = format!("registry_stale: {}\n", stale.join(", "));
    }
    if gateway.readiness.log_is_degraded() {
        remarks.push_str("prediction_log: cannot be written\n");
    }
    remarks
}
