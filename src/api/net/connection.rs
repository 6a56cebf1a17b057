//! One connection: its books, and the future that drives it.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use socket2::SockRef;
use tokio::net::TcpStream;

use super::io::TrackedIo;
use super::timeouts::{Facts, TimeLimits, Verdict, judge};
use crate::api::{Face, dispatch};

const NEVER: u64 = u64::MAX;

const ORDER_NONE: u8 = 0;
const ORDER_CLOSE: u8 = 1;
const ORDER_CUT: u8 = 2;

/// Millisecond clock that its owner advances a few times a second, so that
/// keeping books costs no system call.
#[derive(Debug, Default)]
pub struct CoarseClock(AtomicU64);

impl CoarseClock {
    pub fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub fn advance_to(&self, now: u64) {
        self.0.store(now, Ordering::Relaxed);
    }
}

/// Books of one connection, written by its own thread.
#[derive(Debug)]
pub struct Connection {
    clock: Arc<CoarseClock>,
    is_http2: std::sync::atomic::AtomicBool,
    active: AtomicU32,
    progress: AtomicU64,
    idle_since: AtomicU64,
    head_since: AtomicU64,
    write_blocked_since: AtomicU64,
    goodbye_since: AtomicU64,
    order: AtomicU8,
    task: AtomicWaker,
}

impl Connection {
    pub fn new(clock: Arc<CoarseClock>) -> Arc<Connection> {
        let now = clock.now();
        Arc::new(Connection {
            clock,
            is_http2: std::sync::atomic::AtomicBool::new(false),
            active: AtomicU32::new(0),
            progress: AtomicU64::new(now),
            idle_since: AtomicU64::new(now),
            head_since: AtomicU64::new(NEVER),
            write_blocked_since: AtomicU64::new(NEVER),
            goodbye_since: AtomicU64::new(NEVER),
            order: AtomicU8::new(ORDER_NONE),
            task: AtomicWaker::new(),
        })
    }

    pub(super) fn read(&self) {
        let now = self.clock.now();
        self.progress.store(now, Ordering::Relaxed);
        if self.active.load(Ordering::Relaxed) == 0
            && self.head_since.load(Ordering::Relaxed) == NEVER
            && !self.is_http2.load(Ordering::Relaxed)
        {
            self.head_since.store(now, Ordering::Relaxed);
        }
    }

    pub(super) fn wrote(&self, blocked: bool) {
        let now = self.clock.now();
        if !blocked {
            self.progress.store(now, Ordering::Relaxed);
            self.write_blocked_since.store(NEVER, Ordering::Relaxed);
        } else if self.write_blocked_since.load(Ordering::Relaxed) == NEVER {
            self.write_blocked_since.store(now, Ordering::Relaxed);
        }
    }

    fn facts(&self) -> Facts {
        let some = |cell: &AtomicU64| match cell.load(Ordering::Relaxed) {
            NEVER => None,
            then => Some(then),
        };
        Facts {
            now: self.clock.now(),
            progress: self.progress.load(Ordering::Relaxed),
            active: self.active.load(Ordering::Relaxed),
            idle_since: self.idle_since.load(Ordering::Relaxed),
            head_since: some(&self.head_since),
            write_blocked_since: some(&self.write_blocked_since),
            goodbye_since: some(&self.goodbye_since),
        }
    }

    /// Applies the time limits; true when the connection was cut for slowness.
    pub(super) fn inspect(&self, limits: &TimeLimits) -> bool {
        match judge(&self.facts(), limits) {
            Verdict::Keep => false,
            Verdict::Close => {
                self.close();
                false
            }
            Verdict::Cut => self.give_order(ORDER_CUT),
        }
    }

    /// Lets requests under way end, and takes no more.
    pub(super) fn close(&self) {
        if self.give_order(ORDER_CLOSE) {
            self.goodbye_since.store(self.clock.now(), Ordering::Relaxed);
        }
    }

    fn give_order(&self, order: u8) -> bool {
        let news = self.order.fetch_max(order, Ordering::Relaxed) < order;
        if news {
            self.task.wake();
        }
        news
    }
}

/// Counts a request as under way on its connection until its answer is sent.
#[derive(Debug)]
pub struct ActiveRequest(Arc<Connection>);

