//! Requests to both models at once, each answer held against the version it states.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::stream::FuturesUnordered;
use http::Request;
use http_body_util::Full;
use loadtest::args::Protocol;
use loadtest::client::{Answer, HttpClient};
use loadtest::plan::{Mix, Pace, Schedule};
use loadtest::timer::Timer;
use loadtest::wire::Prepared;

use super::MODELS;
use crate::Result;
use crate::requests::Requests;

const CALLERS: usize = 64;
/// From when a request is due.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Connections are opened and threads woken before anything counts.
const WARM_UP: Duration = Duration::from_millis(500);
/// Longer than any block: blocks end when they are told to.
const FOR_EVER: Duration = Duration::from_secs(86_400);

#[derive(Clone, Debug)]
pub struct Load {
    authority: String,
    requests: [Request<Full<Bytes>>; 2],
}

/// What came of a block's requests.
#[derive(Debug)]
pub struct Seen {
    pub clock: Clock,
    pub answered: Vec<Answered>,
    pub failed: u64,
    pub mixed: u64,
    /// What the first of either said.
    pub example: Option<String>,
}

/// One OK answer; times since the block's start.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// Index in [`MODELS`].
    pub model: usize,
    pub due: Duration,
    pub done: Duration,
}

/// The block's start on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    pub start: Instant,
    pub unix_ms: u64,
}

impl Load {
    /// One row for each model; which version answers is the gateway's choice.
    pub fn new(server: SocketAddr) -> Result<Self> {
        let authority = server.to_string();
        let request = |name| -> Result<_> {
            let requests = Requests::of_model(server, name, None)?;
            match requests.prepared(Protocol::HttpBinary, &authority)? {
                Prepared::Http(request) => Ok(*request),
                Prepared::Grpc(_) => Err("not an HTTP request".into()),
            }
        };
        let requests = [request(MODELS[0])?, request(MODELS[1])?];
        Ok(Self { authority, requests })
    }

    /// Answers a second to callers that never pause.
    pub fn saturate(&self, time: Duration) -> Result<f64> {
        let over = AtomicBool::new(false);
        let seen = self.run(Pace::Closed, WARM_UP + time, &over)?;
        if let Some(example) = seen.example {
            return Err(format!("without any swap: {example}").into());
        }
        Ok(seen.answered.len() as f64 / time.as_secs_f64())
    }

    /// So many requests a second, whatever the gateway does, until it is `over`.
    pub fn open(&self, rate: f64, over: &AtomicBool) -> Result<Seen> {
        self.run(Pace::Open { rate }, FOR_EVER, over)
    }

    fn run(&self, pace: Pace, time: Duration, over: &AtomicBool) -> Result<Seen> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let clock = Clock::now()?;
        let schedule = Schedule::new(pace, clock.start, WARM_UP, time.saturating_sub(WARM_UP));
        let seen = Seen { clock, answered: Vec::new(), failed: 0, mixed: 0, example: None };
        let seen = RefCell::new(seen);
        let mix = Mix::new(1, [1, 1]);
        runtime.block_on(async {
            let callers = (0..CALLERS).map(|_| self.call(&schedule, &mix, &seen, over));
            let mut running: FuturesUnordered<_> = callers.collect();
            while running.try_next().await?.is_some() {}
            std::io::Result::Ok(())
        })?;
        Ok(seen.into_inner())
    }

    /// One caller with a connection of its own.
    async fn call(
        &self,
        schedule: &Schedule,
        mix: &Mix,
        seen: &RefCell<Seen>,
        over: &AtomicBool,
    ) -> std::io::Result<()> {
        let mut client = HttpClient::new(self.authority.clone());
        let timer = Timer::new()?;
        while let Some(ticket) = schedule.take(Instant::now()) {
            let model = mix.pick(ticket.number);
            if let Some(due) = ticket.due {
                timer.until(due).await?;
            }
            if over.load(Ordering::Relaxed) {
                break;
            }
            let due = ticket.due.unwrap_or_else(Instant::now);
            let asked = client.ask(&self.requests[model]);
            let answer = tokio::time::timeout_at((due + TIMEOUT).into(), asked).await;
            let done = Instant::now();
            let told = match answer {
                Ok(Ok(answer)) => check(model, &answer).map_err(Wrong::Mixed),
                Ok(Err(failure)) => Err(Wrong::Failed(failure.message)),
                Err(_) => Err(Wrong::Failed(format!("no answer within {TIMEOUT:?}"))),
            };
            seen.borrow_mut().add(model, due, done, told, schedule.measure_from());
        }
        Ok(())
    }
}

enum Wrong {
    Failed(String),
    Mixed(String),
}

impl Seen {
    fn add(
        &mut self,
        model: usize,
        due: Instant,
        done: Instant,
        told: Result<(), Wrong>,
        measure_from: Instant,
    ) {
        let name = MODELS[model];
        let start = self.clock.start;
        match told {
            Ok(()) if due >= measure_from => {
                self.answered.push(Answered { model, due: due - start, done: done - start });
            }
            Ok(()) => {}
            Err(Wrong::Failed(message)) => {
                self.failed += 1;
                self.example.get_or_insert(format!("{name} failed: {message}"));
            }
            Err(Wrong::Mixed(message)) => {
                self.mixed += 1;
                self.example.get_or_insert(format!("{name} mixed up: {message}"));
            }
        }
    }
}

/// Whether the answer is the one of the version that it names.
fn check(model: usize, answer: &Answer) -> Result<(), String> {
    let header = answer.headers.get("x-model-version").and_then(|value| value.to_str().ok());
    let version = header.ok_or("the answer names no version")?;
    if model != 0 {
        return match version {
            "1" => Ok(()),
            other => Err(format!("version {other} answered, and there is only version 1")),
        };
    }
    let last = answer.body.last_chunk().ok_or("the answer has no output")?;
    let told = f32::from_le_bytes(*last).floor();
    if version.parse().ok() == Some(told) {
        return Ok(());
    }
    Err(format!("the answer names version {version}, and its output is of version {told}"))
}

impl Clock {
    fn now() -> Result<Self> {
        let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        Ok(Self { start: Instant::now(), unix_ms: u64::try_from(unix_ms)? })
    }

    /// A time of the audit log since the block's start; none from before it.
    pub fn since_start(&self, unix_ms: u64) -> Option<Duration> {
        unix_ms.checked_sub(self.unix_ms).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(version: &'static str, output: f32) -> Answer {
        let mut headers = http::HeaderMap::new();
        headers.insert("x-model-version", http::HeaderValue::from_static(version));
        let body = [b"{\"outputs\":[]}".as_slice(), &output.to_le_bytes()].concat();
        Answer { headers, body }
    }

    #[test]
    fn answers_are_held_against_the_version_they_name() {
        assert_eq!(check(0, &answer("7", 7.31)), Ok(()));
        assert!(check(0, &answer("7", 8.31)).is_err());
        assert!(check(0, &answer("x", 7.31)).is_err());
        assert_eq!(check(1, &answer("1", -3.0)), Ok(()));
        assert!(check(1, &answer("2", -3.0)).is_err());
    }
}
