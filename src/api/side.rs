//! Listeners beside inference: metrics and health, and the admin API. They
//! speak HTTP/1 and run on the control runtime, so that they answer while the
//! network threads are busy.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ::http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, watch};

use super::body::ResponseBody;
use super::net::Listener;

/// Connections of one listener at a time; more wait in the backlog.
const MAX_CONNECTIONS: usize = 64;
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_HEAD_BYTES: usize = 16 << 10;

/// Answers every request of `listener` with `answer` until `stop` turns true.
pub async fn serve<A, F>(listener: Listener, mut stop: watch::Receiver<bool>, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<ResponseBody>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accept = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            accepted = accept => accepted,
        };
        let (Ok(place), Some(socket)) = accepted else { continue };
        let answer = answer.clone();
        tokio::spawn(async move {
            let _place = place;
            let service = service_fn(move |request| {
                let answer = answer(request);
                async { Ok::<_, Infallible>(answer.await) }
            });
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .max_buf_size(MAX_HEAD_BYTES)
                .serve_connection(TokioIo::new(socket), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "a connection beside inference ended early");
            }
        });
    }
}
