//! Requests that are not what they should be.

use std::io::Write;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

use crate::support::grpc::Client;
use crate::support::http::Request;
use crate::support::metrics::Scrape;
use crate::{Arena, MIB};

const INFER: &str = "/v2/models/square/infer";

/// Bytes without pattern, the same in every run.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn what_is_no_http_is_refused_or_cut() {
    let arena = Arena::new("head_timeout_ms: 600");
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    arena.survives(2 * MIB, || {
        for listener in arena.listeners() {
            for seed in 0..5 {
                for start in [&b""[..], b"GET ", b"POST /v2 HTTP/1.1\r\n", preface] {
                    let mut connection = crate::support::http::Connection::open(listener);
                    let _ = connection.write(start);
                    let _ = connection.write(&noise(2000, seed));
                    let wait = Duration::from_secs(8);
                    assert!(connection.is_closed_within(wait), "seed {seed} after {start:?}");
                }
            }
            for odd in [
                &b"GET /v2 HTTP/9.9\r\n\r\n"[..],
                b"GET  /v2  HTTP/1.1\r\n\r\n",
                b"GET /v2\r\n\r\n",
                b"GET /v2\0 HTTP/1.1\r\n\r\n",
                b"GET /v2 HTTP/1.1\r\nno colon\r\n\r\n",
                b"GET /v2 HTTP/1.1\r\n: no name\r\n\r\n",
                b"GET /v2 HTTP/1.1\r\nx: \0\r\n\r\n",
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                b"{\"inputs\":[]}\n",
            ] {
                let mut connection = crate::support::http::Connection::open(listener);
                connection.write(odd).expect("bytes");
                if let Ok(reply) = connection.try_reply() {
                    assert_eq!(reply.status, 400, "{odd:?}");
                }
                assert!(connection.is_closed_within(Duration::from_secs(8)), "{odd:?}");
            }
        }
    });
}

#[test]
fn odd_but_legal_requests_are_answered() {
    let arena = Arena::new("");
    for (request, status) in [
        (&b"GET http://gateway/v2/health/live HTTP/1.1\r\nhost: gateway\r\n\r\n"[..], 200),
        (b"GET /v2/health/live?x=%00&y HTTP/1.1\r\nhost: gateway\r\n\r\n", 200),
        (b"GET /v2/health/live HTTP/1.1\r\n\r\n", 200),
        (b"OPTIONS * HTTP/1.1\r\nhost: gateway\r\n\r\n", 404),
        (b"GET /v2/models/caf\xc3\xa9 HTTP/1.1\r\nhost: gateway\r\n\r\n", 404),
        (b"GET /v2/models/%ff HTTP/1.1\r\nhost: gateway\r\n\r\n", 404),
        (b"GET /v2/models/x HTTP/1.1\r\nhost: gateway\r\nx-request-id: \xff\xfe\r\n\r\n", 404),
        (b"\r\n\r\nGET /v2/health/live HTTP/1.1\r\nhost: gateway\r\n\r\n", 200),
    ] {
        let mut connection = arena.connect();
        connection.write(request).expect("a request");
        let reply = connection.reply();
        let text = String::from_utf8_lossy(request);
        assert_eq!(reply.status, status, "{text}: {}", reply.text());
    }
}

#[test]
fn heads_over_the_limit_are_refused() {
    let arena = Arena::new("max_head_bytes: 16384, max_headers: 100");
    arena.survives(2 * MIB, || {
        let many = (0..150).fold(Request::get("/v2"), |r, n| r.header(&format!("x-{n}"), "y"));
        for (what, request) in [
            ("one long header", Request::get("/v2").header("x", "y".repeat(40_000))),
            ("many headers", many),
            ("a long path", Request::get(&format!("/v2/{}", "x".repeat(40_000)))),
        ] {
            let mut connection = arena.connect();
            let _ = connection.write(&request.bytes());
            if let Ok(reply) = connection.try_reply() {
                assert!([414, 431].contains(&reply.status), "{what}: {}", reply.status);
            }
            assert!(connection.is_closed_within(Duration::from_secs(5)), "{what}");
        }
        let fits = Request::get("/v2").header("x", "y".repeat(10_000)).send(arena.http);
        assert_eq!(fits.status, 200);
    });
}

