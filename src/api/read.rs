//! Reads a request's body within its limits.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;
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
    let Some(first) = next_data(&mut body, face.limits.body_timeout).await? else {
        return Ok((Bytes::new(), reserved));
    };
    if body.is_end_stream() || declared == Some(first.len()) {
        if declared.is_none() {
            reserved.grow(first.len())?;
        }
        check_length(first.len(), limit)?;
        return Ok((first, reserved));
    }
    let read = async {
        let mut whole = BytesMut::with_capacity(
            declared.unwrap_or(first.len() * 2).min(TRUSTED_BYTES).max(first.len()),
        );
        let mut part = Some(first);
        let mut pieces = 0;
        while let Some(data) = part {
            pieces += 1;
            if pieces > FREE_PIECES + whole.len() / PIECE_BYTES {
                return Err(too_many_pieces());
            }
            check_length(whole.len() + data.len(), limit)?;
            if declared.is_none() {
                reserved.grow(data.len())?;
            }
            whole.extend_from_slice(&data);
            part = next_data(&mut body, face.limits.body_timeout).await?;
        }
        Ok(whole.freeze())
    };
    match tokio::time::timeout(face.limits.body_timeout, read).await {
        Ok(whole) => Ok((whole?, reserved)),
        Err(_) => Err(too_slow()),
    }
}

/// The next piece of data; trailers are passed over. A timer is made only
/// when the data is not there yet.
async fn next_data(body: &mut Incoming, limit: Duration) -> Result<Option<Bytes>, InferError> {
    loop {
        let frame = {
            let mut frame = pin!(body.frame());
            match std::future::poll_fn(|context| Poll::Ready(frame.as_mut().poll(context))).await {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    tokio::time::timeout(limit, frame).await.map_err(|_| too_slow())?
                }
            }
        };
        match frame {
            None => return Ok(None),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Some(Err(_)) => {
                return Err(InferError::new(
                    Code::Cancelled,
                    "the request ended before its body was complete",
                ));
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
