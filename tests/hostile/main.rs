//! Clients that are broken, slow, greedy or mean. After each of them a normal
//! request succeeds, the process lives, and its memory is back where it was.

#[path = "../support/mod.rs"]
mod support;

mod floods;
mod malformed;
mod slow;
mod smuggling;

use std::time::{Duration, Instant};

use modelgate::types::DType;
use support::gateway::{Gateway, Launch};
use support::predict::{Face, Predict, tensor};
use support::registry::Registry;
use support::zoo::{self, floats};

const MIB: u64 = 1 << 20;

/// The models and limits these tests share.
struct Arena {
    gateway: Gateway,
    _registry: Registry,
}

impl std::ops::Deref for Arena {
    type Target = Gateway;

    fn deref(&self) -> &Gateway {
        &self.gateway
    }
}

impl Arena {
    /// A gateway of its own with `limits` over the defaults.
    fn new(limits: &str) -> Arena {
        let registry = Registry::new()
            .model("square", zoo::square_plus_one())
            .model("slow", zoo::halving())
            .options("slow", "execution: lane")
            .model("id-fp32", zoo::identity(DType::Fp32, &["rows", "columns"]))
            .model("id-int64", zoo::identity(DType::Int64, &["rows", "columns"]));
        let launch = Launch::new().models(registry.path());
        let gateway = launch.config(&format!("limits: {{{limits}}}")).start();
        let arena = Arena { gateway, _registry: registry };
        // Threads, buffers and code that only the first requests touch.
        for _ in 0..20 {
            arena.assert_well();
        }
        arena
    }

    /// Asserts that newcomers of every kind are served.
    #[track_caller]
    fn assert_well(&self) {
        let square = Predict::of("square", [tensor("x", DType::Fp32, &[1, 1], floats(&[2.0]))]);
        for face in Face::ALL {
            let answer = square.ask(self, face).expect("normal requests are served");
            assert_eq!(answer.outputs[0].data, floats(&[5.0]));
        }
        assert!(!self.has_ended(), "the gateway has ended");
    }

    /// Runs `attack`, and asserts that afterwards all is as it was but for `growth` bytes.
    #[track_caller]
    fn survives(&self, growth: u64, attack: impl FnOnce()) {
        let grown = self.growth_by(growth, attack);
        assert!(grown <= growth, "memory grew by {} KiB", grown / 1024);
    }

    /// Runs `attack` up to four times, and asserts that one of them takes no
    /// more than `growth` bytes for good. What the allocator keeps for reuse
    /// serves the later rounds; what leaks comes with each.
    #[track_caller]
    fn survives_again(&self, growth: u64, attack: impl Fn()) {
        let rounds: Vec<u64> = (0..4)
            .map(|_| self.growth_by(growth, &attack))
            .scan(false, |settled, grown| {
                let go_on = !*settled;
                *settled |= grown <= growth;
                go_on.then_some(grown / 1024)
            })
            .collect();
        let last = rounds.last().expect("a round") * 1024;
        assert!(last <= growth, "memory grew by {rounds:?} KiB, round by round");
    }

    /// Bytes that the gateway holds after `attack` over what it held before.
    #[track_caller]
    fn growth_by(&self, expected: u64, attack: impl FnOnce()) -> u64 {
        let before = self.resident_bytes();
        attack();
        self.assert_well();
        // What is freed is given back a little later.
        let until = Instant::now() + Duration::from_secs(1);
        let grown = || self.resident_bytes().saturating_sub(before);
        while grown() > expected && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
        grown()
    }
}
