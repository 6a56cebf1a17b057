//! gRPC over HTTP/2 in the clear, several callers on one connection.

use std::borrow::Cow;
use std::error::Error as _;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes};
use http::Uri;
use http::uri::PathAndQuery;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Status};

use super::Failure;
use crate::Error;
use crate::args::ModelArg;
use crate::inputs::{InputSpec, ModelSpec};
use crate::pb;

const MODEL_INFER: &str = "/inference.GRPCInferenceService/ModelInfer";
/// Larger than the default 64 KiB, so that big tensors do not wait for credit.
const WINDOW_BYTES: u32 = 1 << 20;

/// A connection that its callers share and reopen.
pub struct Channel {
    authority: String,
    origin: Uri,
    connection: Mutex<Option<Connection>>,
}

impl Channel {
    pub fn new(authority: &str) -> Result<Self, Error> {
        let origin = origin(authority)?;
        Ok(Self { authority: authority.to_owned(), origin, connection: Mutex::new(None) })
    }

    async fn connection(&self) -> Result<Connection, Failure> {
        let mut slot = self.connection.lock().await;
        if let Some(connection) = slot.as_ref().filter(|c| !c.sender.is_closed()) {
            return Ok(connection.clone());
        }
        let connection = Connection::open(&self.authority).await?;
        *slot = Some(connection.clone());
        Ok(connection)
    }
}

fn origin(authority: &str) -> Result<Uri, Error> {
    Uri::try_from(format!("http://{authority}"))
        .map_err(|error| Error::Usage(format!("--url: {error}")))
}

pub struct Client {
    channel: Rc<Channel>,
}

impl Client {
    pub fn new(channel: Rc<Channel>) -> Self {
        Self { channel }
    }

    pub async fn connect(&mut self) -> Result<(), Failure> {
        self.channel.connection().await.map(drop)
    }

    pub async fn send(&mut self, message: &Bytes) -> Result<(), Failure> {
        let connection = self.channel.connection().await?;
        let mut grpc = tonic::client::Grpc::with_origin(connection, self.channel.origin.clone())
            .max_decoding_message_size(usize::MAX);
        let request = tonic::Request::new(message.clone());
        let path = PathAndQuery::from_static(MODEL_INFER);
        grpc.ready().await.map_err(Failure::connection)?;
        grpc.unary(request, path, OpaqueCodec).await.map(drop).map_err(failure)
    }
}

fn failure(status: Status) -> Failure {
    // A status with a cause was made on this side; the server's come without.
    if let Some(cause) = status.source() {
        return Failure::connection(format!("{}: {cause}", status.message()));
    }
    Failure { code: Cow::Borrowed(code_name(status.code())), message: status.message().to_owned() }
}

fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "cancelled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}

/// What tonic calls a service: sends on one HTTP/2 connection.
#[derive(Clone)]
struct Connection {
    sender: SendRequest<Body>,
}

impl Connection {
    async fn open(authority: &str) -> Result<Self, Failure> {
        let stream = TcpStream::connect(authority).await.map_err(Failure::connection)?;
        stream.set_nodelay(true).map_err(Failure::connection)?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(Failure::connection)?;
        // Ends when its senders are dropped; its error reaches them.
        tokio::spawn(connection);
        Ok(Self { sender })
    }
}

impl tower_service::Service<http::Request<Body>> for Connection {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.sender.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.sender.send_request(request))
    }
}

/// Sends messages that are encoded already and looks into no answer, so that
/// the client's own work stays small beside the server's.
#[derive(Clone, Copy)]
struct OpaqueCodec;

impl Codec for OpaqueCodec {
    type Encode = Bytes;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for OpaqueCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for OpaqueCodec {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        buffer.advance(buffer.remaining());
        Ok(Some(()))
    }
}

pub async fn metadata(authority: &str, model: &ModelArg) -> Result<ModelSpec, Error> {
    let unreachable = |failure: Failure| {
        Error::Unreachable(format!("cannot reach {authority}: {}", failure.message))
    };
    let origin = origin(authority)?;
    let connection = Connection::open(authority).await.map_err(unreachable)?;
    let mut client = pb::grpc_inference_service_client::GrpcInferenceServiceClient::with_origin(
        connection, origin,
    );
    let request = pb::ModelMetadataRequest {
        name: model.name.clone(),
        version: model.version.clone().unwrap_or_default(),
    };
    let answer = client.model_metadata(request).await.map_err(|status| {
        let failure = failure(status);
        if failure.is_connection() {
            return unreachable(failure);
        }
        let Failure { code, message } = failure;
        Error::Usage(format!("metadata of model `{}`: {code}: {message}", model.name))
    })?;
    let input = |input: pb::model_metadata_response::TensorMetadata| InputSpec {
        name: input.name,
        datatype: input.datatype,
        shape: input.shape,
    };
    Ok(ModelSpec { inputs: answer.into_inner().inputs.into_iter().map(input).collect() })
}
