//! Headers that both faces read and write.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, Uri, header};

use crate::request::{Answer, MODEL_VERSION, RequestId};
use crate::types::{InferError, jittered, next_random};

pub use crate::request::REQUEST_ID;

pub const VARIANT: HeaderName = HeaderName::from_static("x-variant");
pub const REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout-ms");
pub const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Says which prediction this is and who made it.
pub fn describe(answer: &Answer, headers: &mut HeaderMap) {
    headers.insert(REQUEST_ID, request_id(&answer.id));
    if let Ok(version) = HeaderValue::from_maybe_shared(answer.servable.version_text.clone()) {
        headers.insert(MODEL_VERSION, version);
    }
    if let Ok(variant) = HeaderValue::from_maybe_shared(answer.variant.clone()) {
        headers.insert(VARIANT, variant);
    }
}

/// Whether a web page of another origin sends this: its browser says so. What is
/// no browser says nothing.
pub fn is_cross_origin(uri: &Uri, headers: &HeaderMap) -> bool {
    // HTTP/2 has no Host; browsers name the same in both.
    let host = match uri.authority() {
        Some(authority) => authority.as_str().as_bytes(),
        None => headers.get(header::HOST).map_or(&b""[..], HeaderValue::as_bytes),
    };
    headers.get_all(header::ORIGIN).iter().any(|origin| {
        let origin = origin.as_bytes();
        let of_web = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
        !of_web.is_some_and(|page| page.eq_ignore_ascii_case(host))
    })
}

/// Marks a refusal with the client's id where that is usable, else with a new one.
pub fn identified<B>(mut response: Response<B>, asked: &HeaderMap) -> Response<B> {
    let id = RequestId::choose(asked.get(REQUEST_ID).map(HeaderValue::as_bytes), "");
    response.headers_mut().insert(REQUEST_ID, request_id(&id));
    response
}

fn request_id(id: &RequestId) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::copy_from_slice(id.as_bytes()))
        .unwrap_or(HeaderValue::from_static("invalid"))
}

/// The time the client allows: the lesser of `grpc-timeout` and `x-request-timeout-ms`.
///
/// # Errors
/// `InvalidArgument` for a value that is no time; ignoring it would let a
/// request run for longer than its caller waits.
pub fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, InferError> {
    let grpc = match headers.get(GRPC_TIMEOUT) {
        None => None,
        Some(value) => Some(parse_grpc_timeout(value.as_bytes()).ok_or_else(|| {
            InferError::invalid(
                "grpc-timeout is no time: expected 1 to 8 digits and one of H M S m u n",
            )
        })?),
    };
    let own = match headers.get(REQUEST_TIMEOUT) {
        None => None,
        Some(value) => Some(parse_number(value.as_bytes(), 19).ok_or_else(|| {
            InferError::invalid("x-request-timeout-ms is no time: expected whole milliseconds")
        })?),
    };
    Ok([grpc, own.map(Duration::from_millis)].into_iter().flatten().min())
}

/// `1*8DIGIT` and a unit, as the gRPC protocol has it.
fn parse_grpc_timeout(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    let value = parse_number(digits, 8)?;
    Some(match unit {
        b'H' => Duration::from_secs(value * 3600),
        b'M' => Duration::from_secs(value * 60),
        b'S' => Duration::from_secs(value),
        b'm' => Duration::from_millis(value),
        b'u' => Duration::from_micros(value),
        b'n' => Duration::from_nanos(value),
        _ => return None,
    })
}

/// `Retry-After` in whole seconds, at least one; up to a half more or less than
/// the error says, so that those refused together do not come back together.
pub fn retry_after_secs(error: &InferError) -> Option<u64> {
    let wait = jittered(error.retry_after?, next_random());
    Some(wait.as_millis().div_ceil(1000).max(1) as u64)
}

/// The same for `grpc-retry-pushback-ms`, which is finer.
pub fn retry_pushback_ms(error: &InferError) -> Option<u64> {
    Some(jittered(error.retry_after?, next_random()).as_millis().max(1) as u64)
}

/// Digits only: no sign, no space.
pub fn parse_number(digits: &[u8], most: usize) -> Option<u64> {
    if digits.is_empty() || digits.len() > most || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::types::{Code, Reason};

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn times_are_read_to_the_letter() {
        for (text, expected) in [
            ("1H", Duration::from_secs(3600)),
            ("99999999S", Duration::from_secs(99_999_999)),
            ("250m", Duration::from_millis(250)),
            ("7u", Duration::from_micros(7)),
            ("0n", Duration::ZERO),
        ] {
            assert_eq!(timeout(&headers(GRPC_TIMEOUT, text)).ok(), Some(Some(expected)), "{text}");
        }
        for text in ["", "S", "1", "123456789S", "-1S", "1.5S", "1s", " 1S", "1 S"] {
            assert!(timeout(&headers(GRPC_TIMEOUT, text)).is_err(), "{text:?}");
        }
        for text in ["", "-1", "1.5", "1s", "99999999999999999999"] {
            assert!(timeout(&headers(REQUEST_TIMEOUT, text)).is_err(), "{text:?}");
        }
        assert_eq!(timeout(&HeaderMap::new()).ok(), Some(None));
    }

    #[test]
    fn pages_are_told_by_their_origin() {
        let cross = |uri: &'static str, host: &'static str, origin: &'static str| {
            let mut map = headers(header::ORIGIN, origin);
            map.insert(header::HOST, HeaderValue::from_static(host));
            is_cross_origin(&Uri::from_static(uri), &map)
        };
        assert!(!is_cross_origin(&Uri::from_static("/x"), &headers(header::HOST, "a:1")));
        for (uri, host, origin, expected) in [
            ("/x", "a:1", "http://a:1", false),
            ("/x", "A:1", "https://a:1", false),
            ("http://a:1/x", "b", "http://a:1", false),
            ("/x", "a:1", "http://a:2", true),
            ("/x", "a:1", "http://a", true),
            ("/x", "a:1", "http://b:1", true),
            ("/x", "a:1", "null", true),
            ("/x", "a:1", "a:1", true),
            ("/x", "", "http://", false),
        ] {
            assert_eq!(cross(uri, host, origin), expected, "{origin} to {host}");
        }
    }

    #[test]
    fn refusals_for_load_say_when_to_come_back_each_another_time() {
        let of = |reason| InferError::rejected(Code::Unavailable, reason, "");
        for (reason, seconds, millis) in
            [(Reason::Limit, 1..=2, 500..=1500), (Reason::BreakerOpen, 3..=8, 2500..=7500)]
        {
            let (mut coarse, mut fine) = (HashSet::new(), HashSet::new());
            for _ in 0..200 {
                coarse.extend(retry_after_secs(&of(reason)));
                fine.extend(retry_pushback_ms(&of(reason)));
            }
            assert!(coarse.iter().all(|value| seconds.contains(value)), "{coarse:?}");
            assert!(fine.iter().all(|value| millis.contains(value)), "{fine:?}");
            assert!(coarse.len() > 1 && fine.len() > 50, "{} {}", coarse.len(), fine.len());
        }
        let too_large = InferError::rejected(Code::TooLarge, Reason::BodyTooLarge, "");
        assert_eq!((retry_after_secs(&too_large), retry_pushback_ms(&too_large)), (None, None));
    }

    #[test]
    fn the_shorter_time_counts() {
        let mut both = headers(GRPC_TIMEOUT, "1S");
        both.insert(REQUEST_TIMEOUT, HeaderValue::from_static("200"));
        assert_eq!(timeout(&both).ok(), Some(Some(Duration::from_millis(200))));
    }
}
