//! HTTP/1.1, one connection per caller.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Failure;
use crate::Error;
use crate::args::ModelArg;
use crate::inputs::ModelSpec;
use crate::wire::model_path;

/// Most of an error's body that goes into the report.
const ERROR_BYTES: usize = 300;
const METADATA_BYTES: usize = 4 << 20;

/// An OK answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// One HTTP/1.1 caller.
pub struct Client {
    authority: String,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    pub fn new(authority: String) -> Self {
        Self { authority, sender: None }
    }

    pub async fn connect(&mut self) -> Result<(), Failure> {
        let sender = self.take_sender().await?;
        self.sender = Some(sender);
        Ok(())
    }

    /// Sends a request and reads its answer to the end, without keeping it.
    pub async fn send(&mut self, request: &Request<Full<Bytes>>) -> Result<(), Failure> {
        self.exchange(request, |_| {}).await.map(drop)
    }

    /// Sends a request and keeps its whole answer.
    pub async fn ask(&mut self, request: &Request<Full<Bytes>>) -> Result<Answer, Failure> {
        let mut body = Vec::new();
        let headers = self.exchange(request, |data| body.extend_from_slice(data)).await?;
        Ok(Answer { headers, body })
    }

    async fn exchange(
        &mut self,
        request: &Request<Full<Bytes>>,
        keep: impl FnMut(&[u8]),
    ) -> Result<HeaderMap, Failure> {
        // Held here while the request runs: one that is abandoned takes its
        // connection along, which has an answer outstanding.
        let mut sender = self.take_sender().await?;
        let response = sender.send_request(request.clone()).await.map_err(Failure::connection)?;
        let outcome = read(response, keep).await;
        if !outcome.as_ref().is_err_and(Failure::is_connection) {
            self.sender = Some(sender);
        }
        outcome
    }

    /// Returns the open connection, or a new one where the server closed it.
    async fn take_sender(&mut self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        if let Some(mut sender) = self.sender.take()
            && sender.ready().await.is_ok()
        {
            return Ok(sender);
        }
        connect(&self.authority).await
    }
}

async fn connect(authority: &str) -> Result<SendRequest<Full<Bytes>>, Failure> {
    let stream = TcpStream::connect(authority).await.map_err(Failure::connection)?;
    stream.set_nodelay(true).map_err(Failure::connection)?;
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(Failure::connection)?;
    // Ends when its sender is dropped; its error reaches the sender.
    tokio::spawn(connection);
    Ok(sender)
}

/// Reads an answer to its end: shows `keep` what an OK one holds, and keeps the
/// beginning of an error.
async fn read(
    response: Response<Incoming>,
    mut keep: impl FnMut(&[u8]),
) -> Result<HeaderMap, Failure> {
    let (head, mut body) = response.into_parts();
    let mut message = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(Failure::connection)?;
        match frame.data_ref() {
            Some(data) if head.status == StatusCode::OK => keep(data),
            Some(data) => {
                let left = ERROR_BYTES - message.len();
                message.extend_from_slice(&data[..data.len().min(left)]);
            }
            None => {}
        }
    }
    if head.status == StatusCode::OK {
        return Ok(head.headers);
    }
    let code = Cow::Owned(format!("http_{}", head.status.as_u16()));
    Err(Failure { code, message: String::from_utf8_lossy(&message).into_owned() })
}

pub async fn metadata(authority: &str, model: &ModelArg) -> Result<ModelSpec, Error> {
    let unreachable = |error: &dyn std::fmt::Display| {
        Error::Unreachable(format!("cannot reach {authority}: {error}"))
    };
    let mut sender = connect(authority).await.map_err(|failure| unreachable(&failure.message))?;
    let request = Request::get(model_path(model)).header(HOST, authority).body(Full::default());
    let request = request.map_err(|error| Error::Usage(format!("--model: {error}")))?;
    let response = sender.send_request(request).await.map_err(|error| unreachable(&error))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), METADATA_BYTES).collect().await;
    let body = body.map_err(|error| unreachable(&error))?.to_bytes();
    if status != StatusCode::OK {
        let body = String::from_utf8_lossy(&body);
        return Err(Error::Usage(format!("metadata of model `{}`: {status}: {body}", model.name)));
    }
    serde_json::from_slice(&body)
        .map_err(|error| Error::Usage(format!("metadata of model `{}`: {error}", model.name)))
}
