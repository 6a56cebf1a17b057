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

    /// Runs `attack` up to four times, and asserts that newcomers are served
    /// after each, and that one of them takes no more than `growth` bytes for
    /// good. What the allocator keeps for reuse serves the later rounds; what
    /// leaks comes with each.
    #[track_caller]
    fn survives(&self, growth: u64, attack: impl Fn()) {
        let mut rounds = Vec::new();
        while rounds.len() < 4 {
            let before = self.resident_bytes();
            attack();
            self.assert_well();
            // What is freed is given back a little later.
            let until = Instant::now() + Duration::from_secs(1);
            let grown = || self.resident_bytes().saturating_sub(before);
            while grown() > growth && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(50));
            }
            let grown = grown();
            if grown <= growth {
                return;
            }
            rounds.push(grown / 1024);
        }
        panic!("memory grew by {rounds:?} KiB, round by round");
    }

    /// Runs `attack`, and asserts that at no time it made the gateway hold
    /// more than `peak` bytes over what it held before.
    #[track_caller]
    fn takes_at_most(&self, peak: u64, attack: impl FnOnce()) {
        self.forget_peak();
        let before = self.resident_bytes();
        attack();
        self.assert_well();
        let taken = self.peak_bytes().saturating_sub(before);
        assert!(taken <= peak, "it took {} KiB", taken / 1024);
    }
}
