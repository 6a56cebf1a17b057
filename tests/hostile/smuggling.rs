//! Requests whose length two readers could see differently. Behind a proxy,
//! what one takes for a body the other takes for a request: each is refused,
//! or read to the letter, and never both.

use std::time::Duration;

use crate::Arena;

/// The request hidden in the body of another.
const HIDDEN: &str = "GET /v2/smuggled HTTP/1.1\r\nhost: x\r\n\r\n";

/// Heads that leave the body's length in doubt.
const DOUBTFUL: [&str; 24] = [
    "content-length: 4\r\ncontent-length: 5",
    "content-length: 4, 5",
    "content-length: 4\r\ncontent-length: 0",
    "content-length: +4",
    "content-length: -4",
    "content-length: 0x4",
    "content-length: 4 4",
    "content-length: 4abc",
    "content-length: ",
    "content-length: 4\r\ntransfer-encoding: chunked",
    "transfer-encoding: chunked\r\ncontent-length: 4",
    "transfer-encoding: chunked, identity",
    "transfer-encoding: identity",
    "transfer-encoding: xchunked",
    "transfer-encoding: chunked\r\ntransfer-encoding: identity",
    "transfer-encoding: x\r\ntransfer-encoding: gzip",
    "transfer-encoding : chunked",
    "content-length : 4",
    "transfer-encoding:\x0bchunked",
    "transfer-encoding: \"chunked\"",
    " content-length: 4",
    "content-length: 4\r\n\tcontent-length: 0",
    "content-length\0: 4",
    "content_length: 4\r\ntransfer-encoding: ,chunked,x",
];

#[test]
fn doubtful_lengths_are_refused_and_the_connection_ends() {
    let arena = Arena::new("head_timeout_ms: 1000, body_timeout_ms: 1000");
    for head in DOUBTFUL {
        for version in ["1.1", "1.0"] {
            let start =
                format!("POST /v2/repository/index HTTP/{version}\r\nhost: x\r\n{head}\r\n\r\n");
            let mut connection = arena.connect();
            let request = format!("{start}0\r\n\r\n{HIDDEN}");
            connection.write(request.as_bytes()).expect("a request");
            let mut replies = Vec::new();
            while let Ok(reply) = connection.try_reply() {
                replies.push(reply);
            }
            // Whatever the first was read as, the hidden one is not answered by its path.
            let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
            let smuggled = statuses.contains(&404);
            assert!(!smuggled, "HTTP/{version} {head:?}: {statuses:?}");
            assert!(statuses.len() <= 2, "HTTP/{version} {head:?}: {statuses:?}");
            assert!(connection.is_closed_within(Duration::from_secs(5)), "{head:?}");
        }
    }
    arena.assert_well();
}

#[test]
fn broken_chunks_end_the_connection() {
    let arena = Arena::new("head_timeout_ms: 1000, body_timeout_ms: 1000");
    let head =
        "POST /v2/repository/index HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    for chunks in [
        "-1\r\n\r\n",
        "zz\r\n",
        "fffffffffffffffff\r\n",
        "0x2\r\n{}\r\n0\r\n\r\n",
        "2 \r\n{}X\r\n0\r\n\r\n",
        "2\n{}\n0\n\n",
        "2\r\n{}XX0\r\n\r\n",
        "\r\n{}\r\n0\r\n\r\n",
        "1\r\n{}\r\n0\r\n\r\n",
    ] {
        let mut connection = arena.connect();
        connection.write(format!("{head}{chunks}{HIDDEN}").as_bytes()).expect("a request");
        let mut statuses = Vec::new();
        while let Ok(reply) = connection.try_reply() {
            statuses.push(reply.status);
        }
        assert!(!statuses.contains(&404) && !statuses.contains(&200), "{chunks:?}: {statuses:?}");
        assert!(connection.is_closed_within(Duration::from_secs(5)), "{chunks:?}");
    }
    // Well-formed, with an extension and a trailer: one request, then another.
    let mut connection = arena.connect();
    let good = "2;x=y\r\n{}\r\n0\r\nx-trailer: y\r\n\r\n";
    connection.write(format!("{head}{good}{HIDDEN}").as_bytes()).expect("two requests");
    assert_eq!(connection.reply().status, 200);
    assert_eq!(connection.reply().status, 404);
    arena.assert_well();
}

#[test]
fn what_follows_an_early_refusal_is_not_a_request() {
    let arena = Arena::new("max_body_bytes: 1024");
    let mut connection = arena.connect();
    let head = "POST /v2/models/square/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n";
    connection.write(format!("{head}{HIDDEN}").as_bytes()).expect("a request");
    assert_eq!(connection.reply().status, 413);
    assert!(connection.try_reply().is_err(), "the body was read as a request");
    // A body sent to a path that takes none is read over, not answered.
    let mut connection = arena.connect();
    let length = HIDDEN.len();
    let head =
        format!("GET /v2/health/live HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
    connection.write(format!("{head}{HIDDEN}{HIDDEN}").as_bytes()).expect("requests");
    assert_eq!(connection.reply().status, 200);
    if let Ok(reply) = connection.try_reply() {
        assert_eq!(reply.status, 404, "the one that follows the body");
        connection.socket().set_read_timeout(Some(Duration::from_millis(300))).expect("an option");
        assert!(connection.try_reply().is_err(), "the body was read as a request");
    }
    arena.assert_well();
}
