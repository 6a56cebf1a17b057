//! Network threads: one event loop per core, each with its own connections.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use super::connection::{CoarseClock, Connection, drive};
use super::listener::detach;
use crate::api::Face;
use crate::serving::turn;
use crate::telemetry::{ConnectionMetrics, RefusedConnection};

/// How often a thread advances its clock and inspects its connections.
const TICK: Duration = Duration::from_millis(250);

/// Accepted sockets on their way to a thread; full means the connection is refused.
const HAND_OVER: usize = 1024;

/// The way to the network threads, shared by all listeners.
pub struct Workers {
    ways: Vec<Way>,
    face: Arc<Face>,
    max_connections: usize,
}

struct Way {
    sockets: mpsc::Sender<std::net::TcpStream>,
    connections: Arc<AtomicUsize>,
}

/// The threads themselves.
pub struct Pool {
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts `count` network threads. They say goodbye to their connections
    /// when `stop` turns true, and end with their last connection.
    pub fn start(
        count: usize,
        face: &Arc<Face>,
        stop: &watch::Receiver<bool>,
    ) -> io::Result<(Arc<Workers>, Pool)> {
        let mut ways = Vec::new();
        let mut threads = Vec::new();
        for number in 0..count.max(1) {
            let (sockets, accepted) = mpsc::channel(HAND_OVER);
            let connections = Arc::new(AtomicUsize::new(0));
            let worker = Worker {
                face: Arc::clone(face),
                connections: Arc::clone(&connections),
                stop: stop.clone(),
            };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let thread = std::thread::Builder::new()
                .name(format!("net-{number}"))
                .spawn(move || runtime.block_on(worker.serve(accepted)))?;
            threads.push(thread);
            ways.push(Way { sockets, connections });
        }
        let max_connections = face.limits.max_connections;
        Ok((Arc::new(Workers { ways, face: Arc::clone(face), max_connections }), Pool { threads }))
    }

    /// Hands a connection to the thread that has the fewest, or refuses it.
    pub(super) fn take(&self, socket: TcpStream) {
        let metrics = self.metrics();
        let open = |way: &Way| way.connections.load(Ordering::Relaxed);
        if self.ways.iter().map(open).sum::<usize>() >= self.max_connections {
            metrics.refused(RefusedConnection::Limit);
            return;
        }
        let Some(way) = self.ways.iter().min_by_key(|way| open(way)) else { return };
        let Ok(socket) = detach(socket) else { return };
        way.connections.fetch_add(1, Ordering::Relaxed);
        if way.sockets.try_send(socket).is_err() {
            way.connections.fetch_sub(1, Ordering::Relaxed);
            metrics.refused(RefusedConnection::Busy);
        }
    }

    fn metrics(&self) -> &ConnectionMetrics {
        self.face.gateway.telemetry.connections()
    }
}

impl Pool {
    /// Waits for the threads to end.
    pub fn join(self) {
        for thread in self.threads {
            // A thread that panicked has said so; there is nothing left to wait for.
            let _ = thread.join();
        }
    }
}

struct Worker {
    face: Arc<Face>,
    connections: Arc<AtomicUsize>,
    stop: watch::Receiver<bool>,
}

impl Worker {
    async fn serve(self, mut accepted: mpsc::Receiver<std::net::TcpStream>) {
        let mut stop = self.stop.clone();
        tokio::spawn(turn::flusher());
        let clock = Arc::new(CoarseClock::default());
        let started = Instant::now();
        let mut tick = tokio::time::interval(TICK);
        // Ended connections leave at the next tick.
        let mut open: Vec<Weak<Connection>> = Vec::new();
        // Not the same: the way from the listeners may close before `stop` is seen.
        let (mut accepting, mut stopping) = (true, false);
        loop {
            tokio::select! {
                socket = accepted.recv(), if accepting => match socket {
                    Some(socket) => open.extend(self.welcome(socket, &clock)),
                    None => accepting = false,
                },
                _ = tick.tick() => {
                    clock.advance_to(started.elapsed().as_millis() as u64);
                    self.inspect(&mut open);
                    if stopping && open.is_empty() {
                        return;
                    }
                }
                _ = stop.wait_for(|stop| *stop), if !stopping => {
                    stopping = true;
                    accepted.close();
                    while let Ok(socket) = accepted.try_recv() {
                        open.extend(self.welcome(socket, &clock));
                    }
                    for connection in open.iter().filter_map(Weak::upgrade) {
                        connection.close();
                    }
                }
            }
        }
    }

    fn welcome(
        &self,
        socket: std::net::TcpStream,
        clock: &Arc<CoarseClock>,
    ) -> Option<Weak<Connection>> {
        let guard = Open::begin(&self.face, &self.connections);
        let socket = TcpStream::from_std(socket).ok()?;
        let connection = Connection::new(Arc::clone(clock));
        let books = Arc::downgrade(&connection);
        let face = Arc::clone(&self.face);
        tokio::spawn(async move {
            let _guard = guard;
            drive(socket, connection, face).await;
        });
        Some(books)
    }

    fn inspect(&self, open: &mut Vec<Weak<Connection>>) {
        let limits = &self.face.limits.time;
        open.retain(|connection| match connection.upgrade() {
            Some(connection) => {
                if connection.inspect(limits) {
                    self.face.gateway.telemetry.connections().refused(RefusedConnection::SlowClient);
                }
                true
            }
            None => false,
        });
    }
}

/// Counts a connection as open while it lives.
struct Open {
    face: Arc<Face>,
    count: Arc<AtomicUsize>,
}

impl Open {
    /// The count was raised when the socket was handed over.
    fn begin(face: &Arc<Face>, count: &Arc<AtomicUsize>) -> Open {
        face.gateway.telemetry.connections().opened();
        Open { face: Arc::clone(face), count: Arc::clone(count) }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.face.gateway.telemetry.connections().closed();
    }
}
