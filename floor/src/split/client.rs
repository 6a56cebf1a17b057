//! Asks for predictions over HTTP and gRPC, and holds each answer against what it should be.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::stream::FuturesUnordered;
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use loadtest::args::Protocol;
use loadtest::client::HttpClient;
use loadtest::plan::splitmix64;
use loadtest::wire::Prepared;
use tokio::net::TcpStream;

use super::ROUTE;
use super::expect::Split;
use crate::requests::Requests;
use crate::server::Server;
use crate::{Error, Result};

const HTTP_CALLERS: u64 = 32;
const GRPC_CALLERS: u64 = 32;
const GRPC_CONNECTIONS: u64 = 4;

/// What came of a run.
#[derive(Debug, Default)]
pub struct Seen {
    pub answered: u64,
    pub failed: u64,
    /// Answers of another variant than the unit's, or that another version made than they name.
    pub wrong: u64,
    /// Distinct units, and those that the candidate answered.
    pub units: u64,
    pub candidates: u64,
    pub example: Option<String>,
}

/// Asks `count` times for `units` units, half over each protocol.
pub fn ask_all(gateway: &Server, split: &Split, count: u64, units: u64) -> Result<Seen> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let run = Run {
        split,
        units,
        count,
        next: Cell::new(0),
        seen: RefCell::default(),
        by_unit: RefCell::default(),
    };
    let requests = Requests::of_model(gateway.http, ROUTE, None)?;
    runtime.block_on(async {
        let authority = gateway.http.to_string();
        let http = match requests.prepared(Protocol::HttpBinary, &authority)? {
            Prepared::Http(request) => *request,
            Prepared::Grpc(_) => return Err::<(), Error>("not an HTTP request".into()),
        };
        let frame = Bytes::from(requests.grpc_frame());
        let mut senders = Vec::new();
        for _ in 0..GRPC_CONNECTIONS {
            senders.push(connect(gateway).await?);
        }
        let over_http = (0..HTTP_CALLERS).map(|_| {
            let client = HttpClient::new(authority.clone());
            run.call(Caller::Http(client, Box::new(http.clone())))
        });
        let over_grpc = (0..GRPC_CALLERS).map(|number| {
            let sender = senders[(number % GRPC_CONNECTIONS) as usize].clone();
            run.call(Caller::Grpc(sender, frame.clone(), gateway.grpc.to_string()))
        });
        let mut running: FuturesUnordered<_> = over_http.chain(over_grpc).collect();
        while running.try_next().await?.is_some() {}
        Ok(())
    })?;
    let mut seen = run.seen.into_inner();
    let by_unit = run.by_unit.into_inner();
    seen.units = by_unit.len() as u64;
    seen.candidates = by_unit.values().filter(|is_candidate| **is_candidate).count() as u64;
    Ok(seen)
}

struct Run<'a> {
    split: &'a Split,
    units: u64,
    count: u64,
    next: Cell<u64>,
    seen: RefCell<Seen>,
    /// Whether the candidate answered, by unit.
    by_unit: RefCell<HashMap<u64, bool>>,
}

enum Caller {
    Http(HttpClient, Box<Request<Full<Bytes>>>),
    Grpc(SendRequest<Full<Bytes>>, Bytes, String),
}

impl Run<'_> {
    async fn call(&self, mut caller: Caller) -> Result<()> {
        loop {
            let number = self.next.get();
            if number >= self.count {
                return Ok(());
            }
            self.next.set(number + 1);
            let unit = splitmix64(number) % self.units;
            let user = format!("user-{unit}");
            let answer = caller.ask(&user).await;
            let mut seen = self.seen.borrow_mut();
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    seen.failed += 1;
                    seen.example.get_or_insert(format!("{user} failed: {error}"));
                    continue;
                }
            };
            seen.answered += 1;
            match check(&answer, self.split.is_candidate(&user)) {
                Ok(is_candidate) => {
                    let before = self.by_unit.borrow_mut().insert(unit, is_candidate);
                    if before.is_some_and(|before| before != is_candidate) {
                        seen.wrong += 1;
                        seen.example.get_or_insert(format!("{user} changed its variant"));
                    }
                }
                Err(wrong) => {
                    seen.wrong += 1;
                    seen.example.get_or_insert(format!("{user}: {wrong}"));
                }
            }
        }
    }
}

struct Answer {
    headers: HeaderMap,
    /// The output, which tells its version.
    output: f32,
}

/// Whether the candidate answered.
fn check(answer: &Answer, should_be_candidate: bool) -> Result<bool, String> {
    let header = |name: &str| {
        let value = answer.headers.get(name).and_then(|value| value.to_str().ok());
        value.ok_or(format!("no {name}"))
    };
    let (variant, version) = (header("x-variant")?, header("x-model-version")?);
    let told = answer.output.floor();
    if version.parse() != Ok(told) {
        return Err(format!("names version {version}, and its output is of version {told}"));
    }
    let expected = if should_be_candidate { "candidate" } else { "champion" };
    if variant != expected || (version == "1") == should_be_candidate {
        return Err(format!("{variant} (version {version}) answered instead of {expected}"));
    }
    Ok(should_be_candidate)
}

impl Caller {
    async fn ask(&mut self, user: &str) -> Result<Answer> {
        let user = HeaderValue::from_str(user)?;
        match self {
            Caller::Http(client, request) => {
                request.headers_mut().insert("x-user-id", user);
                let answer = client.ask(request).await.map_err(|failure| failure.message)?;
                let output = last_float(&answer.body)?;
                Ok(Answer { headers: answer.headers, output })
            }
            Caller::Grpc(sender, frame, authority) => {
                let request = Request::post(format!(
                    "http://{authority}/inference.GRPCInferenceService/ModelInfer"
                ));
                let request = request.header("content-type", "application/grpc");
                let request = request.header("te", "trailers").header("x-user-id", user);
                sender.ready().await?;
                let response = sender.send_request(request.body(Full::new(frame.clone()))?).await?;
                let (head, body) = response.into_parts();
                let body = body.collect().await?;
                let status = body.trailers().and_then(|trailers| trailers.get("grpc-status"));
                match status.or_else(|| head.headers.get("grpc-status")) {
                    Some(status) if status == "0" => {}
                    status => {
                        let message = head.headers.get("grpc-message");
                        return Err(format!("grpc-status {status:?} {message:?}").into());
                    }
                }
                // The raw contents are the last field of the message.
                let output = last_float(&body.to_bytes())?;
                Ok(Answer { headers: head.headers, output })
            }
        }
    }
}

fn last_float(body: &[u8]) -> Result<f32> {
    Ok(f32::from_le_bytes(*body.last_chunk().ok_or("the answer has no output")?))
}

async fn connect(gateway: &Server) -> Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(gateway.grpc).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    // Ends when its sender is dropped; its error reaches the sender.
    tokio::spawn(connection);
    Ok(sender)
}
