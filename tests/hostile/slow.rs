//! Clients that take their time: each kind of slowness has its own limit.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use modelgate::types::DType;

use crate::support::grpc::frame;
use crate::support::http::{Connection, Request};
use crate::support::metrics::Scrape;
use crate::support::predict::{Predict, tensor};
use crate::{Arena, MIB};

/// A limit of 600 ms is enforced at the next tick, and machines are busy.
const LIMIT: Duration = Duration::from_millis(600);
const LATENESS: Duration = Duration::from_secs(4);

/// Writes `bytes` one by one until the gateway cuts the connection.
#[track_caller]
fn trickle(connection: &mut Connection, bytes: &[u8]) -> Duration {
    let started = Instant::now();
    connection.socket().set_read_timeout(Some(Duration::from_millis(50))).expect("an option");
    for byte in bytes.iter().cycle() {
        let cut = connection.write(&[*byte]).is_err();
        let mut socket = connection.socket();
        let answered = match socket.read(&mut [0; 512]) {
            Ok(_) => true,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        };
        if cut || answered {
            return started.elapsed();
        }
        assert!(started.elapsed() < LIMIT + LATENESS, "it was never cut");
    }
    unreachable!("a cycle does not end")
}

#[test]
fn slow_heads_are_cut() {
    let arena = Arena::new("head_timeout_ms: 600");
    arena.survives(2 * MIB, || {
        for start in [
            &b"G"[..],
            b"P",
            b"PRI * HTTP/2.0",
            b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n",
            b"\r\n",
        ] {
            let mut connection = arena.connect();
            connection.write(start).expect("a beginning");
            let more = if start == b"\r\n" { &b"\r\n"[..] } else { b"x: y\r\n" };
            let taken = trickle(&mut connection, more);
            // What is wrong already may be refused before the time is over.
            if start.starts_with(b"GET") {
                assert!(taken >= LIMIT - Duration::from_millis(50), "cut after {taken:?}");
            }
        }
        // Half a head, then silence.
        for half in [&b"GET /v2 HTTP/1.1\r\nhost:"[..], b"P", b"PRI * HT"] {
            let mut connection = arena.connect();
            connection.write(half).expect("half a head");
            assert!(connection.is_closed_within(LIMIT + LATENESS), "{half:?}");
        }
    });
    let cut = [("reason", "slow_client")];
    let scrape = Scrape::of(arena.ops);
    assert!(scrape.sum("modelgate_connections_refused_total", &cut) >= 4.0, "each is counted");
}

#[test]
fn slow_bodies_are_refused() {
    let arena = Arena::new("body_timeout_ms: 600");
    arena.survives(2 * MIB, || {
        let request = Request::post("/v2/models/square/infer", vec![b' '; 1000]);
        for sent in [0, 1, 999] {
            let mut connection = arena.connect();
            connection.write(&request.head()).expect("a head");
            connection.write(&request.body[..sent]).expect("a part of the body");
            let started = Instant::now();
            let reply = connection.reply();
            assert_eq!(reply.status, 504, "{sent}: {}", reply.text());
            assert!(reply.error().contains("body_timeout_ms"), "{}", reply.text());
            assert!(started.elapsed() >= LIMIT - Duration::from_millis(50));
            assert!(connection.is_closed_within(LATENESS), "the rest is not waited for");
        }
        let mut connection = arena.connect();
        connection.write(&request.head()).expect("a head");
        trickle(&mut connection, b" ");
    });
    let slow = [("reason", "slow_client"), ("model", "square")];
    assert!(Scrape::of(arena.ops).sum("modelgate_rejected_total", &slow) >= 4.0);
}

#[test]
fn slow_readers_are_cut() {
    let arena = Arena::new("write_timeout_ms: 600");
    let columns = 4_000_000;
    let data = vec![0x3f; columns * 4];
    let large = Predict::of("id-fp32", [tensor("x", DType::Fp32, &[1, columns as i64], data)]);
    let request = large.binary_request().bytes();
    arena.survives(8 * MIB, || {
        let mut held: Vec<Connection> = (0..4).map(|_| arena.connect()).collect();
        for connection in &mut held {
            connection.write(&request).expect("16 MB in");
        }
        // Nobody reads: what comes out fills the sockets' buffers and stops.
        let started = Instant::now();
        while Scrape::of(arena.ops).sum("modelgate_connections", &[]) > 0.0 {
            assert!(started.elapsed() < LIMIT + 2 * LATENESS, "they were never cut");
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let cut = [("reason", "slow_client")];
    let cut = Scrape::of(arena.ops).sum("modelgate_connections_refused_total", &cut);
    assert!(cut >= 4.0, "each is counted");
}

#[test]
fn idle_connections_are_told_goodbye() {
    let arena = Arena::new("idle_timeout_ms: 600");
    let mut fresh = arena.connect();
    let mut used = arena.connect();
    assert_eq!(used.exchange(&Request::get("/v2/health/live")).status, 200);
    let mut http2 = arena.connect();
    http2.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").expect("a preface");
    for (what, connection) in [("fresh", &mut fresh), ("used", &mut used), ("HTTP/2", &mut http2)] {
        assert!(connection.is_closed_within(LIMIT + LATENESS), "{what}");
    }
    arena.assert_well();
}

#[test]
fn a_slow_grpc_call_ends_while_others_go_on() {
    let arena = Arena::new("body_timeout_ms: 600");
    // A head and no body: the call's stream stays open, the connection works.
    let mut client = crate::support::grpc::Client::connect(arena.grpc);
    let framed = frame(&[0; 64]);
    for cut in [0, 3, 20] {
        let path = "/inference.GRPCInferenceService/ModelInfer";
        let called = client.call_unfinished(path, &framed[..cut]);
        assert_eq!(called.code, 4, "DEADLINE_EXCEEDED: {}", called.message);
        assert!(called.message.contains("body_timeout_ms"), "{}", called.message);
    }
    arena.assert_well();
}

#[test]
fn clients_that_leave_take_their_requests_along() {
    let arena = Arena::new("max_request_ms: 1000, head_timeout_ms: 1000");
    let square = Predict::of("square", [tensor("x", DType::Fp32, &[1, 1], vec![0; 4])]);
    let request = square.json_request().bytes();
    arena.survives(2 * MIB, || {
        for cut in 0..request.len() {
            let mut connection = arena.connect();
            connection.write(&request[..cut]).expect("a part");
        }
        for _ in 0..100 {
            let mut connection = arena.connect();
            connection.write(&request).expect("all of it");
            // Closed with unread data, the socket sends a reset.
            let mut socket = connection.socket();
            socket.flush().expect("a socket");
        }
    });
    let until = Instant::now() + LATENESS;
    loop {
        let scrape = Scrape::of(arena.ops);
        let left = scrape.sum("modelgate_connections", &[]);
        let flying = scrape.sum("modelgate_inflight_requests", &[]);
        if left == 0.0 && flying == 0.0 {
            break;
        }
        assert!(Instant::now() < until, "{left} connections, {flying} requests are left");
        std::thread::sleep(Duration::from_millis(50));
    }
}
