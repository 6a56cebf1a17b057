//! The command line as a client of a running gateway: of its admin API, and of
//! its inference listener where labels are sent.

use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use reqwest::{Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::runtime::Runtime;

use super::{CANNOT_REACH, FAILED, REJECTED, WAIT_TIMED_OUT};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest answer that is read.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Where the gateway is.
#[derive(Args, Debug)]
pub(super) struct Address {
    /// Admin listener of the running gateway
    #[arg(
        long,
        env = "MODELGATE_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:8003",
        value_parser = url,
        global = true
    )]
    url: Url,
}

/// Where the gateway is, and how long it may take.
#[derive(Args, Debug)]
pub(super) struct Server {
    #[command(flatten)]
    address: Address,
    #[command(flatten)]
    patience: Patience,
}

/// How long the gateway may take.
#[derive(Args, Debug)]
pub(super) struct Patience {
    /// How long to wait for its answer
    #[arg(
        long = "timeout",
        env = "MODELGATE_TIMEOUT",
        value_name = "SECONDS",
        default_value_t = 300,
        value_parser = clap::value_parser!(u64).range(1..=86_400),
        global = true
    )]
    pub(super) seconds: u64,
}

pub(super) fn url(text: &str) -> Result<Url, String> {
    let expected = || "expected http://HOST:PORT, such as http://127.0.0.1:8003".to_owned();
    let url: Url = text.parse().map_err(|_| expected())?;
    let usable = matches!(url.scheme(), "http" | "https") && url.query().is_none();
    if usable { Ok(url) } else { Err(expected()) }
}

#[derive(Debug, Error)]
pub(super) enum ClientError {
    #[error("cannot reach the gateway at {url}: {reason}; is it running there? {listener}")]
    Unreachable { url: Url, reason: String, listener: &'static str },
    #[error("the gateway at {url} did not answer within {seconds} s; --timeout allows more")]
    TimedOut { url: Url, seconds: u64 },
    #[error("{message}")]
    Refused { status: StatusCode, message: String },
    /// A route that cannot be taken, with the key that is wrong.
    #[error("{message}")]
    BadRoute { route: String, path: String, message: String },
    #[error("what answers at {url} speaks nothing that this program knows: {reason}")]
    Strange { url: Url, reason: String },
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
}

impl ClientError {
    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            ClientError::Unreachable { .. } => CANNOT_REACH,
            ClientError::TimedOut { .. } => WAIT_TIMED_OUT,
            ClientError::Refused { status: StatusCode::UNPROCESSABLE_ENTITY, .. } => REJECTED,
            ClientError::Refused { .. } | ClientError::Strange { .. } => FAILED,
            ClientError::BadRoute { .. } => FAILED,
            ClientError::Start(_) => FAILED,
        })
    }
}

pub(super) struct Client {
    http: reqwest::Client,
    runtime: Runtime,
    url: Url,
    /// What has to be said where nobody answers: how the listener is named.
    listener: &'static str,
    seconds: u64,
}

/// Text as it may stand in a query.
pub(super) fn escaped(text: &[u8]) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.iter()
        .map(|byte| match *byte {
            byte if is_plain(byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

impl Server {
    pub(super) fn client(&self) -> Result<Client, ClientError> {
        self.address.client(self.patience.seconds)
    }
}

impl Address {
    /// A client that gives each answer so many seconds.
    pub(super) fn client(&self, seconds: u64) -> Result<Client, ClientError> {
        let listener = "--url or MODELGATE_URL names its admin listener";
        Client::new(self.url.clone(), listener, seconds)
    }
}

impl Client {
    /// A client of the listener at `url`, which `listener` says how to name.
    pub(super) fn new(
        url: Url,
        listener: &'static str,
        seconds: u64,
    ) -> Result<Client, ClientError> {
        let http = reqwest::Client::builder()
            // It is on this machine, or at the end of a tunnel.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(Duration::from_secs(seconds))
            .build()
            .map_err(io::Error::other)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Client { http, runtime, url, listener, seconds })
    }

    /// Asks for what is at `path`, which begins with a slash.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.exchange(self.http.get(self.address(path)))
    }

    pub(super) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.exchange(self.http.post(self.address(path)).json(body))
    }

    fn address(&self, path: &str) -> String {
        format!("{}{path}", self.url.as_str().trim_end_matches('/'))
    }

    /// What is at `path`, byte by byte.
    pub(super) fn download(&self, path: &str) -> Result<Vec<u8>, ClientError> {
        self.body(self.http.get(self.address(path)))
    }

    fn exchange<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<T, ClientError> {
        let body = self.body(request)?;
        serde_json::from_slice(&body).map_err(|error| self.strange(error.to_string()))
    }

    /// The body of an answer that is no refusal.
    fn body(&self, request: reqwest::RequestBuilder) -> Result<Vec<u8>, ClientError> {
        let (status, body) = self.runtime.block_on(async {
            let response = request.send().await.map_err(|error| self.failed(&error))?;
            let status = response.status();
            Ok::<_, ClientError>((status, self.read(response).await?))
        })?;
        if status.is_success() {
            return Ok(body);
        }
        #[derive(serde::Deserialize)]
        struct Refusal {
            error: String,
            route: Option<String>,
            path: Option<String>,
        }
        match serde_json::from_slice(&body) {
            Ok(Refusal { error: message, route: Some(route), path: Some(path) }) => {
                Err(ClientError::BadRoute { route, path, message })
            }
            Ok(Refusal { error: message, .. }) => Err(ClientError::Refused { status, message }),
            Err(_) => Err(self.strange(format!("status {status}"))),
        }
    }

    async fn read(&self, mut response: Response) -> Result<Vec<u8>, ClientError> {
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.failed(&error))? {
            if body.len() + piece.len() > MAX_ANSWER_BYTES {
                return Err(self.strange(format!("more than {MAX_ANSWER_BYTES} bytes")));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    fn failed(&self, error: &reqwest::Error) -> ClientError {
        let url = self.url.clone();
        // A connection that is not made in time was not made.
        if error.is_timeout() && !error.is_connect() {
            return ClientError::TimedOut { url, seconds: self.seconds };
        }
        let mut cause: &dyn Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        ClientError::Unreachable { url, reason: cause.to_string(), listener: self.listener }
    }

    fn strange(&self, reason: String) -> ClientError {
        ClientError::Strange { url: self.url.clone(), reason }
    }
}
