//! gRPC over a bare HTTP/2 connection: messages are framed here, so that tests
//! see every header and can also frame them wrongly.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes};
use http::{HeaderMap, Request, Response, Version};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use modelgate::api::codec::pb;
use prost::Message;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// No answer takes longer, on any machine.
const PATIENCE: Duration = Duration::from_secs(30);

const SERVICE: &str = "/inference.GRPCInferenceService/";

/// One HTTP/2 connection to the gateway.
pub struct Client {
    runtime: Runtime,
    sender: SendRequest<Upload>,
}

/// A request's body: some bytes, then its end, or nothing for ever.
pub struct Upload {
    data: Option<Bytes>,
    ends: bool,
}

impl Upload {
    pub fn whole(data: impl Into<Bytes>) -> Upload {
        Upload { data: Some(data.into()), ends: true }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.data.take() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None if self.ends => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ends && self.data.is_none()
    }
}

/// How a call ended: `grpc-status` and `grpc-message`, with what came before.
#[derive(Debug)]
pub struct Called {
    pub code: i32,
    pub message: String,
    pub headers: HeaderMap,
    /// Messages, out of their frames.
    pub messages: Vec<Bytes>,
}

/// Extra metadata of a call.
pub type Metadata<'a> = &'a [(&'a str, &'a str)];

impl Client {
    #[track_caller]
    pub fn connect(to: SocketAddr) -> Client {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let sender = runtime.block_on(async {
            let socket = TcpStream::connect(to).await.expect("the gateway accepts");
            socket.set_nodelay(true).expect("a socket option");
            let (sender, connection) =
                handshake(TokioExecutor::new(), TokioIo::new(socket)).await.expect("HTTP/2");
            tokio::spawn(connection);
            sender
        });
        Client { runtime, sender }
    }

    /// Any HTTP/2 request.
    pub fn exchange(
        &mut self,
        request: Request<Upload>,
    ) -> Result<(Response<()>, Bytes, Option<HeaderMap>), hyper::Error> {
        let sender = &mut self.sender;
        self.runtime.block_on(async {
            let exchange = async {
                let response: Response<Incoming> = sender.send_request(request).await?;
                let (head, body) = response.into_parts();
                let body = body.collect().await?;
                let trailers = body.trailers().cloned();
                Ok((Response::from_parts(head, ()), body.to_bytes(), trailers))
            };
            tokio::time::timeout(PATIENCE, exchange).await.expect("an answer in time")
        })
    }

    /// A call with an already framed body.
    #[track_caller]
    pub fn call_framed(&mut self, path: &str, metadata: Metadata<'_>, framed: Vec<u8>) -> Called {
        self.call_with(path, metadata, Upload::whole(framed))
    }

    /// A call whose body never ends.
    #[track_caller]
    pub fn call_unfinished(&mut self, path: &str, framed: &[u8]) -> Called {
        let data = Some(Bytes::copy_from_slice(framed)).filter(|data| !data.is_empty());
        self.call_with(path, &[], Upload { data, ends: false })
    }

    #[track_caller]
    fn call_with(&mut self, path: &str, metadata: Metadata<'_>, upload: Upload) -> Called {
        let mut request = Request::post(format!("http://gateway{path}"))
            .version(Version::HTTP_2)
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in metadata {
            request = request.header(*name, *value);
        }
        let request = request.body(upload).expect("a request");
        let (head, body, trailers) = self.exchange(request).expect("an answer");
        assert_eq!(head.status(), 200, "gRPC tells its errors in grpc-status");
        Called::of(head.headers().clone(), body, trailers)
    }

    #[track_caller]
    pub fn call(
        &mut self,
        path: &str,
        metadata: Metadata<'_>,
        messages: &[impl Message],
    ) -> Called {
        let framed = messages.iter().flat_map(|message| frame(&message.encode_to_vec())).collect();
        self.call_framed(path, metadata, framed)
    }

    /// A method of the protocol's own service.
    #[track_caller]
    pub fn unary<Answer: Message + Default>(
        &mut self,
        method: &str,
        request: &impl Message,
    ) -> Result<Answer, Called> {
        self.unary_with(method, &[], request).map(|(answer, _)| answer)
    }

    #[track_caller]
    pub fn unary_with<Answer: Message + Default>(
        &mut self,
        method: &str,
        metadata: Metadata<'_>,
        request: &impl Message,
    ) -> Result<(Answer, HeaderMap), Called> {
        let framed = frame(&request.encode_to_vec());
        let called = self.call_framed(&format!("{SERVICE}{method}"), metadata, framed);
        match (called.code, called.messages.as_slice()) {
            (0, [message]) => {
                let answer = Answer::decode(message.clone()).expect("a message of this type");
                Ok((answer, called.headers))
            }
            (0, messages) => panic!("a unary call got {} messages", messages.len()),
            _ => Err(called),
        }
    }

    #[track_caller]
    pub fn infer(
        &mut self,
        request: &pb::ModelInferRequest,
    ) -> Result<pb::ModelInferResponse, Called> {
        self.unary("ModelInfer", request)
    }
}

impl Called {
    #[track_caller]
    fn of(headers: HeaderMap, body: Bytes, trailers: Option<HeaderMap>) -> Called {
        // A call that fails at once has its status among the headers.
        let last = trailers.as_ref().unwrap_or(&headers);
        let text = |name: &str| last.get(name).and_then(|value| value.to_str().ok());
        let code = text("grpc-status").and_then(|code| code.parse().ok()).expect("a grpc-status");
        let message = percent_decode(text("grpc-message").unwrap_or_default());
        Called { code, message, headers, messages: unframe(body) }
    }
}

/// A message behind its length, uncompressed.
pub fn frame(message: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(5 + message.len());
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.extend_from_slice(message);
    framed
}

#[track_caller]
fn unframe(mut body: Bytes) -> Vec<Bytes> {
    let mut messages = Vec::new();
    while !body.is_empty() {
        let head = body.split_to(5);
        assert_eq!(head[0], 0, "nobody asked for compression");
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        messages.push(body.split_to(length));
    }
    messages
}

fn percent_decode(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next().unwrap_or(b'?')).to_digit(16);
                let (high, low) = (digit().expect("a digit"), digit().expect("a digit"));
                (high * 16 + low) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(decoded).expect("grpc-message is UTF-8")
}
