//! Too much of everything: connections, streams, frames, bytes.

use std::io::Read;
use std::time::{Duration, Instant};

use modelgate::types::DType;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::gateway::Launch;
use crate::support::http::{Connection, Request};
use crate::support::metrics::Scrape;
use crate::support::predict::{Predict, tensor};
use crate::support::registry::Registry;
use crate::support::zoo::{self, floats, longs};
use crate::{Arena, MIB};

const CONNECTIONS: &str = "modelgate_connections";

/// Lets this program open as many connections as the system lets it.
fn raise_open_files() -> u64 {
    let hard = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard })
        .expect("up to the maximum");
    hard.unwrap_or(u64::MAX)
}

/// Waits until `count` connections are open by the gateway's own count.
#[track_caller]
fn wait_for_connections(arena: &Arena, count: f64) {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let open = Scrape::of(arena.ops).sum(CONNECTIONS, &[]);
        if open == count {
            return;
        }
        assert!(Instant::now() < until, "{open} connections are open, expected {count}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn connections_over_the_limit_are_refused_and_the_others_kept() {
    let arena = Arena::new("max_connections: 50");
    let files = arena.open_files();
    arena.survives(4 * MIB, || {
        // Whoever asked before has left, else one of the fifty is one too many.
        wait_for_connections(&arena, 0.0);
        let mut kept: Vec<Connection> = (0..50).map(|_| arena.connect()).collect();
        wait_for_connections(&arena, 50.0);
        for _ in 0..100 {
            let mut refused = arena.connect();
            assert!(refused.is_closed_within(Duration::from_secs(5)), "the 51st is refused");
        }
        for connection in &mut kept {
            assert_eq!(connection.exchange(&Request::get("/v2/health/live")).status, 200);
        }
        drop(kept);
        wait_for_connections(&arena, 0.0);
    });
    let refused =
        Scrape::of(arena.ops).sum("modelgate_connections_refused_total", &[("reason", "limit")]);
    assert!(refused >= 100.0, "{refused} were counted");
    assert!(arena.open_files() <= files + 4, "sockets are left open");
}

/// Opens `count` connections of both kinds, holds them, and lets them go.
fn idle_connections(arena: &Arena, count: usize) {
    /// What one connection may take while it is open.
    const EACH: u64 = 24 * 1024;
    let files = arena.open_files();
    arena.survives(4 * MIB, || hold_idle_connections(arena, count, EACH));
    assert!(arena.open_files() <= files + 4, "sockets are left open");
}

fn hold_idle_connections(arena: &Arena, count: usize, each: u64) {
    let before = arena.resident_bytes();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let mut held: Vec<Connection> = Vec::with_capacity(count);
    for number in 0..count {
        let mut connection = arena.connect();
        match number % 4 {
            0 => connection.write(preface).expect("HTTP/2"),
            1 => {
                let reply = connection.exchange(&Request::get("/v2/health/live"));
                assert_eq!(reply.status, 200);
            }
            _ => {}
        }
        held.push(connection);
    }
    wait_for_connections(arena, count as f64);
    let grown = arena.resident_bytes().saturating_sub(before);
    assert!(grown < count as u64 * each, "{} bytes for each", grown / count as u64);
    let started = Instant::now();
    arena.assert_well();
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    drop(held);
    wait_for_connections(arena, 0.0);
}

#[test]
fn two_thousand_idle_connections_leave_nothing_behind() {
    assert!(raise_open_files() > 2_100, "raise the limit of open files (ulimit -n)");
    idle_connections(&Arena::new(""), 2_000);
}

#[test]
fn a_low_limit_of_open_files_is_raised() {
    raise_open_files();
    let registry = Registry::new().model("square", zoo::square_plus_one());
    let gateway = Launch::new().models(registry.path()).soft_open_files(64).start();
    let held: Vec<Connection> = (0..200).map(|_| gateway.connect()).collect();
    gateway.assert_serves();
    drop(held);
}

#[test]
#[ignore = "takes 10,000 open files here and as many in the gateway; run by `make test-slow`"]
fn ten_thousand_idle_connections_leave_nothing_behind() {
    assert!(raise_open_files() > 10_100, "raise the limit of open files (ulimit -n)");
    idle_connections(&Arena::new("max_connections: 10100, idle_timeout_ms: 600000"), 10_000);
}

/// An HTTP/2 connection that has shaken hands, to be fed frames by hand.
fn http2(arena: &Arena) -> Connection {
    let mut connection = Connection::open(arena.grpc);
    connection.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("a preface");
    connection.write(&frame(SETTINGS, 0, 0, &[])).expect("settings");
    connection
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("small").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `POST` of a path that exists, in HPACK without Huffman coding.
fn post_head() -> Vec<u8> {
    let path = "/v2/models/square/infer";
    // :method POST and :scheme http by index; :path and :authority as literals.
    let mut head = vec![0x83, 0x86, 0x04, path.len() as u8];
    head.extend_from_slice(path.as_bytes());
    head.extend_from_slice(&[0x01, 1, b'x']);
    head
}

/// Feeds an attack for a while; whether the gateway hung up on it.
fn feed(connection: &mut Connection, mut next: impl FnMut(u32) -> Vec<u8>) -> bool {
    let until = Instant::now() + Duration::from_secs(1);
    connection.socket().set_nonblocking(false).expect("an option");
    connection.socket().set_write_timeout(Some(Duration::from_secs(1))).expect("an option");
    connection.socket().set_read_timeout(Some(Duration::from_millis(1))).expect("an option");
    for number in 0.. {
        let batch: Vec<u8> = (0..50).flat_map(|i| next(number * 50 + i)).collect();
        if connection.write(&batch).is_err() {
            return true;
        }
        // Read what comes, so that the gateway is not held up by us.
        let mut socket = connection.socket();
        while matches!(socket.read(&mut [0; 16 << 10]), Ok(1..)) {}
        if Instant::now() > until {
            return false;
        }
    }
    unreachable!("numbers do not end")
}

#[test]
fn floods_of_frames_are_stopped_or_starve_nobody() {
    let arena = Arena::new("");
    // The bytes of each step, and whether the gateway must hang up on them.
    type Attack = fn(u32) -> Vec<u8>;
    let attacks: [(&str, bool, Attack); 6] = [
        ("rapid reset", true, |n| {
            let stream = 2 * n + 1;
            let open = frame(HEADERS, END_HEADERS | END_STREAM, stream, &post_head());
            [open, frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())].concat()
        }),
        ("continuations without end", true, |n| match n {
            0 => frame(HEADERS, 0, 1, &post_head()),
            _ => frame(CONTINUATION, 0, 1, &[0x00, 1, b'a', 1, b'b'].repeat(100)),
        }),
        ("empty data", false, |n| match n {
            0 => frame(HEADERS, END_HEADERS, 1, &post_head()),
            _ => frame(DATA, 0, 1, &[]),
        }),
        ("settings", false, |_| frame(SETTINGS, 0, 0, &[])),
        ("pings", false, |_| frame(PING, 0, 0, &[0; 8])),
        ("streams over the limit", false, |n| frame(HEADERS, END_HEADERS, 2 * n + 1, &post_head())),
    ];
    for (what, must_hang_up, attack) in attacks {
        arena.survives(16 * MIB, || {
            let mut connection = http2(&arena);
            std::thread::scope(|scope| {
                let attacker = scope.spawn(|| feed(&mut connection, attack));
                while !attacker.is_finished() {
                    let started = Instant::now();
                    arena.assert_well();
                    let taken = started.elapsed();
                    assert!(
                        taken < Duration::from_secs(1),
                        "{what}: a normal request took {taken:?}"
                    );
                }
                let hung_up = attacker.join().expect("no panic");
                assert!(hung_up || !must_hang_up, "{what} was let on");
            });
        });
    }
}

#[test]
fn streams_over_the_limit_wait_or_are_refused() {
    let arena = Arena::new("max_streams_per_connection: 4");
    let mut connection = http2(&arena);
    for number in 0..20 {
        let open = frame(HEADERS, END_HEADERS, 2 * number + 1, &post_head());
        connection.write(&open).expect("a stream");
    }
    std::thread::sleep(Duration::from_millis(300));
    let flying = Scrape::of(arena.ops).sum("modelgate_inflight_requests", &[]);
    assert!(flying <= 4.0, "{flying} requests of one connection");
    arena.assert_well();
}

#[test]
fn bytes_in_flight_are_bounded_over_all_connections() {
    let limits = "max_body_bytes: 4194304, max_bytes_in_flight: 8388608, body_timeout_ms: 1500";
    let arena = Arena::new(limits);
    let request = Request::post("/v2/models/square/infer", vec![b' '; 4 << 20]);
    arena.survives(16 * MIB, || {
        let mut held: Vec<Connection> = (0..2)
            .map(|_| {
                let mut connection = arena.connect();
                connection.write(&request.head()).expect("a head");
                connection.write(b" ").expect("a byte of it");
                connection
            })
            .collect();
        std::thread::sleep(Duration::from_millis(200));
        let mut third = arena.connect();
        third.write(&request.head()).expect("a head");
        let reply = third.reply();
        assert_eq!(reply.status, 503, "{}", reply.text());
        assert!(reply.header("retry-after").is_some());
        assert!(reply.error().contains("max_bytes_in_flight"), "{}", reply.text());
        for connection in &mut held {
            assert_eq!(connection.reply().status, 504, "the body never came");
        }
    });
    let full = [("reason", "bytes_in_flight")];
    assert!(Scrape::of(arena.ops).sum("modelgate_rejected_total", &full) >= 1.0);
}

#[test]
fn a_slow_model_stalls_neither_health_nor_other_models() {
    let arena = Arena::new("");
    let inputs = [
        tensor("trips", DType::Int64, &[], longs(&[1 << 62])),
        tensor("x", DType::Fp32, &[1], floats(&[8.0])),
    ];
    let slow = Predict::of("slow", inputs).header("x-request-timeout-ms", "1500").json_request();
    let mut callers: Vec<Connection> = (0..64).map(|_| arena.connect()).collect();
    for caller in &mut callers {
        caller.write(&slow.bytes()).expect("a request");
    }
    std::thread::sleep(Duration::from_millis(100));
    let until = Instant::now() + Duration::from_secs(1);
    let mut slowest = Duration::ZERO;
    while Instant::now() < until {
        let started = Instant::now();
        arena.assert_well();
        assert_eq!(arena.get("/v2/health/live").status, 200);
        slowest = slowest.max(started.elapsed());
    }
    assert!(slowest < Duration::from_millis(700), "others waited {slowest:?}");
    for caller in &mut callers {
        assert_eq!(caller.reply().status, 504);
    }
}
