//! Network threads: one event loop per core, each with its own connections.

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use super::connection::{CoarseClock, Connection, drive};
use super::listener::detach;
use super::spin;
use crate::api::Face;
use crate::serving::turn;
use crate::telemetry::{ConnectionMetrics, RefusedConnection};

/// How often connections are inspected and their clock advances.
const TICK: Duration = Duration::from_millis(250);

/// Accepted sockets on their way to a thread; full means the connection is refused.
const HAND_OVER: usize = 1024;

/// The way to the network threads, shared by all listeners.
pub struct Workers {
    ways: Vec<Way>,
    face: Arc<Face>,
}

struct Way {
    sockets: mpsc::Sender<std::net::TcpStream>,
    books: Arc<Books>,
}

/// The connections of one thread, for those who look after them. Bounded by
/// `limits.max_connections`.
#[derive(Default)]
struct Books {
    clock: Arc<CoarseClock>,
    /// Connections handed over and not yet ended.
    count: AtomicUsize,
    /// Ended connections leave at the next inspection.
    open: Mutex<Vec<Weak<Connection>>>,
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
            let books = Arc::new(Books::default());
            let worker = Worker { face: Arc::clone(face), books: Arc::clone(&books) };
            let stop = stop.clone();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let thread = std::thread::Builder::new()
                .name(format!("net-{number}"))
                .spawn(move || runtime.block_on(worker.serve(accepted, stop)))?;
            threads.push(thread);
            ways.push(Way { sockets, books });
        }
        Ok((Arc::new(Workers { ways, face: Arc::clone(face) }), Pool { threads }))
    }

    /// Holds connections to their time limits, for ever. Runs beside the
    /// network threads, which so need no timer of their own.
    pub async fn watch(self: Arc<Self>) {
        let started = Instant::now();
        let mut tick = tokio::time::interval(TICK);
        loop {
            tick.tick().await;
            let now = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            for way in &self.ways {
                way.books.clock.advance_to(now);
                way.books.open().retain(|connection| match connection.upgrade() {
                    Some(connection) => {
                        if connection.inspect(&self.face.limits.time) {
                            self.metrics().refused(RefusedConnection::SlowClient);
                        }
                        true
                    }
                    None => false,
                });
            }
        }
    }

    /// Hands a connection to the thread that has the fewest, or refuses it.
    pub(super) fn take(&self, socket: TcpStream) {
        let open = |way: &Way| way.books.count.load(Ordering::Relaxed);
        if self.ways.iter().map(open).sum::<usize>() >= self.face.limits.max_connections {
            self.metrics().refused(RefusedConnection::Limit);
            return;
        }
        let Some(way) = self.ways.iter().min_by_key(|way| open(way)) else { return };
        let Ok(socket) = detach(socket) else { return };
        way.books.count.fetch_add(1, Ordering::Relaxed);
        if way.sockets.try_send(socket).is_err() {
            way.books.count.fetch_sub(1, Ordering::Relaxed);
            self.metrics().refused(RefusedConnection::Busy);
        }
    }

    fn metrics(&self) -> &ConnectionMetrics {
        self.face.gateway.telemetry.connections()
    }
}

impl Books {
    fn open(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
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
    books: Arc<Books>,
}

impl Worker {
    async fn serve(
        self,
        mut accepted: mpsc::Receiver<std::net::TcpStream>,
        mut stop: watch::Receiver<bool>,
    ) {
        tokio::spawn(turn::flusher());
        if !self.face.limits.spin.is_zero() {
            tokio::spawn(spin::watch(self.face.limits.spin));
        }
        // Every connection holds a sender: the channel ends with the last one.
        let (alive, mut ended) = mpsc::channel::<Infallible>(1);
        loop {
            tokio::select! {
                socket = accepted.recv() => match socket {
                    Some(socket) => drop(self.welcome(socket, &alive)),
                    None => break,
                },
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        accepted.close();
        while let Ok(socket) = accepted.try_recv() {
            drop(self.welcome(socket, &alive));
        }
        for connection in self.books.open().iter().filter_map(Weak::upgrade) {
            connection.close();
        }
        drop(alive);
        let _ = ended.recv().await;
    }

    fn welcome(
        &self,
        socket: std::net::TcpStream,
        alive: &mpsc::Sender<Infallible>,
    ) -> io::Result<()> {
        let guard = Open::begin(&self.face, &self.books, alive);
        let socket = TcpStream::from_std(socket)?;
        let connection = Connection::new(Arc::clone(&self.books.clock));
        self.books.open().push(Arc::downgrade(&connection));
        let face = Arc::clone(&self.face);
        tokio::spawn(async move {
            let _guard = guard;
            drive(socket, connection, face).await;
        });
        Ok(())
    }
}

/// Counts a connection as open while it lives.
struct Open {
    face: Arc<Face>,
    books: Arc<Books>,
    _alive: mpsc::Sender<Infallible>,
}

impl Open {
    /// The count was raised when the socket was handed over.
    fn begin(face: &Arc<Face>, books: &Arc<Books>, alive: &mpsc::Sender<Infallible>) -> Open {
        face.gateway.telemetry.connections().opened();
        Open { face: Arc::clone(face), books: Arc::clone(books), _alive: alive.clone() }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.books.count.fetch_sub(1, Ordering::Relaxed);
        self.face.gateway.telemetry.connections().closed();
    }
}
