//! `modelgate.v1.Feedback`: labels of predictions.

use std::sync::Arc;

use prost::Message;
use tonic::{Request, Response, Status};

use super::status;
use crate::api::codec::feedback_pb as pb;
use crate::api::codec::feedback_pb::feedback_server::Feedback;
use crate::api::feedback::{message, submit};
use crate::request::Gateway;
use crate::types::InferError;

pub struct FeedbackService {
    gateway: Arc<Gateway>,
}

impl FeedbackService {
    pub fn new(gateway: &Arc<Gateway>) -> FeedbackService {
        FeedbackService { gateway: Arc::clone(gateway) }
    }

    async fn answer(&self, request: &pb::SubmitRequest) -> Result<pb::SubmitResponse, InferError> {
        let _reserved = self.gateway.budget.reserve(request.encoded_len())?;
        let labels = message::read(request)?;
        let (labels, outcomes) = submit(&self.gateway.quality, labels).await?;
        let results = labels.into_iter().zip(outcomes).map(|((id, row), outcome)| pb::Result {
            id,
            row,
            outcome: message::outcome(outcome).into(),
        });
        Ok(pb::SubmitResponse { results: results.collect() })
    }
}

#[tonic::async_trait]
impl Feedback for FeedbackService {
    async fn submit(
        &self,
        request: Request<pb::SubmitRequest>,
    ) -> Result<Response<pb::SubmitResponse>, Status> {
        let answer = self.answer(request.get_ref()).await;
        answer.map(Response::new).map_err(|error| status(&error))
    }
}
