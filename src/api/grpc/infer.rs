//! `ModelInfer`, the call that must be fast: one message in, one out, without
//! the stream machinery that the other calls go through. Compressed calls take
//! the general way.

use std::time::Instant;

use ::http::request::Parts;
use ::http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use bytes::{BufMut, Bytes, BytesMut};
use hyper::body::Incoming;
use prost::Message;

use super::{Face, ResponseBody, refuse};
use crate::api::answer::classify_outputs;
use crate::api::codec::{AnswerView, DecodeLimits, pb, protobuf};
use crate::api::headers;
use crate::api::read::read_body;
use crate::request::{Answer, Call, Gateway};
use crate::telemetry::Protocol;
use crate::types::{InferError, Parameter};

const PATH: &str = "/inference.GRPCInferenceService/ModelInfer";
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// Compressed flag and length in front of every message.
const FRAME_HEAD: usize = 5;

/// Whether a call can go this way.
pub fn takes(head: &Parts) -> bool {
    head.uri.path() == PATH
        && head.headers.get(ENCODING).is_none_or(|encoding| encoding == "identity")
}

pub async fn answer(face: &Face, head: &Parts, body: Incoming) -> Response<ResponseBody> {
    let outcome = answer_unary(face, head, body).await;
    outcome.unwrap_or_else(|error| headers::identified(refuse(&error), &head.headers))
}

async fn answer_unary(
    face: &Face,
    head: &Parts,
    body: Incoming,
) -> Result<Response<ResponseBody>, InferError> {
    let received = Instant::now();
    let read = async {
        let (framed, reserved) = read_body(face, body).await?;
        Ok((unframe(framed)?, reserved))
    };
    let (message, reserved) = match read.await {
        Ok(read) => read,
        Err(error) => {
            face.gateway.refused(Protocol::Grpc, &error);
            return Err(error);
        }
    };
    let (message, answer) =
        predict(&face.gateway, &face.limits.decode, &head.headers, message, received, &[]).await?;
    let body = ResponseBody::message(frame(&message)).reserving(reserved);
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, GRPC);
    headers::describe(&answer, headers);
    Ok(response)
}

/// Answers one message, whichever way it came.
pub async fn predict(
    gateway: &Gateway,
    limits: &DecodeLimits,
    headers: &HeaderMap,
    mut message: pb::ModelInferRequest,
    received: Instant,
    parameters: &[(&str, Parameter<'_>)],
) -> Result<(pb::ModelInferResponse, Answer), InferError> {
    let model = std::mem::take(&mut message.model_name);
    let version = std::mem::take(&mut message.model_version);
    let id = message.id.clone();
    let timeout = headers::timeout(headers);
    let call = Call {
        protocol: Protocol::Grpc,
        model: &model,
        version: &version,
        headers,
        timeout: timeout.as_ref().ok().copied().flatten(),
        // Its raw contents are its inputs, and whatever else it says was copied.
        body_bytes: 0,
        received,
    };
    let ticket = gateway.route(&call)?;
    let decoded = timeout.and_then(|_| protobuf::decode_infer(&mut message, limits));
    let request = match decoded {
        Ok(decoded) => decoded,
        Err(error) => return Err(ticket.failed(&call, error)),
    };
    let encode = |mut answer: Answer| {
        classify_outputs(&mut answer)?;
        let response = protobuf::encode_infer(&AnswerView {
            id: &id,
            model_name: &model,
            model_version: answer.servable.version_str(),
            parameters,
            outputs: &answer.outputs,
        });
        Ok((response, answer))
    };
    let mut begun = ticket.begin(&call, request)?;
    begun.answer(encode).await
}

/// Takes the one message out of its frame.
fn unframe(framed: Bytes) -> Result<pb::ModelInferRequest, InferError> {
    let Some(([compressed, length @ ..], rest)) = framed.split_first_chunk::<FRAME_HEAD>() else {
        return Err(InferError::invalid("the call ended before its message"));
    };
    if *compressed != 0 {
        return Err(InferError::invalid(
            "the message is compressed, but no grpc-encoding says how",
        ));
    }
    let length = u32::from_be_bytes(*length) as usize;
    if length != rest.len() {
        return Err(InferError::invalid(format!(
            "the message declares {length} bytes, the call carries {}",
            rest.len()
        )));
    }
    pb::ModelInferRequest::decode(framed.slice(FRAME_HEAD..)).map_err(|error| {
        InferError::invalid(format!("the message is no ModelInferRequest: {error}"))
    })
}

fn frame(message: &pb::ModelInferResponse) -> Bytes {
    let length = message.encoded_len();
    let mut framed = BytesMut::with_capacity(FRAME_HEAD + length);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    message.encode_raw(&mut framed);
    framed.freeze()
}
