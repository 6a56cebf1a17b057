//! Metrics and health, on their own listener and their own thread, so that a
//! scrape works while the network threads are busy.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, watch};

use super::body::ResponseBody;
use super::net::Listener;
use crate::request::Gateway;

/// Connections at a time; more wait in the backlog.
const MAX_CONNECTIONS: usize = 64;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Serves `/metrics`, `/livez`, `/readyz` and the protocol's two health paths
/// until `stop` turns true.
pub async fn serve_ops(listener: Listener, gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            accepted = listener.accept() => accepted,
        };
        let (Ok(place), Some(socket)) = (place, accepted) else { continue };
        let gateway = Arc::clone(&gateway);
        tokio::spawn(async move {
            let _place = place;
            let service = service_fn(|request| answer(Arc::clone(&gateway), request));
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(30))
                .max_buf_size(16 << 10)
                .serve_connection(TokioIo::new(socket), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "a metrics connection ended early");
            }
        });
    }
}

async fn answer(
    gateway: Arc<Gateway>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
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
        "/readyz" | "/v2/health/ready" => match gateway.unready_because() {
            None => (StatusCode::OK, "ready\n".to_owned()),
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
    Ok(response)
}
