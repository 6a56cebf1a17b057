//! Wire faces: HTTP and gRPC on every listener, metrics and health on their
//! own, and the admin API on another. They decode, ask, and encode; they decide
//! nothing.

mod admin;
mod answer;
mod body;
pub mod codec;
mod documents;
mod feedback;
mod grpc;
mod headers;
mod http;
pub mod net;
mod ops;
mod percent;
mod read;
mod repository;
mod side;

use std::convert::Infallible;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ::http::{Request, Response, Version};
use hyper::body::Incoming;

use body::ResponseBody;
use codec::DecodeLimits;
use net::{ActiveRequest, TimeLimits};
use repository::Repository;

use crate::control::Control;
use crate::request::Gateway;
use crate::types::InferError;

pub use admin::{Admin, ConfigText, Traffic, TrafficVariant, Why, serve_admin};
pub use ops::serve_ops;

/// What every connection of the inference listeners shares.
pub struct Face {
    pub gateway: Arc<Gateway>,
    pub limits: WireLimits,
    repository: Arc<Repository>,
    grpc: grpc::Services,
}

/// Bounds on what clients may send and how slowly.
#[derive(Clone, Copy, Debug)]
pub struct WireLimits {
    pub max_body_bytes: usize,
    pub max_head_bytes: u32,
    pub max_headers: usize,
    pub max_connections: usize,
    /// Streams of one HTTP/2 connection at a time.
    pub max_streams: u32,
    /// Longest wait for a body, and between two of its pieces.
    pub body_timeout: Duration,
    /// How long a network thread looks for the next request before it sleeps;
    /// zero means not at all.
    pub spin: Duration,
    /// Interval of HTTP/2 pings that find dead peers.
    pub ping_every: Duration,
    pub time: TimeLimits,
    pub decode: DecodeLimits,
}

impl Face {
    pub fn new(gateway: Arc<Gateway>, limits: WireLimits, reflection: bool) -> Face {
        let repository = Arc::new(Repository::default());
        let grpc = grpc::Services::new(&gateway, &repository, &limits, reflection);
        Face { gateway, limits, repository, grpc }
    }

    /// From now on models are loaded and unloaded by request through `control`;
    /// before, such requests are told that the gateway is starting.
    pub fn set_control(&self, control: Control) {
        self.repository.open(control);
    }

    /// Tells those who watch gRPC's own health service.
    pub async fn set_serving(&self, serving: bool) {
        self.grpc.set_serving(serving).await;
    }
}

/// Answers one request of any protocol. A panic costs this request only.
async fn dispatch(
    face: Arc<Face>,
    active: ActiveRequest,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let (head, body) = request.into_parts();
    let is_grpc = grpc::is_grpc(&head.headers);
    // Pinned where it is made: futures are large, and moving them shows.
    let mut answer = pin!(async {
        if !is_grpc {
            http::answer(&face, &head, body).await
        } else if head.version != Version::HTTP_2 {
            http::refuse(&http::grpc_needs_http2())
        } else if grpc::infer::takes(&head) {
            grpc::infer::answer(&face, &head, body).await
        } else {
            Box::pin(grpc::answer(&face, head, body)).await
        }
    });
    let response = poll_fn(|context| {
        let poll = AssertUnwindSafe(|| answer.as_mut().poll(context));
        catch_unwind(poll).unwrap_or_else(|_| {
            let error =
                InferError::internal("the gateway failed on this request; it keeps serving");
            Poll::Ready(if is_grpc { grpc::refuse(&error) } else { http::refuse(&error) })
        })
    })
    .await;
    net::spin::answered();
    Ok(response.map(|body| body.during(active)))
}
