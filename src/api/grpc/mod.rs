//! The gRPC face of the protocol, with gRPC's own health and reflection services.

mod feedback;
pub mod infer;
mod service;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use ::http::request::Parts;
use ::http::{HeaderMap, Request, Response, header};
use hyper::body::Incoming;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code as GrpcCode, Status};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower_service::Service;

use super::body::ResponseBody;
use super::codec::feedback_pb::feedback_server::FeedbackServer;
use super::codec::pb;
use super::codec::pb::grpc_inference_service_server::GrpcInferenceServiceServer;
use super::repository::Repository;
use super::{Face, WireLimits, headers};
use crate::request::Gateway;
use crate::types::{Code, InferError};
use feedback::FeedbackService;
use service::InferenceService;

const INFERENCE: &str = "inference.GRPCInferenceService";
const FEEDBACK: &str = "modelgate.v1.Feedback";

/// The services behind the paths.
pub struct Services {
    mounted: Vec<Mounted>,
    health: HealthReporter,
}

struct Mounted {
    /// `/package.Service/`
    prefix: &'static str,
    call: BoxedService,
}

type BoxedService = Box<dyn Fn(Request<Body>) -> Answering + Send + Sync>;
type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

impl Services {
    pub fn new(
        gateway: &Arc<Gateway>,
        repository: &Arc<Repository>,
        limits: &WireLimits,
        reflection: bool,
    ) -> Services {
        let service = InferenceService::new(gateway, repository, limits);
        let inference = GrpcInferenceServiceServer::new(service)
            .max_decoding_message_size(limits.max_body_bytes)
            .max_encoding_message_size(usize::MAX)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Deflate)
            .send_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Deflate);
        let feedback = FeedbackServer::new(FeedbackService::new(gateway))
            .max_decoding_message_size(limits.max_body_bytes)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Deflate);
        let health = HealthReporter::new();
        let health_service = tonic_health::pb::health_server::HealthServer::new(
            tonic_health::server::HealthService::from_health_reporter(health.clone()),
        );
        let mut mounted = vec![
            Mounted { prefix: "/inference.GRPCInferenceService/", call: boxed(inference) },
            Mounted { prefix: "/modelgate.v1.Feedback/", call: boxed(feedback) },
            Mounted { prefix: "/grpc.health.v1.Health/", call: boxed(health_service) },
        ];
        if reflection {
            let builder = || {
                tonic_reflection::server::Builder::configure()
                    .register_encoded_file_descriptor_set(pb::FILE_DESCRIPTOR_SET)
                    .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            };
            if let (Ok(v1), Ok(v1alpha)) = (builder().build_v1(), builder().build_v1alpha()) {
                let v1 = boxed(v1);
                mounted.push(Mounted { prefix: "/grpc.reflection.v1.ServerReflection/", call: v1 });
                let prefix = "/grpc.reflection.v1alpha.ServerReflection/";
                mounted.push(Mounted { prefix, call: boxed(v1alpha) });
            }
        }
        Services { mounted, health }
    }

    /// Tells gRPC's own health service, and those who watch it.
    pub async fn set_serving(&self, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in ["", INFERENCE, FEEDBACK] {
            self.health.set_service_status(service, status).await;
        }
    }
}

fn boxed<S>(service: S) -> BoxedService
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
{
    Box::new(move |request| {
        let answer = service.clone().call(request);
        Box::pin(async move { answer.await.unwrap_or_else(|never| match never {}) })
    })
}

pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|media| {
        media.as_bytes().strip_prefix(b"application/grpc").is_some_and(|rest| {
            // Not grpc-web, which is another protocol.
            rest.first().is_none_or(|next| matches!(next, b'+' | b';'))
        })
    })
}

/// Answers a call that does not go the fast way of [`infer`].
pub async fn answer(face: &Face, head: Parts, body: Incoming) -> Response<ResponseBody> {
    let path = head.uri.path();
    match face.grpc.mounted.iter().find(|mounted| path.starts_with(mounted.prefix)) {
        Some(mounted) => {
            let request = Request::from_parts(head, Body::new(body));
            (mounted.call)(request).await.map(ResponseBody::tonic)
        }
        None => refuse(&InferError::new(Code::Unimplemented, "no such gRPC service")),
    }
}

/// An error as the only frame of an answer.
pub fn refuse(error: &InferError) -> Response<ResponseBody> {
    status(error).into_http::<Body>().map(|_| ResponseBody::empty())
}

/// The gRPC form of an error.
fn status(error: &InferError) -> Status {
    let code = GrpcCode::from(i32::from(error.code.grpc()));
    let mut metadata = MetadataMap::new();
    if let Some(millis) = headers::retry_pushback_ms(error) {
        metadata.insert("grpc-retry-pushback-ms", MetadataValue::from(millis));
    }
    Status::with_metadata(code, error.message.clone(), metadata)
}
