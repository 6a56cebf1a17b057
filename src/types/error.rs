//! Why a request was refused or failed, and the one mapping to the wire.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

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
    /// In the order of their numbers, which the prediction log writes down: only to be added to.
    pub const ALL: [Code; 14] = [
        Code::InvalidArgument,
        Code::PermissionDenied,
        Code::NotFound,
        Code::MethodNotAllowed,
        Code::TooLarge,
        Code::ResourceExhausted,
        Code::Unavailable,
        Code::FailedPrecondition,
        Code::Rejected,
        Code::DeadlineExceeded,
        Code::Cancelled,
        Code::UnsupportedMedia,
        Code::Unimplemented,
        Code::Internal,
    ];

    /// Lower-case name of the gRPC status, as metrics and the prediction log tell it.
    pub fn label(self) -> &'static str {
        match self.grpc() {
            1 => "cancelled",
            3 => "invalid_argument",
            4 => "deadline_exceeded",
            5 => "not_found",
            7 => "permission_denied",
            8 => "resource_exhausted",
            9 => "failed_precondition",
            12 => "unimplemented",
            13 => "internal",
            _ => "unavailable",
        }
    }

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
    /// The prediction log cannot be written, and the model's policy is strict.
    LogUnavailable,
}

impl Reason {
    pub const ALL: [Reason; 10] = [
        Reason::BodyTooLarge,
        Reason::BytesInFlight,
        Reason::QueueFull,
        Reason::QueueTimeout,
        Reason::Deadline,
        Reason::SlowClient,
        Reason::Limit,
        Reason::WouldExpire,
        Reason::BreakerOpen,
        Reason::LogUnavailable,
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
            Reason::LogUnavailable => "log_unavailable",
        }
    }
}

/// What a version did, where a request failed through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The run failed. The input may be the cause: that a version is at fault
    /// shows where another one answers the same request.
    Run,
    /// It broke in a way that no input may cause, such as a panic.
    Broken,
}

/// When to try again after most refusals; each answer jitters it.
const RETRY: Duration = Duration::from_secs(1);

/// And where a version is left alone for a while.
const RETRY_BROKEN: Duration = Duration::from_secs(5);

/// A request that was not answered with a prediction. The message goes to the
/// client: it says what was expected, what came and how to fix it, and holds
/// no payload, path or secret.
#[derive(Clone, Debug, Error)]
pub struct InferError {
    pub code: Code,
    pub message: Cow<'static, str>,
    /// Set where the gateway refused work it could not or would not take.
    pub reason: Option<Reason>,
    /// When trying again may help, before jitter; `None` where it does not.
    pub retry_after: Option<Duration>,
    /// Set where the version is, or may be, at fault.
    pub blame: Option<Blame>,
}

impl fmt::Display for InferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl InferError {
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> InferError {
        let passes = matches!(code, Code::Unavailable | Code::ResourceExhausted);
        let retry_after = passes.then_some(RETRY);
        InferError { code, message: message.into(), reason: None, retry_after, blame: None }
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
        let error = InferError { reason: Some(reason), ..InferError::new(code, message) };
        match reason {
            Reason::BreakerOpen => InferError { retry_after: Some(RETRY_BROKEN), ..error },
            _ => error,
        }
    }

    /// The same error, which the version is to be blamed for.
    #[must_use]
    pub fn blaming(self, blame: Blame) -> InferError {
        InferError { blame: Some(blame), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_passes_says_when_to_try_again() {
        let hint = |code, reason| InferError::rejected(code, reason, "").retry_after;
        for (code, reason, expected) in [
            (Code::Unavailable, Reason::Limit, Some(1)),
            (Code::Unavailable, Reason::QueueFull, Some(1)),
            (Code::Unavailable, Reason::WouldExpire, Some(1)),
            (Code::Unavailable, Reason::BytesInFlight, Some(1)),
            (Code::Unavailable, Reason::BreakerOpen, Some(5)),
            (Code::DeadlineExceeded, Reason::Deadline, None),
            (Code::TooLarge, Reason::BodyTooLarge, None),
        ] {
            assert_eq!(hint(code, reason), expected.map(Duration::from_secs), "{reason:?}");
        }
        assert_eq!(InferError::new(Code::Unavailable, "").retry_after, Some(RETRY));
        assert_eq!(InferError::invalid("").retry_after, None);
    }
}
