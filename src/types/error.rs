//! Why a request was refused or failed, and the one mapping to the wire.

use std::borrow::Cow;
use std::fmt;

use thiserror::Error;

/// Outcome classes of a request. Every face reports the same code; `http` and
/// `grpc` are the only places that say how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    InvalidArgument,
    PermissionDenied,
    NotFound,
    MethodNotAllowed,
    /// The message is larger than a limit; trying again will not help.
    TooLarge,
    /// A quota is used up; trying again later may help.
    ResourceExhausted,
    Unavailable,
    /// It cannot be done in the state that things are in.
    FailedPrecondition,
    /// The gateway tried what was asked for, and found a model wanting.
    Rejected,
    DeadlineExceeded,
    Cancelled,
    UnsupportedMedia,
    Unimplemented,
    Internal,
}

impl Code {
    /// HTTP status.
    pub fn http(self) -> u16 {
        match self {
            Code::InvalidArgument => 400,
            Code::PermissionDenied => 403,
            Code::NotFound => 404,
            Code::MethodNotAllowed => 405,
            Code::TooLarge => 413,
            Code::ResourceExhausted => 429,
            Code::Unavailable => 503,
            Code::FailedPrecondition => 409,
            Code::Rejected => 422,
            Code::DeadlineExceeded => 504,
            Code::Cancelled => 499,
            Code::UnsupportedMedia => 415,
            Code::Unimplemented => 501,
            Code::Internal => 500,
        }
    }

    /// gRPC status number.
    pub fn grpc(self) -> u8 {
        match self {
            Code::Cancelled => 1,
            Code::InvalidArgument | Code::UnsupportedMedia => 3,
            Code::DeadlineExceeded => 4,
            Code::NotFound => 5,
            Code::PermissionDenied => 7,
            Code::TooLarge | Code::ResourceExhausted => 8,
            Code::FailedPrecondition | Code::Rejected => 9,
            Code::Unimplemented | Code::MethodNotAllowed => 12,
            Code::Internal => 13,
            Code::Unavailable => 14,
        }
    }
}

/// Why the gateway refused a request before or instead of running it; the
/// `reason` label of `modelgate_rejected_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    BodyTooLarge,
    BytesInFlight,
    QueueFull,
    QueueTimeout,
    Deadline,
    SlowClient,
    /// As many requests wait for the model as its adaptive limit allows for the class.
    Limit,
    /// It would wait for longer than its deadline allows.
    WouldExpire,
    /// The version failed so often that it is not asked for a while.
    BreakerOpen,
}

impl Reason {
    pub const ALL: [Reason; 9] = [
        Reason::BodyTooLarge,
        Reason::BytesInFlight,
        Reason::QueueFull,
        Reason::QueueTimeout,
        Reason::Deadline,
        Reason::SlowClient,
        Reason::Limit,
        Reason::WouldExpire,
        Reason::BreakerOpen,
    ];

    pub fn label(self) -> &'static str {
        match self {
            Reason::BodyTooLarge => "body_too_large",
            Reason::BytesInFlight => "bytes_in_flight",
            Reason::QueueFull => "queue_full",
            Reason::QueueTimeout => "queue_timeout",
            Reason::Deadline => "deadline",
            Reason::SlowClient => "slow_client",
            Reason::Limit => "limit",
            Reason::WouldExpire => "would_expire",
            Reason::BreakerOpen => "breaker_open",
        }
    }
}

/// A request that was not answered with a prediction. The message goes to the
/// client: it says what was expected, what came and how to fix it, and holds
/// no payload, path or secret.
#[derive(Clone, Debug, Error)]
pub struct InferError {
    pub code: Code,
    pub message: Cow<'static, str>,
    /// Set where the gateway refused work it could not or would not take.
    pub reason: Option<Reason>,
}

impl fmt::Display for InferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl InferError {
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> InferError {
        InferError { code, message: message.into(), reason: None }
    }

    pub fn invalid(message: impl Into<Cow<'static, str>>) -> InferError {
        InferError::new(Code::InvalidArgument, message)
    }

    pub fn not_found(message: impl Into<Cow<'static, str>>) -> InferError {
        InferError::new(Code::NotFound, message)
    }

    pub fn internal(message: impl Into<Cow<'static, str>>) -> InferError {
        InferError::new(Code::Internal, message)
    }

    /// A refusal that is counted by its reason.
    pub fn rejected(
        code: Code,
        reason: Reason,
        message: impl Into<Cow<'static, str>>,
    ) -> InferError {
        InferError { code, message: message.into(), reason: Some(reason) }
    }
}
