//! Callers that keep a pace, whatever the server does: a late answer makes the next ones late, too.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use futures_util::stream::FuturesUnordered;
use http::Request;
use http_body_util::Full;
use loadtest::args::Protocol;
use loadtest::client::HttpClient;
use loadtest::plan::{Pace, Schedule};
use loadtest::timer::Timer;
use loadtest::wire::Prepared;

use crate::Result;
use crate::requests::Requests;
use crate::server::Server;

const CALLERS: usize = 64;
/// Connections are opened and threads woken before anything counts.
pub const WARM_UP: Duration = Duration::from_millis(500);

/// Seconds from when each request was due until it was answered.
#[derive(Debug, Default)]
pub struct Times {
    pub seconds: Vec<f64>,
    pub failed: u64,
}

impl Times {
    pub fn quantile(&self, quantile: f64) -> f64 {
        let mut sorted = self.seconds.clone();
        sorted.sort_by(f64::total_cmp);
        let place = (sorted.len() as f64 * quantile) as usize;
        sorted.get(place.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    }

    pub fn per_second(&self, time: Duration) -> f64 {
        self.seconds.len() as f64 / time.as_secs_f64()
    }
}

/// Requests to one model or route, each for a unit of its own.
pub struct Load {
    authority: String,
    request: Request<Full<bytes::Bytes>>,
}

impl Load {
    pub fn new(gateway: &Server, model: &str) -> Result<Load> {
        let authority = gateway.http.to_string();
        let requests = Requests::of_model(gateway.http, model, None)?;
        match requests.prepared(Protocol::HttpBinary, &authority)? {
            Prepared::Http(request) => Ok(Load { authority, request: *request }),
            Prepared::Grpc(_) => Err("not an HTTP request".into()),
        }
    }

    pub fn run(&self, pace: Pace, time: Duration) -> Result<Times> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let schedule = Schedule::new(pace, Instant::now(), WARM_UP, time);
        let times = RefCell::new(Times::default());
        runtime.block_on(async {
            let callers = (0..CALLERS).map(|_| self.call(&schedule, &times));
            let mut running: FuturesUnordered<_> = callers.collect();
            while running.try_next().await?.is_some() {}
            std::io::Result::Ok(())
        })?;
        Ok(times.into_inner())
    }

    async fn call(&self, schedule: &Schedule, times: &RefCell<Times>) -> std::io::Result<()> {
        let mut client = HttpClient::new(self.authority.clone());
        let timer = Timer::new()?;
        while let Some(ticket) = schedule.take(Instant::now()) {
            if let Some(due) = ticket.due {
                timer.until(due).await?;
            }
            let due = ticket.due.unwrap_or_else(Instant::now);
            let answer = client.send(&self.request).await;
            let mut times = times.borrow_mut();
            match answer {
                Ok(()) if due >= schedule.measure_from() => {
                    times.seconds.push(due.elapsed().as_secs_f64());
                }
                Ok(()) => {}
                Err(_) => times.failed += 1,
            }
        }
        Ok(())
    }
}
