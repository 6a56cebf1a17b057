//! One caller's end of the wire.

mod grpc;
mod http;

use std::borrow::Cow;
use std::rc::Rc;

use crate::Error;
use crate::args::{ModelArg, Protocol};
use crate::inputs::ModelSpec;
use crate::wire::Prepared;

pub use grpc::Channel;
pub use http::{Answer, Client as HttpClient};

/// Where the server is.
#[derive(Clone, Debug)]
pub struct Target {
    /// `host:port`.
    pub authority: String,
    pub protocol: Protocol,
}

impl Target {
    /// Takes `host:port`, or a `http://` address without a path.
    pub fn parse(url: &str, protocol: Protocol) -> Result<Self, Error> {
        let authority = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
        match authority.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(Self { authority: authority.to_owned(), protocol })
            }
            _ => Err(Error::Usage(format!("--url: expected HOST:PORT, got `{url}`"))),
        }
    }

    /// Asks the server what a model takes.
    pub async fn metadata(&self, model: &ModelArg) -> Result<ModelSpec, Error> {
        match self.protocol {
            Protocol::HttpJson | Protocol::HttpBinary => {
                http::metadata(&self.authority, model).await
            }
            Protocol::Grpc => grpc::metadata(&self.authority, model).await,
        }
    }
}

/// Why a request has no OK answer.
#[derive(Clone, Debug)]
pub struct Failure {
    /// `http_<status>`, the lower-case name of a gRPC code, or what went wrong on
    /// this side: `connection`, `timeout`, `unsent`.
    pub code: Cow<'static, str>,
    pub message: String,
}

impl Failure {
    const CONNECTION: &'static str = "connection";

    pub fn new(code: &'static str, message: impl ToString) -> Self {
        Self { code: Cow::Borrowed(code), message: message.to_string() }
    }

    fn connection(message: impl ToString) -> Self {
        Self::new(Self::CONNECTION, message)
    }

    /// Whether the connection is gone rather than the request refused.
    pub fn is_connection(&self) -> bool {
        self.code == Self::CONNECTION
    }
}

/// Sends one request at a time.
pub enum Client {
    Http(http::Client),
    Grpc(grpc::Client),
}

impl Client {
    /// A caller with a connection of its own.
    pub fn http(target: &Target) -> Self {
        Self::Http(http::Client::new(target.authority.clone()))
    }

    /// A caller that shares a connection.
    pub fn grpc(channel: Rc<Channel>) -> Self {
        Self::Grpc(grpc::Client::new(channel))
    }

    /// Connects unless connected; `send` does so too.
    pub async fn connect(&mut self) -> Result<(), Failure> {
        match self {
            Self::Http(client) => client.connect().await,
            Self::Grpc(client) => client.connect().await,
        }
    }

    /// Sends a request and reads the whole answer.
    ///
    /// Dropping the future abandons the request, and over HTTP/1.1 the
    /// connection with it.
    pub async fn send(&mut self, request: &Prepared) -> Result<(), Failure> {
        match (self, request) {
            (Self::Http(client), Prepared::Http(request)) => client.send(request).await,
            (Self::Grpc(client), Prepared::Grpc(message)) => client.send(message).await,
            _ => Err(Failure::connection("the request is for another protocol")),
        }
    }
}
