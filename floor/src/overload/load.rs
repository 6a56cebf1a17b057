//! Requests of one model, at their times or as fast as they are answered, and
//! what came of each.

use std::borrow::Cow;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::stream::FuturesUnordered;
use http::{HeaderValue, Request};
use http_body_util::Full;
use loadtest::args::Protocol;
use loadtest::client::HttpClient;
use loadtest::plan::{Pace, Schedule};
use loadtest::timer::Timer;
use loadtest::wire::Prepared;

use crate::Result;
use crate::requests::Requests;

/// From when a request is due; far beyond any deadline.
const TIMEOUT: Duration = Duration::from_secs(10);

pub struct Load {
    authority: String,
    request: Request<Full<Bytes>>,
}

/// One request; times since the run's start.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub due: Duration,
    /// From when it was due until the generator sent it.
    pub late: Duration,
    /// From when it was due until its answer was there.
    pub took: Duration,
    /// `None` for a prediction.
    pub refused: Option<Cow<'static, str>>,
}

impl Load {
    /// One row, to be answered within `deadline`.
    pub fn new(server: SocketAddr, model: &str, deadline: Duration) -> Result<Self> {
        let authority = server.to_string();
        let requests = Requests::of_model(server, model, None)?;
        let Prepared::Http(request) = requests.prepared(Protocol::HttpBinary, &authority)? else {
            return Err("not an HTTP request".into());
        };
        let mut request = *request;
        let millis = HeaderValue::from_str(&deadline.as_millis().to_string())?;
        request.headers_mut().insert("x-request-timeout-ms", millis);
        Ok(Self { authority, request })
    }

    pub fn run(&self, pace: Pace, callers: usize, time: Duration) -> Result<Vec<Outcome>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let seen = RefCell::new(Vec::new());
        runtime.block_on(async {
            let mut clients = Vec::new();
            for _ in 0..callers {
                let mut client = HttpClient::new(self.authority.clone());
                client.connect().await.map_err(|failure| failure.message)?;
                clients.push(client);
            }
            let schedule = Schedule::new(pace, Instant::now(), Duration::ZERO, time);
            let calls = clients.into_iter().map(|client| self.call(client, &schedule, &seen));
            let mut running: FuturesUnordered<_> = calls.collect();
            while running.try_next().await?.is_some() {}
            Ok::<(), Box<dyn std::error::Error>>(())
        })?;
        Ok(seen.into_inner())
    }

    async fn call(
        &self,
        mut client: HttpClient,
        schedule: &Schedule,
        seen: &RefCell<Vec<Outcome>>,
    ) -> Result<()> {
        let timer = Timer::new()?;
        while let Some(ticket) = schedule.take(Instant::now()) {
            if let Some(due) = ticket.due {
                timer.until(due).await?;
            }
            let sent = Instant::now();
            let due = ticket.due.unwrap_or(sent);
            let answer = tokio::time::timeout(TIMEOUT, client.send(&self.request)).await;
            let refused = match answer {
                Ok(Ok(())) => None,
                Ok(Err(failure)) => Some(failure.code),
                Err(_) => Some(Cow::Borrowed("timeout")),
            };
            seen.borrow_mut().push(Outcome {
                due: due - schedule.start(),
                late: sent - due,
                took: due.elapsed(),
                refused,
            });
        }
        Ok(())
    }
}
