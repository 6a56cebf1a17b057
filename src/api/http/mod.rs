//! The HTTP face of the protocol.

mod infer;
mod route;

use ::http::request::Parts;
use ::http::{HeaderValue, Method, Response, StatusCode, header};
use hyper::body::Incoming;
use serde::Serialize;
use serde_json::json;

use super::body::ResponseBody;
use super::codec::compression::ACCEPTED;
use super::read::read_body;
use super::{Face, documents, feedback, headers};
use crate::types::{Code, InferError};
use route::{Question, Route};

pub const JSON: HeaderValue = HeaderValue::from_static("application/json");

type Answer = Result<Response<ResponseBody>, InferError>;

/// Answers one HTTP request; errors become `{"error": "..."}`.
pub async fn answer(face: &Face, head: &Parts, body: Incoming) -> Response<ResponseBody> {
    let outcome = match route::parse(head.uri.path()) {
        None => Err(InferError::not_found(
            "no such path; the API begins at /v2 (health, models, repository), and labels of \
             predictions go to /v1/feedback",
        )),
        Some(route) if route.method() != head.method => {
            Err(wrong_method(&head.method, &route.method()))
        }
        Some(Route::Infer(target)) => {
            let answer = infer::answer(face, &target, head, body).await;
            // An encoding that is not taken: say which are.
            if let Err(error) = &answer
                && error.code == Code::Unimplemented
            {
                let mut response = refuse(error);
                let taken = HeaderValue::from_static(ACCEPTED);
                response.headers_mut().insert(header::ACCEPT_ENCODING, taken);
                return headers::identified(response, &head.headers);
            }
            answer
        }
        // Boxed, so that the future of an inference stays small.
        Some(Route::Feedback) => Box::pin(feedback::answer(face, head, body)).await,
        Some(Route::Ask(question)) => Box::pin(respond(face, &question, head, body)).await,
    };
    outcome.unwrap_or_else(|error| headers::identified(refuse(&error), &head.headers))
}

async fn respond(face: &Face, question: &Question<'_>, head: &Parts, body: Incoming) -> Answer {
    let gateway = &face.gateway;
    match question {
        Question::Live => Ok(json_answer(StatusCode::OK, &json!({"live": true}))),
        Question::Ready => {
            let ready = gateway.readiness.is_ready();
            Ok(ready_answer(ready, &json!({"ready": ready, "live": true})))
        }
        Question::ModelReady(target) => {
            gateway.resolve(&target.model, &target.version)?;
            let ready = gateway.readiness.is_ready();
            Ok(ready_answer(ready, &json!({"name": target.model, "ready": ready})))
        }
        Question::ServerMetadata => Ok(json_answer(StatusCode::OK, &documents::server_metadata())),
        Question::ModelMetadata(target) => {
            let snapshot = gateway.catalog.load();
            let metadata = documents::model_metadata(&snapshot, &target.model, &target.version)?;
            Ok(json_answer(StatusCode::OK, &metadata))
        }
        Question::ModelConfig(target) => {
            let servable = gateway.resolve(&target.model, &target.version)?;
            Ok(json_answer(StatusCode::OK, &documents::model_config(&servable)))
        }
        Question::Statistics(target) => {
            let statistics = documents::statistics(gateway, &target.model, &target.version)?;
            Ok(json_answer(StatusCode::OK, &statistics))
        }
        Question::RepositoryIndex => {
            let (body, _reserved) = read_body(face, body).await?;
            let ready_only = read_index_request(&body)?;
            let index = documents::repository_index(&gateway.catalog.load(), ready_only);
            Ok(json_answer(StatusCode::OK, &index))
        }
        Question::Repository(change, model) => {
            if headers::is_cross_origin(&head.uri, &head.headers) {
                return Err(InferError::new(
                    Code::PermissionDenied,
                    "a web page of another origin may not load or unload models",
                ));
            }
            let (body, _reserved) = read_body(face, body).await?;
            let parameters = read_parameters(&body)?;
            let asked = headers::timeout(&head.headers)?;
            let patience =
                asked.map_or(gateway.max_request, |asked| asked.min(gateway.max_request));
            let names = parameters.keys().map(String::as_str);
            face.repository.change(*change, model, names, "http", patience).await?;
            Ok(json_answer(StatusCode::OK, &json!({})))
        }
        Question::Unsupported(what) => {
            Err(InferError::new(Code::Unimplemented, format!("{what} is not supported here")))
        }
    }
}

/// The body is empty or `{"ready": bool}`.
fn read_index_request(body: &[u8]) -> Result<bool, InferError> {
    #[derive(serde::Deserialize)]
    struct IndexRequest {
        #[serde(default)]
        ready: bool,
    }
    if body.is_empty() {
        return Ok(false);
    }
    serde_json::from_slice::<IndexRequest>(body).map(|request| request.ready).map_err(|error| {
        InferError::invalid(format!("expected an empty body or {{\"ready\": bool}}: {error}"))
    })
}

/// The body is empty or `{"parameters": {...}}`.
fn read_parameters(body: &[u8]) -> Result<serde_json::Map<String, serde_json::Value>, InferError> {
    #[derive(serde::Deserialize)]
    struct RepositoryRequest {
        #[serde(default)]
        parameters: serde_json::Map<String, serde_json::Value>,
    }
    if body.is_empty() {
        return Ok(serde_json::Map::new());
    }
    Ok(read_object::<RepositoryRequest>(body)?.parameters)
}

/// Reads a JSON object. Serde alone would take a list for one as well.
pub fn read_object<T: for<'a> serde::Deserialize<'a>>(body: &[u8]) -> Result<T, InferError> {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(InferError::invalid("the body: expected a JSON object"));
    }
    serde_json::from_slice(body).map_err(|error| InferError::invalid(format!("the body: {error}")))
}

fn ready_answer(ready: bool, body: &serde_json::Value) -> Response<ResponseBody> {
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json_answer(status, body)
}

pub fn json_answer(status: StatusCode, body: &impl Serialize) -> Response<ResponseBody> {
    match serde_json::to_vec(body) {
        Ok(json) => {
            let mut response = Response::new(ResponseBody::full(json));
            *response.status_mut() = status;
            response.headers_mut().insert(header::CONTENT_TYPE, JSON);
            response
        }
        Err(error) => refuse(&InferError::internal(error.to_string())),
    }
}

/// An error as the protocol has it: the status, and `{"error": "..."}`.
pub fn refuse(error: &InferError) -> Response<ResponseBody> {
    let body = json!({"error": error.message}).to_string();
    let mut response = Response::new(ResponseBody::full(body));
    *response.status_mut() =
        StatusCode::from_u16(error.code.http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, JSON);
    if let Some(seconds) = headers::retry_after_secs(error) {
        fields.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    // The rest of the body is not worth reading.
    if error.code == Code::TooLarge {
        fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn wrong_method(got: &Method, expected: &Method) -> InferError {
    let shown: String = got.as_str().chars().take(16).collect();
    InferError::new(Code::MethodNotAllowed, format!("this path takes {expected}, not {shown}"))
}

pub fn grpc_needs_http2() -> InferError {
    InferError::new(Code::UnsupportedMedia, "gRPC needs HTTP/2; this connection speaks HTTP/1")
}
