//! The protocol's calls but for the fast way of `ModelInfer`. The calls that
//! are left out answer `UNIMPLEMENTED`.

use std::sync::Arc;
use std::time::Instant;

use ::http::HeaderMap;
use futures_util::{StreamExt, future};
use tonic::codegen::BoxStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::infer::predict;
use super::status;
use crate::api::codec::pb::grpc_inference_service_server::GrpcInferenceService;
use crate::api::codec::{DecodeLimits, pb};
use crate::api::repository::{Change, Repository};
use crate::api::{WireLimits, documents, headers};
use crate::request::Gateway;
use crate::types::{Code, InferError, Parameter};

/// Requests of one stream that are under way together; answers keep their order.
const STREAM_CONCURRENCY: usize = 16;

const FINAL: (&str, Parameter<'static>) = ("triton_final_response", Parameter::Bool(true));

pub struct InferenceService {
    gateway: Arc<Gateway>,
    repository: Arc<Repository>,
    limits: DecodeLimits,
}

impl InferenceService {
    pub fn new(
        gateway: &Arc<Gateway>,
        repository: &Arc<Repository>,
        limits: &WireLimits,
    ) -> InferenceService {
        InferenceService {
            gateway: Arc::clone(gateway),
            repository: Arc::clone(repository),
            limits: limits.decode,
        }
    }

    async fn change(
        &self,
        change: Change,
        metadata: &MetadataMap,
        repository: &str,
        model: &str,
        parameters: impl Iterator<Item = &str>,
    ) -> Result<(), InferError> {
        if !repository.is_empty() {
            return Err(InferError::invalid(
                "expected an empty repository_name: a model's name alone says where it comes from",
            ));
        }
        let asked = headers::timeout(metadata.as_ref())?;
        let most = self.gateway.max_request;
        let patience = asked.map_or(most, |asked| asked.min(most));
        self.repository.change(change, model, parameters, "grpc", patience).await
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl GrpcInferenceService for InferenceService {
    async fn server_live(
        &self,
        _: Request<pb::ServerLiveRequest>,
    ) -> Answer<pb::ServerLiveResponse> {
        Ok(Response::new(pb::ServerLiveResponse { live: true }))
    }

    async fn server_ready(
        &self,
        _: Request<pb::ServerReadyRequest>,
    ) -> Answer<pb::ServerReadyResponse> {
        Ok(Response::new(pb::ServerReadyResponse { ready: self.gateway.readiness.is_ready() }))
    }

    async fn model_ready(
        &self,
        request: Request<pb::ModelReadyRequest>,
    ) -> Answer<pb::ModelReadyResponse> {
        let request = request.get_ref();
        let ready = match self.gateway.resolve(&request.name, &request.version) {
            Ok(_) => self.gateway.readiness.is_ready(),
            Err(error) if error.code == Code::Unavailable => false,
            Err(error) => return Err(status(&error)),
        };
        Ok(Response::new(pb::ModelReadyResponse { ready }))
    }

    async fn server_metadata(
        &self,
        _: Request<pb::ServerMetadataRequest>,
    ) -> Answer<pb::ServerMetadataResponse> {
        Ok(Response::new(documents::server_metadata()))
    }

    async fn model_metadata(
        &self,
        request: Request<pb::ModelMetadataRequest>,
    ) -> Answer<pb::ModelMetadataResponse> {
        let request = request.get_ref();
        documents::model_metadata(&self.gateway.catalog.load(), &request.name, &request.version)
            .map(Response::new)
            .map_err(|error| status(&error))
    }

    async fn model_config(
        &self,
        request: Request<pb::ModelConfigRequest>,
    ) -> Answer<pb::ModelConfigResponse> {
        let request = request.get_ref();
        let servable = self
            .gateway
            .resolve(&request.name, &request.version)
            .map_err(|error| status(&error))?;
        let config = Some(documents::model_config(&servable));
        Ok(Response::new(pb::ModelConfigResponse { config }))
    }

    async fn model_statistics(
        &self,
        request: Request<pb::ModelStatisticsRequest>,
    ) -> Answer<pb::ModelStatisticsResponse> {
        let request = request.get_ref();
        documents::statistics(&self.gateway, &request.name, &request.version)
            .map(Response::new)
            .map_err(|error| status(&error))
    }

    async fn repository_index(
        &self,
        request: Request<pb::RepositoryIndexRequest>,
    ) -> Answer<pb::RepositoryIndexResponse> {
        let ready_only = request.get_ref().ready;
        let models = documents::repository_index(&self.gateway.catalog.load(), ready_only);
        Ok(Response::new(pb::RepositoryIndexResponse { models }))
    }

    async fn repository_model_load(
        &self,
        request: Request<pb::RepositoryModelLoadRequest>,
    ) -> Answer<pb::RepositoryModelLoadResponse> {
        let pb::RepositoryModelLoadRequest { repository_name, model_name, parameters } =
            request.get_ref();
        let names = parameters.keys().map(String::as_str);
        self.change(Change::Load, request.metadata(), repository_name, model_name, names)
            .await
            .map(|()| Response::new(pb::RepositoryModelLoadResponse {}))
            .map_err(|error| status(&error))
    }

    async fn repository_model_unload(
        &self,
        request: Request<pb::RepositoryModelUnloadRequest>,
    ) -> Answer<pb::RepositoryModelUnloadResponse> {
        let pb::RepositoryModelUnloadRequest { repository_name, model_name, parameters } =
            request.get_ref();
        let names = parameters.keys().map(String::as_str);
        self.change(Change::Unload, request.metadata(), repository_name, model_name, names)
            .await
            .map(|()| Response::new(pb::RepositoryModelUnloadResponse {}))
            .map_err(|error| status(&error))
    }

    async fn model_infer(
        &self,
        request: Request<pb::ModelInferRequest>,
    ) -> Answer<pb::ModelInferResponse> {
        let received = Instant::now();
        let (metadata, _, message) = request.into_parts();
        let metadata = metadata.into_headers();
        let (message, answer) =
            predict(&self.gateway, &self.limits, &metadata, message, received, &[])
                .await
                .map_err(|error| status(&error))?;
        let mut described = HeaderMap::new();
        headers::describe(&answer, &mut described);
        Ok(Response::from_parts(MetadataMap::from_headers(described), message, Default::default()))
    }

    /// One answer per request, in order. A request that fails is told in its
    /// answer's `error_message`; the stream goes on.
    async fn model_stream_infer(
        &self,
        request: Request<Streaming<pb::ModelInferRequest>>,
    ) -> Answer<BoxStream<pb::ModelStreamInferResponse>> {
        let (metadata, _, messages) = request.into_parts();
        // The call's own timeout bounds the stream, not each request in it.
        let mut metadata = metadata.into_headers();
        metadata.remove(headers::GRPC_TIMEOUT);
        metadata.remove(headers::REQUEST_ID);
        let metadata = Arc::new(metadata);
        let (gateway, limits) = (Arc::clone(&self.gateway), self.limits);
        let answers = messages
            .map(move |message| {
                let (gateway, metadata) = (Arc::clone(&gateway), Arc::clone(&metadata));
                async move {
                    let message = message?;
                    Ok(answer_in_stream(&gateway, &limits, &metadata, message).await)
                }
            })
            .buffered(STREAM_CONCURRENCY)
            // After a broken message the stream cannot go on.
            .scan(false, |broken, answer| {
                let item = (!*broken).then_some(answer);
                *broken |= matches!(item, Some(Err(_)));
                future::ready(item)
            });
        Ok(Response::new(Box::pin(answers)))
    }
}

async fn answer_in_stream(
    gateway: &Gateway,
    limits: &DecodeLimits,
    metadata: &HeaderMap,
    message: pb::ModelInferRequest,
) -> pb::ModelStreamInferResponse {
    let id = message.id.clone();
    let received = Instant::now();
    match predict(gateway, limits, metadata, message, received, &[FINAL]).await {
        Ok((response, _)) => pb::ModelStreamInferResponse {
            error_message: String::new(),
            infer_response: Some(response),
        },
        Err(error) => pb::ModelStreamInferResponse {
            error_message: error.message.into_owned(),
            infer_response: Some(pb::ModelInferResponse { id, ..Default::default() }),
        },
    }
}
