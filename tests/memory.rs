//! Memory that requests have used goes back to the system, soon and by itself.

mod support;

use std::thread;
use std::time::{Duration, Instant};

use modelgate::types::DType;
use support::gateway::{Gateway, Launch};
use support::predict::{Face, Predict, tensor};
use support::registry::Registry;
use support::zoo;

/// What has been free for a second is given back; the rest is patience with a busy machine.
/// Far below the ten seconds of jemalloc's own defaults, which nobody would see here.
const SOON: Duration = Duration::from_secs(6);

/// Memory that may stay: a tenth, and what threads keep at hand.
fn close_to(before: u64) -> u64 {
    before + before / 10 + (8 << 20)
}

/// A request of about 16 MiB, and an answer as large.
fn large() -> Predict {
    let (rows, columns) = (4096, 1024);
    let data = vec![0; rows * columns * 4];
    Predict::of("same", [tensor("x", DType::Fp32, &[rows as i64, columns as i64], data)])
}

/// Four callers at once, three requests each, in every form of the wire but
/// JSON, which takes a debug build too long.
fn burst(gateway: &Gateway) {
    thread::scope(|scope| {
        for caller in 0..4 {
            let face = if caller % 2 == 0 { Face::Binary } else { Face::Grpc };
            scope.spawn(move || {
                for _ in 0..3 {
                    large().ask(gateway, face).expect("an answer");
                }
            });
        }
    });
}

#[test]
fn a_burst_of_large_bodies_leaves_nothing_behind() {
    let model = zoo::identity(DType::Fp32, &["rows", "columns"]);
    let registry = Registry::new().model("same", model);
    let gateway = Launch::new().models(registry.path()).start();
    // Threads, buffers and tables that come with the first requests stay for good.
    for face in Face::ALL {
        let small = Predict::of("same", [tensor("x", DType::Fp32, &[1, 1], [0; 4])]);
        small.ask(&gateway, face).expect("an answer");
    }
    let before = gateway.resident_bytes();
    for round in 1..=2 {
        gateway.forget_peak();
        burst(&gateway);
        let peak = gateway.peak_bytes();
        assert!(peak > before + (32 << 20), "the burst took memory: {before} to {peak}");
        let until = Instant::now() + SOON;
        while gateway.resident_bytes() > close_to(before) {
            let now = gateway.resident_bytes();
            assert!(Instant::now() < until, "burst {round}: {before}, {peak} at most, still {now}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}
