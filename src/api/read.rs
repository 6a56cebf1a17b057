//! Reads a request's body within its limits.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::Body;
use hyper::body::Incoming;

use super::Face;
use crate::admission::Reserved;
use crate::types::{Code, InferError, Reason};

/// A body declared longer than this grows as it comes, so that a declaration
/// alone takes no memory.
const TRUSTED_BYTES: usize = 1 << 20;

/// Pieces a body may come in whatever their size; those beyond must hold
/// [`PIECE_BYTES`] on average. Each piece costs time, however little it holds.
const FREE_PIECES: usize = 4096;
const PIECE_BYTES: usize = 16;

/// The whole body, and the bytes it takes from the budget.
///
/// # Errors
/// `TooLarge` over `limits.max_body_bytes`, at once where the length is
/// declared, and for too many small pieces; `Unavailable` when the process
/// holds too many bytes already; `DeadlineExceeded` when the client sends too
/// slowly; `Cancelled` when it left.
pub async fn read_body(face: &Face, mut body: Incoming) -> Result<(Bytes, Reserved), InferError> {
    let limit = face.limits.max_body_bytes;
    let declared = body.size_hint().exact();
    if declared.is_some_and(|declared| declared > limit as u64) {
        return Err(too_large(limit));
    }
    let declared = declared.map(|declared| declared as usize);
    let mut reserved = face.gateway.budget.reserve(declared.unwrap_or(0))?;
    let first = poll_fn(|context| Poll::Ready(poll_data(&mut body, context))).await;
    if let Poll::Ready(Some(Ok(data))) = &first
        && (declared == Some(data.len()) || (body.is_end_stream() && declared.is_none()))
    {
        check_length(data.len(), limit)?;
        if declared.is_none() {
            reserved.grow(data.len())?;
        }
    } else {
        // Boxed, so that the common case, a body that came in one piece, stays small.
        let rest = Box::pin(read_on(first, body, declared, limit, &mut reserved));
        let whole = tokio::time::timeout(face.limits.body_timeout, rest).await;
        return Ok((whole.map_err(|_| too_slow())??, reserved));
    }
    match first {
        Poll::Ready(Some(Ok(data))) => Ok((data, reserved)),
        _ => Ok((Bytes::new(), reserved)),
    }
}

type Piece = Option<Result<Bytes, hyper::Error>>;

/// Gathers a body that comes in pieces, the first of which may be there already.
async fn read_on(
    first: Poll<Piece>,
    mut body: Incoming,
    declared: Option<usize>,
    limit: usize,
    reserved: &mut Reserved,
) -> Result<Bytes, InferError> {
    let mut whole = BytesMut::with_capacity(declared.unwrap_or(0).min(TRUSTED_BYTES));
    let mut next = first;
    let mut pieces = 0;
    loop {
        let piece = match next {
            Poll::Ready(piece) => piece,
            Poll::Pending => poll_fn(|context| poll_data(&mut body, context)).await,
        };
        match piece {
            None => return Ok(whole.freeze()),
            Some(Ok(data)) => {
                pieces += 1;
                if pieces > FREE_PIECES + whole.len() / PIECE_BYTES {
                    return Err(too_many_pieces());
                }
                check_length(whole.len() + data.len(), limit)?;
                if declared.is_none() {
                    reserved.grow(data.len())?;
                }
                whole.extend_from_slice(&data);
            }
            Some(Err(_)) => {
                return Err(InferError::new(
                    Code::Cancelled,
                    "the request ended before its body was complete",
                ));
            }
        }
        next = Poll::Pending;
    }
}

/// The next piece of data; trailers are passed over.
fn poll_data(body: &mut Incoming, context: &mut Context<'_>) -> Poll<Piece> {
    loop {
        match ready!(Pin::new(&mut *body).poll_frame(context)) {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Poll::Ready(Some(Ok(data)));
                }
            }
        }
    }
}

fn check_length(length: usize, limit: usize) -> Result<(), InferError> {
    if length > limit { Err(too_large(limit)) } else { Ok(()) }
}

fn too_large(limit: usize) -> InferError {
    InferError::rejected(
        Code::TooLarge,
        Reason::BodyTooLarge,
        format!("the body is larger than limits.max_body_bytes, {limit} bytes"),
    )
}

fn too_many_pieces() -> InferError {
    InferError::rejected(
        Code::TooLarge,
        Reason::BodyTooLarge,
        format!("the body comes in too many pieces of less than {PIECE_BYTES} bytes"),
    )
}

fn too_slow() -> InferError {
    InferError::rejected(
        Code::DeadlineExceeded,
        Reason::SlowClient,
        "the request's body did not arrive within limits.body_timeout_ms",
    )
}