impl ActiveRequest {
    pub fn begin(connection: &Arc<Connection>) -> ActiveRequest {
        connection.active.fetch_add(1, Ordering::Relaxed);
        connection.head_since.store(NEVER, Ordering::Relaxed);
        ActiveRequest(Arc::clone(connection))
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        let connection = &self.0;
        connection.idle_since.store(connection.clock.now(), Ordering::Relaxed);
        connection.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Speaks HTTP/1 or HTTP/2, as the client begins, until the connection ends.
pub(super) async fn drive(socket: TcpStream, connection: Arc<Connection>, face: Arc<Face>) {
    let Ok(http2) = begins_http2(&socket, &connection).await else { return };
    connection.is_http2.store(http2, Ordering::Relaxed);
    let io = TrackedIo::new(socket, Arc::clone(&connection));
    let limits = face.limits;
    let service = service_fn(|request| {
        dispatch(Arc::clone(&face), ActiveRequest::begin(&connection), request)
    });
    if http2 {
        let driver = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.max_streams)
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(1024)
            .max_header_list_size(limits.max_head_bytes)
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .max_frame_size(64 << 10)
            .max_send_buf_size(1 << 20)
            .keep_alive_interval(limits.ping_every)
            .serve_connection(io, service);
        let mut driver = pin!(driver);
        until_ended(&connection, |context, order| {
            if order == ORDER_CLOSE {
                driver.as_mut().graceful_shutdown();
            }
            driver.as_mut().poll(context).map(|_| ())
        })
        .await;
    } else {
        let driver = hyper::server::conn::http1::Builder::new()
            // Own limits stand in for hyper's, whose timer costs every request.
            .header_read_timeout(None)
            .max_buf_size(limits.max_head_bytes as usize)
            .max_headers(limits.max_headers)
            // Head and body in one buffer and one plain write: cheaper for the
            // small answers that are most, one copy more for large ones.
            .writev(false)
            .serve_connection(io, service);
        let mut driver = pin!(driver);
        until_ended(&connection, |context, order| {
            if order == ORDER_CLOSE {
                // What has come is read first: hyper closes a connection that it has read nothing of.
                if driver.as_mut().poll(context).is_ready() {
                    return Poll::Ready(());
                }
                driver.as_mut().graceful_shutdown();
            }
            driver.as_mut().poll(context).map(|_| ())
        })
        .await;
    }
}

/// Polls a driver until it ends or is cut; hands it each new order once.
async fn until_ended(
    connection: &Connection,
    mut poll: impl FnMut(&mut Context<'_>, u8) -> Poll<()>,
) {
    let mut obeyed = ORDER_NONE;
    poll_fn(|context| {
        connection.task.register(context.waker());
        let order = connection.order.load(Ordering::Relaxed);
        if order == ORDER_CUT {
            return Poll::Ready(());
        }
        let news = if order == obeyed { ORDER_NONE } else { order };
        obeyed = order;
        poll(context, news)
    })
    .await;
}

/// Looks at the first bytes without taking them.
async fn begins_http2(socket: &TcpStream, connection: &Connection) -> std::io::Result<bool> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0";
    let mut start = [0; PREFACE.len()];
    let mut peek = pin!(async {
        loop {
            let n = socket.peek(&mut start).await?;
            let seen = &start[..n];
            if n == 0 || !PREFACE.starts_with(seen) {
                return Ok(false);
            }
            if seen == PREFACE {
                return Ok(true);
            }
            // Part of the preface: the rest is under way, or the time limit ends the wait.
            connection.read();
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    });
    poll_fn(|context| {
        connection.task.register(context.waker());
        let order = connection.order.load(Ordering::Relaxed);
        if order < ORDER_CUT
            && let Poll::Ready(begun) = peek.as_mut().poll(context)
        {
            return Poll::Ready(begun);
        }
        // A request that came before the goodbye is answered, though nobody has looked at it yet.
        if order == ORDER_NONE || (order == ORDER_CLOSE && has_come(socket)) {
            return Poll::Pending;
        }
        Poll::Ready(Err(std::io::ErrorKind::TimedOut.into()))
    })
    .await
}

/// Whether there is anything to read, which the runtime may not have been told yet.
fn has_come(socket: &TcpStream) -> bool {
    let mut byte = [MaybeUninit::uninit()];
    SockRef::from(socket).peek(&mut byte).is_ok_and(|bytes| bytes > 0)
}
