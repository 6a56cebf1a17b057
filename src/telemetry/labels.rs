//! Closed sets of label values.

use crate::types::Code;

/// The wire form of a request; the `protocol` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    HttpJson,
    HttpBinary,
    Grpc,
}

impl Protocol {
    pub const ALL: [Protocol; 3] = [Protocol::HttpJson, Protocol::HttpBinary, Protocol::Grpc];

    pub fn label(self) -> &'static str {
        match self {
            Protocol::HttpJson => "http_json",
            Protocol::HttpBinary => "http_binary",
            Protocol::Grpc => "grpc",
        }
    }
}

/// Why a connection was closed before it could ask anything; the `reason`
/// label of `modelgate_connections_refused_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusedConnection {
    /// As many connections are open as the limit allows.
    Limit,
    /// The network threads were too busy to take it over.
    Busy,
    /// The peer was too slow to ask, or to read its answer.
    SlowClient,
}

impl RefusedConnection {
    pub const ALL: [RefusedConnection; 3] =
        [RefusedConnection::Limit, RefusedConnection::Busy, RefusedConnection::SlowClient];

    pub fn label(self) -> &'static str {
        match self {
            RefusedConnection::Limit => "limit",
            RefusedConnection::Busy => "busy",
            RefusedConnection::SlowClient => "slow_client",
        }
    }
}

/// Names of the gRPC status numbers: the `code` label on every face.
pub(super) const CODES: [&str; 17] = [
    "ok",
    "cancelled",
    "unknown",
    "invalid_argument",
    "deadline_exceeded",
    "not_found",
    "already_exists",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "data_loss",
    "unauthenticated",
];

/// Place of an outcome in [`CODES`]; `None` is success.
pub(super) fn code_index(code: Option<Code>) -> usize {
    code.map_or(0, |code| usize::from(code.grpc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_named_as_grpc_names_them() {
        for (code, name) in [
            (None, "ok"),
            (Some(Code::InvalidArgument), "invalid_argument"),
            (Some(Code::PermissionDenied), "permission_denied"),
            (Some(Code::NotFound), "not_found"),
            (Some(Code::FailedPrecondition), "failed_precondition"),
            (Some(Code::Rejected), "failed_precondition"),
            (Some(Code::MethodNotAllowed), "unimplemented"),
            (Some(Code::TooLarge), "resource_exhausted"),
            (Some(Code::ResourceExhausted), "resource_exhausted"),
            (Some(Code::Unavailable), "unavailable"),
            (Some(Code::DeadlineExceeded), "deadline_exceeded"),
            (Some(Code::Cancelled), "cancelled"),
            (Some(Code::Unimplemented), "unimplemented"),
            (Some(Code::Internal), "internal"),
        ] {
            assert_eq!(CODES[code_index(code)], name);
        }
    }

    #[test]
    fn protocols_stand_in_the_order_of_their_numbers() {
        for (index, protocol) in Protocol::ALL.into_iter().enumerate() {
            assert_eq!(protocol as usize, index, "arrays are indexed by protocol");
        }
    }
}