#[test]
fn bodies_over_the_limit_take_no_memory() {
    let arena = Arena::new("max_body_bytes: 1048576");
    arena.takes_at_most(24 * MIB, || {
        for declared in ["1048577", "1000000000000", "18446744073709551615"] {
            let mut connection = arena.connect();
            let head = String::from_utf8(Request::post(INFER, "").head()).expect("text");
            let head = head.replace("content-length: 0", &format!("content-length: {declared}"));
            connection.write(head.as_bytes()).expect("a head");
            let reply = connection.reply();
            assert!([413, 431].contains(&reply.status), "{declared}: {}", reply.status);
            assert!(connection.is_closed_within(Duration::from_secs(5)), "{declared}");
        }
        // A length that no number holds.
        let mut connection = arena.connect();
        connection
            .write(b"POST /v2/models/square/infer HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n")
            .expect("a head");
        assert_eq!(connection.reply().status, 400);
        // Undeclared: chunks that never end.
        let mut connection = arena.connect();
        let mut head = Request::post(INFER, "").head();
        let text = String::from_utf8(head).expect("text");
        head = text.replace("content-length: 0", "transfer-encoding: chunked").into_bytes();
        connection.write(&head).expect("a head");
        let chunk = [b"10000\r\n", &vec![b' '; 0x10000][..], b"\r\n"].concat();
        let refused = (0..64).find(|_| connection.write(&chunk).is_err());
        let answered = connection.try_reply().map(|reply| reply.status);
        assert!(refused.is_some() || answered.is_ok_and(|status| status == 413), "{refused:?}");
    });
    let large = [("reason", "body_too_large"), ("model", "square")];
    assert!(Scrape::of(arena.ops).sum("modelgate_rejected_total", &large) >= 3.0);
}

#[test]
fn bodies_in_crumbs_are_refused() {
    let arena = Arena::new("");
    let document = br#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[2]}]}"#;
    let head = String::from_utf8(Request::post(INFER, "").head()).expect("text");
    let head = head.replace("content-length: 0", "transfer-encoding: chunked");
    let send = |length: usize, chunk: usize| {
        let mut body = document.to_vec();
        body.resize(length, b' ');
        let mut chunked = head.clone().into_bytes();
        for piece in body.chunks(chunk) {
            chunked.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            chunked.extend_from_slice(piece);
            chunked.extend_from_slice(b"\r\n");
        }
        chunked.extend_from_slice(b"0\r\n\r\n");
        let mut connection = arena.connect();
        let _ = connection.write(&chunked);
        connection.try_reply()
    };
    arena.takes_at_most(32 * MIB, || {
        let started = Instant::now();
        // It may hang up on what is still being sent, and the answer be lost.
        if let Ok(reply) = send(1 << 20, 1) {
            assert_eq!(reply.status, 413, "{}", reply.text());
            assert!(reply.error().contains("pieces"), "{}", reply.text());
        }
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
        for (length, chunk) in [(1000, 1), (4000, 1), (1 << 20, 64), (1 << 20, 1 << 14)] {
            let reply = send(length, chunk).expect("an answer");
            assert_eq!(reply.status, 200, "{length} by {chunk}: {}", reply.text());
        }
    });
}

/// `length` zero bytes, compressed.
fn bomb(encoding: &str, length: usize) -> Vec<u8> {
    const WHY: &str = "a vector takes every write";
    let block = vec![0; 1 << 20];
    if encoding == "gzip" {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        (0..length >> 20).for_each(|_| encoder.write_all(&block).expect(WHY));
        encoder.finish().expect(WHY)
    } else {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        (0..length >> 20).for_each(|_| encoder.write_all(&block).expect(WHY));
        encoder.finish().expect(WHY)
    }
}

#[test]
fn bombs_do_not_go_off() {
    let arena = Arena::new("max_body_bytes: 8388608, max_bytes_in_flight: 67108864");
    arena.takes_at_most(128 * MIB, || {
        for encoding in ["gzip", "deflate"] {
            let bomb = bomb(encoding, 64 << 20);
            assert!(bomb.len() < 256 << 10, "{} bytes on the wire", bomb.len());
            std::thread::scope(|scope| {
                for _ in 0..6 {
                    scope.spawn(|| {
                        let request = Request::post(INFER, bomb.clone());
                        let reply = request.header("content-encoding", encoding).send(arena.http);
                        assert!([413, 503].contains(&reply.status), "{encoding}: {}", reply.text());
                        reply.error();
                    });
                }
            });
            let mut framed = crate::support::grpc::frame(&bomb);
            framed[0] = 1;
            let path = "/inference.GRPCInferenceService/ModelInfer";
            let mut client = Client::connect(arena.grpc);
            let called = client.call_framed(path, &[("grpc-encoding", encoding)], framed);
            // tonic says RESOURCE_EXHAUSTED or OUT_OF_RANGE, by where it notices.
            assert!([8, 11].contains(&called.code), "{encoding}: {called:?}");
        }
    });
}

