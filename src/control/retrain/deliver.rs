//! One attempt to hand over an event: over HTTP, or to a program of this machine.

use std::error::Error;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::bodies::Body;
use super::event::{Event, EventKind};
use super::outbox::Attempt;
use super::signature::Signer;
use crate::registry::Secret;

/// Variables of the gateway's environment that a program gets beside `PATH`
/// begin so.
const OURS: &str = "MODELGATE_";

/// Where events go.
#[derive(Clone, Debug)]
pub enum Target {
    Http(HttpTarget),
    Command(CommandTarget),
}

#[derive(Clone, Debug)]
pub struct HttpTarget {
    /// May hold a secret: it is never shown.
    pub url: Secret,
    pub body: Body,
    pub headers: Vec<(HeaderName, Secret)>,
    pub signer: Option<Signer>,
    pub timeout: Duration,
}

/// A program that gets the event as JSON on its input, and says by exit code 0
/// that it took it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandTarget {
    pub program: String,
    pub arguments: Vec<String>,
    pub timeout: Duration,
}

#[derive(Debug, Error)]
pub enum TargetError {
    #[error("cannot make a client: {0}")]
    Client(reqwest::Error),
}

/// Hands over events, to one target.
#[derive(Clone, Debug)]
pub struct Courier {
    target: Target,
    http: reqwest::Client,
}

impl Courier {
    /// # Errors
    /// Where there are no certificates to trust, for example.
    pub fn new(target: Target) -> Result<Courier, TargetError> {
        let http = reqwest::Client::builder()
            // Who redirects has moved: the configuration has to say where to.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(TargetError::Client)?;
        Ok(Courier { target, http })
    }

    /// Whether events of this kind are for it.
    pub fn takes(&self, kind: EventKind) -> bool {
        match &self.target {
            Target::Http(http) => kind == EventKind::Requested || http.body.takes_completed(),
            Target::Command(_) => kind == EventKind::Requested,
        }
    }

    /// Tries once. `seconds` are those since 1970.
    pub async fn deliver(&self, event: &Event, seconds: i64) -> Attempt {
        match &self.target {
            Target::Http(target) => self.post(target, event, seconds).await,
            Target::Command(target) => run(target, event).await,
        }
    }

    async fn post(&self, target: &HttpTarget, event: &Event, seconds: i64) -> Attempt {
        let message = target.body.write(event, target.signer.as_ref(), seconds);
        let mut request = self.http.post(target.url.reveal()).timeout(target.timeout);
        for (name, value) in &message.headers {
            request = request.header(*name, value);
        }
        for (name, value) in &target.headers {
            let Ok(mut value) = HeaderValue::from_str(value.reveal()) else {
                return Attempt::Refused(format!(
                    "the header {name} has no value that can be sent"
                ));
            };
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        match request.body(message.body).send().await {
            Ok(answer) => judge(answer.status().as_u16(), target.body),
            Err(error) if error.is_builder() => {
                Attempt::Refused("retrain.deliver.url is no address".to_owned())
            }
            Err(error) => Attempt::Later(reason(error)),
        }
    }
}

/// What a status says about an attempt.
fn judge(status: u16, body: Body) -> Attempt {
    match status {
        200..=299 => Attempt::Delivered,
        _ if body.is_known(status) => Attempt::Delivered,
        // Too slow, too early, too often; and whatever may pass.
        408 | 425 | 429 | 500..=599 => Attempt::Later(format!("status {status}")),
        _ => Attempt::Refused(format!("status {status}")),
    }
}

/// The deepest cause, without the address, which may hold a secret.
fn reason(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let error = error.without_url();
    let mut cause: &dyn Error = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

async fn run(target: &CommandTarget, event: &Event) -> Attempt {
    let ended = tokio::time::timeout(target.timeout, fed(target, event)).await;
    match ended {
        Ok(Ok(status)) if status.success() => Attempt::Delivered,
        Ok(Ok(status)) => Attempt::Later(format!("'{}' ended with {status}", target.program)),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
            Attempt::Later(format!("there is no program '{}'", target.program))
        }
        Ok(Err(error)) => Attempt::Later(format!("'{}' cannot be run: {error}", target.program)),
        Err(_) => {
            let seconds = target.timeout.as_secs_f64();
            Attempt::Later(format!("'{}' took longer than {seconds} s", target.program))
        }
    }
}

/// Starts the program, feeds it and waits for it. It is killed when this is dropped.
async fn fed(target: &CommandTarget, event: &Event) -> io::Result<std::process::ExitStatus> {
    let kept = std::env::vars_os().filter(|(name, _)| {
        name.to_str().is_some_and(|name| name == "PATH" || name.starts_with(OURS))
    });
    let mut child = Command::new(&target.program)
        .args(&target.arguments)
        .env_clear()
        .envs(kept)
        .env("MODELGATE_EVENT_ID", &event.id)
        .env("MODELGATE_EVENT_TYPE", event.kind.label())
        .env("MODELGATE_MODEL", &event.subject)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        let mut text = event.structured().to_string().into_bytes();
        text.push(b'\n');
        match input.write_all(&text).await {
            // It need not read it.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
            _ => drop(input),
        }
    }
    child.wait().await
}
