//! `POST /v2/models/{model}[/versions/{version}]/infer`.

use std::iter::once;
use std::time::Instant;

use ::http::request::Parts;
use ::http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use bytes::Bytes;
use hyper::body::Incoming;
use smallvec::SmallVec;

use super::JSON;
use super::route::Target;
use crate::admission::Reserved;
use crate::api::answer::classify_outputs;
use crate::api::body::ResponseBody;
use crate::api::codec::compression::{self, Encoding};
use crate::api::codec::{AnswerView, json};
use crate::api::read::read_body;
use crate::api::{Face, headers};
use crate::request::{Answer, Call};
use crate::telemetry::Protocol;
use crate::types::{Code, InferError, InferRequest};

const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");
const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Pieces of an answer up to this size are sent as one.
const JOIN_BYTES: usize = 16 << 10;

pub async fn answer(
    face: &Face,
    target: &Target<'_>,
    head: &Parts,
    body: Incoming,
) -> Result<Response<ResponseBody>, InferError> {
    let received = Instant::now();
    let timeout = headers::timeout(&head.headers);
    let call = Call {
        protocol: match head.headers.contains_key(HEADER_LENGTH) {
            true => Protocol::HttpBinary,
            false => Protocol::HttpJson,
        },
        model: &target.model,
        version: &target.version,
        headers: &head.headers,
        timeout: timeout.as_ref().ok().copied().flatten(),
        body_bytes: 0,
        received,
    };
    // Before the body: a request for a model that is not here costs no reading.
    let ticket = face.gateway.route(&call)?;
    if let Err(error) = timeout {
        return Err(ticket.failed(&call, error));
    }
    let read = match read(face, &head.headers, body).await {
        Ok(read) => read,
        Err(error) => return Err(ticket.failed(&call, error)),
    };
    let call = Call { body_bytes: read.body.len(), ..call };
    let request = match decode(face, &head.headers, &read.body) {
        Ok(request) => request,
        Err(error) => return Err(ticket.failed(&call, error)),
    };
    let echoed_id = request.id.clone();
    let encode = |mut answer: Answer| {
        classify_outputs(&mut answer)?;
        let encoded = json::encode_infer(&AnswerView {
            id: &echoed_id,
            model_name: &target.model,
            model_version: answer.servable.version_str(),
            parameters: &[],
            outputs: &answer.outputs,
        })?;
        let mut response = Response::new(ResponseBody::empty());
        headers::describe(&answer, response.headers_mut());
        send(&mut response, &head.headers, encoded);
        Ok(response)
    };
    let mut begun = ticket.begin(&call, request)?;
    let response = begun.answer(encode).await?;
    Ok(response.map(|body| body.reserving(read.reserved)))
}

/// A body as it is decoded.
struct Read {
    body: Bytes,
    reserved: Reserved,
}

async fn read(face: &Face, headers: &HeaderMap, body: Incoming) -> Result<Read, InferError> {
    check_content_type(headers)?;
    let encoding = match headers.get(header::CONTENT_ENCODING) {
        Some(encoding) => Encoding::of_request(encoding.to_str().unwrap_or("?"))?,
        None => None,
    };
    let (mut body, mut reserved) = read_body(face, body).await?;
    if let Some(encoding) = encoding {
        body = compression::inflate(encoding, &body, face.limits.max_body_bytes)?;
        reserved.grow(body.len())?;
    }
    Ok(Read { body, reserved })
}

fn decode<'a>(
    face: &Face,
    headers: &HeaderMap,
    body: &'a Bytes,
) -> Result<InferRequest<'a>, InferError> {
    json::decode_infer(body, header_length(headers)?, &face.limits.decode)
}

/// Puts the encoded answer into the response, compressed where the client asks for it.
fn send(response: &mut Response<ResponseBody>, asked: &HeaderMap, encoded: json::Encoded) {
    let json_length = encoded.json.len();
    let headers = response.headers_mut();
    if encoded.binary_len > 0 {
        headers.insert(header::CONTENT_TYPE, BINARY);
        headers.insert(HEADER_LENGTH, HeaderValue::from(json_length));
    } else {
        headers.insert(header::CONTENT_TYPE, JSON);
    }
    let length = json_length + encoded.binary_len;
    let encoding = asked
        .get(header::ACCEPT_ENCODING)
        .filter(|_| length >= compression::MIN_COMPRESSED)
        .and_then(|accepted| Encoding::of_answer(accepted.to_str().ok()?));
    let mut pieces: SmallVec<[Bytes; 2]> = SmallVec::new();
    if let Some(encoding) = encoding {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding.name()));
        let binary = encoded.binary.iter().map(|piece| &**piece);
        pieces.push(compression::deflate(encoding, once(&*encoded.json).chain(binary)));
    } else if length <= JOIN_BYTES {
        let mut whole = encoded.json;
        encoded.binary.iter().for_each(|piece| whole.extend_from_slice(piece));
        pieces.push(Bytes::from(whole));
    } else {
        pieces.push(Bytes::from(encoded.json));
        pieces.extend(encoded.binary);
    }
    *response.body_mut() = ResponseBody::pieces(pieces);
}

/// The JSON part's length in a request with binary tensors; `None` where all is JSON.
fn header_length(headers: &HeaderMap) -> Result<Option<usize>, InferError> {
    let Some(value) = headers.get(HEADER_LENGTH) else { return Ok(None) };
    let length =
        headers::parse_number(value.as_bytes(), 18).and_then(|length| usize::try_from(length).ok());
    match length {
        Some(length) => Ok(Some(length)),
        None => Err(InferError::invalid(
            "inference-header-content-length is no length: expected the bytes of the JSON part",
        )),
    }
}

/// Stock clients send JSON without a content type, and curl's `-d` names a form.
fn check_content_type(headers: &HeaderMap) -> Result<(), InferError> {
    const TAKEN: [&str; 4] = [
        "application/json",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "text/plain",
    ];
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let media = value.to_str().unwrap_or("?").split(';').next().unwrap_or_default().trim();
    if TAKEN.iter().any(|taken| media.eq_ignore_ascii_case(taken)) {
        return Ok(());
    }
    Err(InferError::new(
        Code::UnsupportedMedia,
        "expected content-type application/json, or application/octet-stream for binary tensors",
    ))
}
