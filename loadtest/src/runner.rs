//! Threads and callers that send the requests of a run.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::runtime;

use crate::Error;
use crate::args::Protocol;
use crate::client::{Channel, Client, Failure, Target};
use crate::plan::{Mix, Pace, Schedule};
use crate::record::{Log, Outcome};
use crate::timer::Timer;
use crate::wire::Prepared;

/// What to send, how, and for how long.
#[derive(Debug)]
pub struct Run {
    pub target: Target,
    pub pace: Pace,
    pub mix: Mix,
    /// Requests to take turns with, per model.
    pub requests: Vec<Vec<Prepared>>,
    pub threads: usize,
    pub connections: usize,
    pub callers: usize,
    pub warmup: Duration,
    pub duration: Duration,
    /// From when a request is due.
    pub timeout: Duration,
}

/// What all threads share.
struct Shared<'a> {
    run: &'a Run,
    threads: usize,
    /// Passed by each thread once its connections stand.
    connected: Barrier,
    /// A thread could not connect: no run.
    broken: AtomicBool,
    schedule: OnceLock<Schedule>,
}

/// A caller whose connection broke waits this long, so that a server that is
/// gone does not turn a closed loop into a busy one.
const RECONNECT_PAUSE: Duration = Duration::from_millis(10);

impl Run {
    /// Runs to the end: at most warm-up, duration and timeout.
    pub fn execute(&self) -> Result<Log, Error> {
        let threads = self.threads.clamp(1, self.connections.max(1));
        let shared = Shared {
            run: self,
            threads,
            connected: Barrier::new(threads),
            broken: AtomicBool::new(false),
            schedule: OnceLock::new(),
        };
        let logs = thread::scope(|scope| {
            let shared = &shared;
            let running: Vec<_> =
                (0..threads).map(|index| scope.spawn(move || shared.thread(index))).collect();
            let join = |thread: thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|_| Err(Error::Failed("a thread panicked".into())))
            };
            running.into_iter().map(join).collect::<Result<Vec<Log>, Error>>()
        })?;
        let mut whole = Log::new(self.requests.len());
        for log in &logs {
            whole.merge(log);
        }
        Ok(whole)
    }

    /// The callers of one thread; a connection and its callers stay on one.
    fn callers(&self, thread: usize, threads: usize) -> Result<Vec<Client>, Error> {
        let mut callers = Vec::new();
        for connection in (thread..self.connections).step_by(threads) {
            let on_this = (connection..self.callers).step_by(self.connections).len();
            match self.target.protocol {
                Protocol::HttpJson | Protocol::HttpBinary => {
                    callers.extend((0..on_this).map(|_| Client::http(&self.target)));
                }
                Protocol::Grpc => {
                    let channel = Rc::new(Channel::new(&self.target.authority)?);
                    callers.extend((0..on_this).map(|_| Client::grpc(Rc::clone(&channel))));
                }
            }
        }
        Ok(callers)
    }
}

impl Shared<'_> {
    fn thread(&self, index: usize) -> Result<Log, Error> {
        let prepared = self.prepare(index);
        if prepared.is_err() {
            self.broken.store(true, Ordering::Relaxed);
        }
        self.connected.wait();
        let (runtime, callers) = prepared?;
        let log = RefCell::new(Log::new(self.run.requests.len()));
        if self.broken.load(Ordering::Relaxed) {
            return Ok(log.into_inner());
        }
        let schedule = self.schedule.get_or_init(|| {
            Schedule::new(self.run.pace, Instant::now(), self.run.warmup, self.run.duration)
        });
        runtime
            .block_on(async {
                let mut running: FuturesUnordered<_> =
                    callers.into_iter().map(|client| self.call(client, schedule, &log)).collect();
                while running.try_next().await?.is_some() {}
                Ok(())
            })
            .map_err(thread_failed)?;
        Ok(log.into_inner())
    }

    fn prepare(&self, index: usize) -> Result<(runtime::Runtime, Vec<Client>), Error> {
        let runtime =
            runtime::Builder::new_current_thread().enable_all().build().map_err(thread_failed)?;
        let mut callers = self.run.callers(index, self.threads)?;
        runtime.block_on(connect_all(&mut callers, self.run.timeout))?;
        Ok((runtime, callers))
    }

    /// One caller: takes requests from the schedule until it ends.
    async fn call(
        &self,
        mut client: Client,
        schedule: &Schedule,
        log: &RefCell<Log>,
    ) -> io::Result<()> {
        let timer = Timer::new()?;
        while let Some(ticket) = schedule.take(Instant::now()) {
            let model = self.run.mix.pick(ticket.number);
            let choice = &self.run.requests[model];
            let request = &choice[(ticket.number % choice.len() as u64) as usize];
            if let Some(due) = ticket.due {
                timer.until(due).await?;
            }
            let sent = Instant::now();
            let due = ticket.due.unwrap_or(sent);
            let result = self.send(&mut client, request, due + self.run.timeout, sent).await;
            let done = Instant::now();
            let pause = result.as_ref().is_err_and(Failure::is_connection);
            if let Some(at) = due.checked_duration_since(schedule.measure_from()) {
                let (late, service) = (sent - due, done - sent);
                log.borrow_mut().add(Outcome { model, at, late, service, result });
            }
            if pause {
                tokio::time::sleep(RECONNECT_PAUSE).await;
            }
        }
        Ok(())
    }

    async fn send(
        &self,
        client: &mut Client,
        request: &Prepared,
        deadline: Instant,
        now: Instant,
    ) -> Result<(), Failure> {
        if now >= deadline {
            return Err(Failure::new("unsent", "every caller waited past this request's timeout"));
        }
        let answer = tokio::time::timeout_at(deadline.into(), client.send(request)).await;
        answer.unwrap_or_else(|_| {
            Err(Failure::new("timeout", format!("no answer within {:?}", self.run.timeout)))
        })
    }
}

fn thread_failed(error: io::Error) -> Error {
    Error::Failed(format!("client thread: {error}"))
}

async fn connect_all(callers: &mut [Client], timeout: Duration) -> Result<(), Error> {
    for caller in callers {
        let connected = tokio::time::timeout(timeout, caller.connect()).await;
        let outcome = connected.unwrap_or_else(|_| Err(Failure::new("timeout", "no connection")));
        outcome.map_err(|failure| Error::Unreachable(format!("connect: {}", failure.message)))?;
    }
    Ok(())
}
