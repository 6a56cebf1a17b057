//! What a face knows about a request beside its body.

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::id::RequestId;
use crate::telemetry::Protocol;
use crate::types::{InferError, InferRequest, Parameter, Priority};

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Names a version or label where the path or message does not.
pub const MODEL_VERSION: HeaderName = HeaderName::from_static("x-model-version");
pub const PRIORITY: HeaderName = HeaderName::from_static("x-request-priority");

pub struct Call<'a> {
    pub protocol: Protocol,
    /// Name and version asked for; an empty version means what the name stands for.
    pub model: &'a str,
    pub version: &'a str,
    /// Headers of HTTP, or gRPC's metadata.
    pub headers: &'a HeaderMap,
    /// Time the client allows from `received` on.
    pub timeout: Option<Duration>,
    /// Of the body, once it was read; 0 where tensors hold no more of it than themselves.
    pub body_bytes: usize,
    pub received: Instant,
}

impl Call<'_> {
    /// The version or label that is asked for; empty where none is.
    pub(super) fn pinned(&self) -> &str {
        if !self.version.is_empty() {
            return self.version;
        }
        let header = self.headers.get(MODEL_VERSION);
        header.map_or("", |version| version.to_str().unwrap_or("?"))
    }

    pub(super) fn id(&self, body: &str) -> RequestId {
        let header = self.headers.get(REQUEST_ID);
        RequestId::choose(header.map(HeaderValue::as_bytes), body)
    }

    /// The class of the request: `of_route`, or the lower one that its header names.
    ///
    /// # Errors
    /// `InvalidArgument` for what is no class.
    pub(super) fn priority(&self, of_route: Priority) -> Result<Priority, InferError> {
        let Some(header) = self.headers.get(PRIORITY) else { return Ok(of_route) };
        match Priority::parse(header.as_bytes()) {
            Some(Priority::Shadow) | None => Err(InferError::invalid(
                "x-request-priority: expected critical, normal or batch; it can only lower what \
                 the route says",
            )),
            Some(class) => Ok(of_route.lowered_to(class)),
        }
    }

    /// When the request has lost its use: the least of what the server
    /// (`longest`), the header and the body's `timeout` parameter (µs) allow.
    pub(super) fn deadline(&self, request: &InferRequest<'_>, longest: Duration) -> Instant {
        let parameter = request.parameters.iter().find_map(|(name, value)| match value {
            Parameter::Int(us) if name == "timeout" => u64::try_from(*us).ok(),
            Parameter::Uint(us) if name == "timeout" => Some(*us),
            _ => None,
        });
        // Triton's clients send 0 for "no timeout".
        let parameter = parameter.filter(|us| *us > 0).map(Duration::from_micros);
        let allowed = [self.timeout, parameter].into_iter().flatten().fold(longest, Duration::min);
        self.received + allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call<'a>(version: &'a str, headers: &'a HeaderMap) -> Call<'a> {
        let received = Instant::now();
        let (protocol, timeout, body_bytes) = (Protocol::Grpc, None, 0);
        Call { protocol, model: "m", version, headers, timeout, body_bytes, received }
    }

    #[test]
    fn a_version_in_the_path_wins_over_the_header() {
        let headers = HeaderMap::from_iter([(MODEL_VERSION, HeaderValue::from_static("7"))]);
        assert_eq!(call("3", &headers).pinned(), "3");
        assert_eq!(call("", &headers).pinned(), "7");
        assert_eq!(call("", &HeaderMap::new()).pinned(), "");
    }

    #[test]
    fn a_header_lowers_the_class_and_never_raises_it() {
        for (header, of_route, expected) in [
            ("batch", Priority::Critical, Some(Priority::Batch)),
            ("critical", Priority::Normal, Some(Priority::Normal)),
            ("shadow", Priority::Normal, None),
            ("high", Priority::Normal, None),
        ] {
            let headers = HeaderMap::from_iter([(PRIORITY, HeaderValue::from_static(header))]);
            assert_eq!(call("", &headers).priority(of_route).ok(), expected, "{header}");
        }
    }
}
