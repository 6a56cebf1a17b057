//! A server of the protocol that misbehaves to order, and runs of the program against it.

#![allow(clippy::unwrap_used, reason = "helpers of tests; clippy sees only the tests themselves")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use loadtest::pb;
use prost::Message;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What becomes of an infer request, given its number and the time since the first.
pub type Behaviour = fn(u64, Duration) -> Fate;

pub enum Fate {
    Answer,
    AnswerAfter(Duration),
    /// HTTP 503, or gRPC UNAVAILABLE.
    Refuse,
    Never,
}

/// Inputs of every model here: `x` FP32 [-1, 3] and `words` BYTES [-1, -1].
const INPUTS: [(&str, &str, [i64; 2]); 2] = [("x", "FP32", [-1, 3]), ("words", "BYTES", [-1, -1])];

struct Server {
    behaviour: Behaviour,
    requests: AtomicU64,
    first: std::sync::OnceLock<Instant>,
}

/// Starts a server that lives as long as the test process.
pub fn server(behaviour: Behaviour) -> SocketAddr {
    let server =
        Server { behaviour, requests: AtomicU64::new(0), first: std::sync::OnceLock::new() };
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            serve(listener, Arc::new(server)).await;
        });
    });
    told.recv().unwrap()
}

async fn serve(listener: TcpListener, server: Arc<Server>) {
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).unwrap();
        let server = Arc::clone(&server);
        let service = service_fn(move |request| {
            let server = Arc::clone(&server);
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        tokio::spawn(async move {
            let builder = auto::Builder::new(TokioExecutor::new());
            // A client that leaves is no news here.
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

impl Server {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let path = head.uri.path();
        let known = path.strip_prefix("/v2/models/").is_some_and(|rest| !rest.starts_with("no"));
        match path.rsplit('/').next() {
            Some("ModelMetadata") => grpc_metadata(body.slice(5..)),
            Some("ModelInfer") => match (grpc_infer(body.slice(5..)), self.fate().await) {
                (Err(wrong), _) => grpc(3, &wrong, Bytes::new()),
                (_, Fate::Refuse) => grpc(14, "full", Bytes::new()),
                _ => grpc(0, "", pb::ModelInferResponse::default().encode_to_vec().into()),
            },
            Some("infer") => match (http_infer(&head.headers, &body), self.fate().await) {
                (Err(wrong), _) => http(400, json!({ "error": wrong })),
                (_, Fate::Refuse) => http(503, json!({ "error": "full" })),
                _ => http(200, json!({ "outputs": [] })),
            },
            _ if known => http(200, metadata()),
            _ => http(404, json!({ "error": "unknown model" })),
        }
    }

    async fn fate(&self) -> Fate {
        let since = self.first.get_or_init(Instant::now).elapsed();
        let fate = (self.behaviour)(self.requests.fetch_add(1, Ordering::Relaxed), since);
        match fate {
            Fate::AnswerAfter(time) => tokio::time::sleep(time).await,
            Fate::Never => std::future::pending().await,
            Fate::Answer | Fate::Refuse => {}
        }
        fate
    }
}

fn http(status: u16, body: Value) -> Answer {
    let body = Full::from(body.to_string()).boxed();
    Response::builder().status(status).body(body).unwrap()
}

fn metadata() -> Value {
    let input =
        |(name, datatype, shape)| json!({"name": name, "datatype": datatype, "shape": shape});
    json!({ "name": "m", "inputs": INPUTS.map(input), "outputs": [] })
}

fn grpc(code: u32, words: &str, message: Bytes) -> Answer {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(message.len() as u32);
    frame.put(message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code.into());
    trailers.insert("grpc-message", HeaderValue::from_str(words).unwrap());
    let body = if code == 0 { Full::from(frame.freeze()) } else { Full::default() };
    let body = body.with_trailers(std::future::ready(Some(Ok(trailers))));
    Response::builder().header("content-type", "application/grpc").body(body.boxed()).unwrap()
}

fn grpc_metadata(message: Bytes) -> Answer {
    let asked = pb::ModelMetadataRequest::decode(message).unwrap();
    if asked.name.starts_with("no") {
        return grpc(5, "unknown model", Bytes::new());
    }
    let input = |(name, datatype, shape): (&str, &str, [i64; 2])| {
        pb::model_metadata_response::TensorMetadata {
            name: name.into(),
            datatype: datatype.into(),
            shape: shape.into(),
            ..Default::default()
        }
    };
    let answer =
        pb::ModelMetadataResponse { inputs: INPUTS.map(input).into(), ..Default::default() };
    grpc(0, "", answer.encode_to_vec().into())
}

/// Checks that shapes and sizes are those of 2 rows and 4 words in each.
fn check(x: (&[i64], usize), words: (&[i64], usize)) -> Result<(), String> {
    if x != (&[2, 3], 24) || words.0 != [2, 4] || words.1 <= 8 * 4 {
        return Err(format!("x {x:?}, words {words:?}"));
    }
    Ok(())
}

fn grpc_infer(message: Bytes) -> Result<(), String> {
    let request = pb::ModelInferRequest::decode(message).map_err(|e| e.to_string())?;
    let input = |i: usize| (&request.inputs[i].shape[..], request.raw_input_contents[i].len());
    check(input(0), input(1))
}

fn http_infer(headers: &HeaderMap, body: &[u8]) -> Result<(), String> {
    let header = headers.get("inference-header-content-length");
    let json_length = header.map_or(body.len(), |v| v.to_str().unwrap().parse().unwrap());
    let request: Value = serde_json::from_slice(&body[..json_length]).map_err(|e| e.to_string())?;
    let input = |i: usize| {
        let input = &request["inputs"][i];
        let shape: Vec<i64> = serde_json::from_value(input["shape"].clone()).unwrap();
        let bytes = match &input["data"] {
            Value::Array(data) if i == 0 => data.len() * 4,
            Value::Array(data) => data.iter().map(|s| s.as_str().unwrap().len() + 4).sum(),
            _ => input["parameters"]["binary_data_size"].as_u64().unwrap() as usize,
        };
        (shape, bytes)
    };
    let (x, words) = (input(0), input(1));
    if header.is_some() && body[json_length..].len() != x.1 + words.1 {
        return Err("the binary part has another size than announced".into());
    }
    check((&x.0, x.1), (&words.0, words.1))
}

/// Exit code, JSON report (Null where none was written) and errors of a run.
pub struct Run {
    pub code: i32,
    pub report: Value,
    pub stderr: String,
}

/// Runs the program against `server` on requests of the size that it checks.
pub fn loadtest(server: SocketAddr, args: &str) -> Run {
    let url = server.to_string();
    let fixed = ["--url", &url, "--rows", "2", "--dim", "words=4", "--report", "json"];
    let output = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(fixed)
        .args(args.split_whitespace())
        .output()
        .unwrap();
    Run {
        code: output.status.code().unwrap(),
        report: serde_json::from_slice(&output.stdout).unwrap_or_default(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
