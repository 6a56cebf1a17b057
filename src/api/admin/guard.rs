//! Keeps web pages away. A browser on this machine reaches loopback addresses
//! for any page it shows, so being local proves nothing: a page of another
//! origin is told by `Origin`, one that points its own name at this machine
//! (DNS rebinding) by `Host`. Pure.

use std::net::IpAddr;

use http::uri::Authority;
use http::{HeaderMap, Uri, header};

use crate::api::headers::is_cross_origin;
use crate::types::{Code, InferError};

/// # Errors
/// `PermissionDenied`, with what was expected.
pub fn check(uri: &Uri, headers: &HeaderMap) -> Result<(), InferError> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok().and_then(|host| host.parse().ok()),
        _ => None,
    };
    if !host.is_some_and(|host| is_loopback(&host)) {
        return Err(denied(
            "expected the host 127.0.0.1, [::1] or localhost: the admin API is for this machine",
        ));
    }
    if uri.authority().is_some_and(|authority| !is_loopback(authority)) {
        return Err(denied("expected a path, not an address of elsewhere"));
    }
    // Compared with how the client names us: a forwarded port is not our own.
    if is_cross_origin(uri, headers) {
        return Err(denied("a web page of another origin may not use the admin API"));
    }
    Ok(())
}

fn denied(message: &'static str) -> InferError {
    InferError::new(Code::PermissionDenied, message)
}

fn is_loopback(authority: &Authority) -> bool {
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let loopback = address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    // No user name: `localhost@example.org` has the host `example.org`.
    !authority.as_str().contains('@') && (loopback || host.eq_ignore_ascii_case("localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(uri: &'static str, headers: &[(&'static str, &'static str)]) -> bool {
        let uri = Uri::from_static(uri);
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, http::HeaderValue::from_static(value));
        }
        check(&uri, &map).is_ok()
    }

    #[test]
    fn only_this_machine_is_a_host() {
        for host in
            ["127.0.0.1", "127.0.0.1:8003", "127.8.9.1:1", "localhost:9", "LocalHost", "[::1]:8003"]
        {
            assert!(asked("/x", &[("host", host)]), "{host}");
        }
        for host in [
            "",
            "example.org",
            "localhost.example.org",
            "127.0.0.1.example.org",
            "127.0.0.1@example.org",
            "a@127.0.0.1",
            "10.0.0.1",
            "0.0.0.0",
            "[::]",
            "2130706433",
            "localhost:8003:1",
        ] {
            assert!(!asked("/x", &[("host", host)]), "{host}");
        }
        assert!(!asked("/x", &[]));
        assert!(!asked("/x", &[("host", "localhost"), ("host", "localhost")]));
        assert!(!asked("http://example.org/x", &[("host", "localhost")]));
        assert!(asked("http://localhost/x", &[("host", "localhost")]));
    }

    #[test]
    fn only_the_own_origin_is_taken() {
        for (origin, taken) in [
            ("http://localhost:8003", true),
            ("http://localhost:3000", false),
            ("http://localhost", false),
            // Behind a proxy that adds TLS.
            ("https://localhost:8003", true),
            ("http://127.0.0.1:8003", false),
            ("http://example.org", false),
            ("null", false),
            ("", false),
        ] {
            let headers = [("host", "localhost:8003"), ("origin", origin)];
            assert_eq!(asked("/x", &headers), taken, "{origin}");
        }
    }
}