#[test]
fn json_made_to_exhaust_is_refused_quickly() {
    let arena = Arena::new("");
    let field = |field: &str, value: &str| {
        let rest = r#""inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[2]}]"#;
        format!(r#"{{"{field}":{value},{rest}}}"#)
    };
    let data = |value: &str| {
        format!(r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,1],"data":{value}}}]}}"#)
    };
    let deep = "[".repeat(1_000_000);
    let closed = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let objects = r#"{"a":"#.repeat(100_000);
    let many =
        |what: &str, item: &str| field(what, &format!("[{}]", vec![item; 100_000].join(",")));
    let huge = |shape: &str| {
        format!(r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":{shape},"data":[1]}}]}}"#)
    };
    arena.takes_at_most(64 * MIB, || {
        for (what, body) in [
            ("a tower", deep.clone()),
            ("a tower of objects", objects.clone()),
            ("a tower as data", data(&deep)),
            ("a closed tower as data", data(&closed)),
            ("a closed tower passed over", field("unknown", &closed)),
            ("a tower as parameters", field("parameters", &objects)),
            ("a tower as an id", field("id", &deep)),
            ("many outputs", many("outputs", r#"{"name":"y"}"#)),
            ("a trillion elements", huge("[1000000,1000000]")),
            ("more than 64 bits of elements", huge("[9223372036854775807,9223372036854775807]")),
            ("dimensions without end", huge(&format!("[{}]", vec!["1"; 100_000].join(",")))),
            ("a long number", data(&format!("[{}]", "9".repeat(1_000_000)))),
            ("a long exponent", data("[1e999999999999]")),
            (
                "a long name",
                huge("[1,1]").replace("\"x\"", &format!("\"{}\"", "n".repeat(1_000_000))),
            ),
            ("a lone surrogate", field("id", r#""\ud800""#)),
        ] {
            let started = Instant::now();
            let reply = Request::post(INFER, body).send(arena.http);
            let taken = started.elapsed();
            assert_eq!(reply.status, 400, "{what}: {}", reply.text());
            assert!(reply.error().len() < 1000, "{what}: the error repeats the request");
            assert!(taken < Duration::from_secs(3), "{what}: {taken:?}");
        }
    });
}

#[test]
fn declarations_alone_take_no_memory() {
    let arena = Arena::new("");
    let binary = |document: &str| {
        Request::post("/v2/models/id-int64/infer", document.as_bytes())
            .header("inference-header-content-length", document.len())
    };
    // Within limits.max_elements, 512 MB if they were believed.
    let sized = |size: &str| {
        format!(r#"{{"inputs":[{{"name":"x","datatype":"INT64","shape":[1,67108864],{size}}}]}}"#)
    };
    let small = Request::post("/v2/models/id-int64/infer", sized(r#""data":[1,2,3]"#));
    arena.takes_at_most(24 * MIB, || {
        for _ in 0..20 {
            let request = binary(&sized(r#""parameters":{"binary_data_size":536870912}"#));
            let reply = request.send(arena.http);
            assert_eq!(reply.status, 400, "{}", reply.text());
            assert!(reply.error().contains("536870912"), "{}", reply.text());
            let reply = small.send(arena.http);
            assert_eq!(reply.status, 400, "{}", reply.text());
        }
    });
}

#[test]
fn errors_tell_nothing_of_the_inside() {
    let arena = Arena::new("");
    let post = |body: &[u8]| Request::post(INFER, body);
    let mut requests = vec![
        post(br#"{"inputs":[{"name":"x","datatype":"FP32","shape":[0,0],"data":[]}]}"#),
        Request::get("/v2/models/../../etc/passwd"),
        Request::get("/v2/models/%2e%2e/ready"),
        post(b"{}").header("content-encoding", "gzip"),
    ];
    for seed in 0..200 {
        let document = br#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[2]}]}"#;
        let mut document = document.to_vec();
        for byte in noise(3, seed).chunks(1) {
            let at = (usize::from(byte[0]) * 31 + seed as usize) % document.len();
            document[at] = byte[0].wrapping_mul(7);
        }
        requests.push(post(&document));
    }
    for request in requests {
        let reply = request.send(arena.http);
        assert!(reply.status != 500, "{}", reply.text());
        let text = reply.text();
        for inside in ["src/", ".rs", "/tmp", "0x7f", "panicked", "onnxruntime", "::"] {
            assert!(!text.contains(inside), "{inside}: {text}");
        }
    }
}
