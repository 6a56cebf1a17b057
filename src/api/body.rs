//! Bodies of answers.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use smallvec::SmallVec;

use super::net::ActiveRequest;
use crate::admission::Reserved;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Body of an answer, and what is held until it is sent.
pub struct ResponseBody {
    kind: Kind,
    _active: Option<ActiveRequest>,
    _reserved: Option<Reserved>,
}

enum Kind {
    /// Pieces sent one after the other, last first.
    Pieces(SmallVec<[Bytes; 2]>),
    /// One gRPC message, then the trailers that say it went well.
    Message(Bytes),
    Trailers,
    Ended,
    Tonic(Box<tonic::body::Body>),
}

impl ResponseBody {
    pub fn empty() -> ResponseBody {
        ResponseBody::pieces(SmallVec::new())
    }

    pub fn full(bytes: impl Into<Bytes>) -> ResponseBody {
        ResponseBody::pieces(SmallVec::from_iter([bytes.into()]))
    }

    /// Pieces in the order in which they are sent.
    pub fn pieces(mut pieces: SmallVec<[Bytes; 2]>) -> ResponseBody {
        pieces.retain(|piece| !piece.is_empty());
        pieces.reverse();
        ResponseBody::new(Kind::Pieces(pieces))
    }

    /// A framed gRPC message that ends its call well.
    pub fn message(framed: Bytes) -> ResponseBody {
        ResponseBody::new(Kind::Message(framed))
    }

    pub fn tonic(body: tonic::body::Body) -> ResponseBody {
        ResponseBody::new(Kind::Tonic(Box::new(body)))
    }

    fn new(kind: Kind) -> ResponseBody {
        ResponseBody { kind, _active: None, _reserved: None }
    }

    /// Counts the request as under way until the body is sent or dropped.
    pub fn during(mut self, active: ActiveRequest) -> ResponseBody {
        self._active = Some(active);
        self
    }

    /// Keeps the request's bytes reserved until the body is sent or dropped.
    pub fn reserving(mut self, reserved: Reserved) -> ResponseBody {
        self._reserved = Some(reserved);
        self
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.kind {
            Kind::Pieces(pieces) => Poll::Ready(pieces.pop().map(|piece| Ok(Frame::data(piece)))),
            Kind::Message(message) => {
                let message = std::mem::take(message);
                self.kind = Kind::Trailers;
                Poll::Ready(Some(Ok(Frame::data(message))))
            }
            Kind::Trailers => {
                self.kind = Kind::Ended;
                let status = (GRPC_STATUS, HeaderValue::from_static("0"));
                Poll::Ready(Some(Ok(Frame::trailers(HeaderMap::from_iter([status])))))
            }
            Kind::Ended => Poll::Ready(None),
            Kind::Tonic(body) => Pin::new(&mut **body)
                .poll_frame(context)
                .map(|frame| frame.map(|frame| frame.map_err(Into::into))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Pieces(pieces) => pieces.is_empty(),
            Kind::Message(_) | Kind::Trailers => false,
            Kind::Ended => true,
            Kind::Tonic(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Pieces(pieces) => {
                SizeHint::with_exact(pieces.iter().map(|piece| piece.len() as u64).sum())
            }
            Kind::Message(_) | Kind::Trailers | Kind::Ended => SizeHint::default(),
            Kind::Tonic(body) => body.size_hint(),
        }
    }
}
