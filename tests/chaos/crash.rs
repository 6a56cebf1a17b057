//! kill -9 in every stage of a version's life: what served before serves after,
//! or what was to follow it, and nothing half is left.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use modelgate::types::{DType, Stage};
use rustix::process::Signal;

use crate::support::gateway::Gateway;
use crate::support::onnx_builder::{constant, element, graph, node, tensor};
use crate::support::zoo::{floats, longs};
use crate::world::{MODEL, PATIENCE, World, ask, model, until, version, wait_until_serves};

const F32: i32 = 1;
const I64: i32 = 7;

/// Stages are hit by looking; some are short.
const TRIES: usize = 20;

/// `y = version`, in a way that takes its time to copy, to load and to run.
fn slow(version: u64) -> Vec<u8> {
    let weights = 2 << 20;
    let body = graph()
        .input("i", tensor(I64, &[]))
        .input("go", tensor(element(DType::Bool), &[]))
        .input("before", tensor(F32, &["1"]))
        .output("still", tensor(element(DType::Bool), &[]))
        .output("after", tensor(F32, &["1"]))
        .constant(constant("half", DType::Fp32, &[1], floats(&[0.5])))
        .node(node("Identity", &["go"], &["still"]))
        .node(node("Mul", &["before", "half"], &["after"]));
    graph()
        .input("x", tensor(F32, &["1"]))
        .output("y", tensor(F32, &["1"]))
        .constant(constant("weights", DType::Fp32, &[weights], vec![0; weights as usize * 4]))
        .constant(constant("version", DType::Fp32, &[1], floats(&[version as f32])))
        .constant(constant("trips", DType::Int64, &[], longs(&[3_000])))
        .constant(constant("true", DType::Bool, &[], vec![1]))
        .node(node("Loop", &["trips", "true", "x"], &["nothing"]).graph("body", body))
        .node(node("Add", &["nothing", "version"], &["y"]))
        .model()
}

/// One gateway after another over the same folders.
struct Lives {
    world: World,
    gateway: Option<Gateway>,
    /// What serves.
    served: u64,
}

impl Lives {
    fn new() -> Lives {
        let mut lives = Lives { world: World::new(), gateway: None, served: 1 };
        lives.start();
        lives
    }

    fn launch(&self) -> crate::support::gateway::Launch {
        self.world.launch().config("models: {cache_bytes: 67108864}")
    }

    fn start(&mut self) -> &Gateway {
        let gateway = self.launch().start();
        self.gateway.insert(gateway)
    }

    fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().expect("it was started")
    }

    fn kill(&mut self) {
        let gateway = self.gateway.take().expect("it was started");
        gateway.signal(Signal::KILL);
        gateway.wait(PATIENCE);
    }

    /// Pushes the next version, and kills the gateway in `stage` of it, or of
    /// the one before where that is draining. Returns whether it was in time.
    fn push_and_kill(&mut self, stage: Stage) -> bool {
        let (before, next) = (self.served, self.served + 1);
        self.world.push(next, &slow(next));
        // So that a version that drains has something to finish.
        let busy = Busy::start(self.gateway());
        let hit = until(&format!("version {next} in stage {stage:?}"), || {
            let gateway = self.gateway();
            let (watched, passed) = match stage {
                Stage::Draining => (before, Stage::Gone),
                _ => (next, stage),
            };
            let now = version(gateway, watched).map(|version| version.stage);
            match now {
                Some(now) if now == stage => Some(true),
                Some(Stage::Rejected) => panic!("{:#?}", model(gateway)),
                Some(now) if now > passed => Some(false),
                // A version that is gone is not shown any more.
                None if stage == Stage::Draining => Some(false),
                _ => None,
            }
        });
        if hit {
            self.kill();
        }
        drop(busy);
        if !hit {
            wait_until_serves(self.gateway(), next);
            self.serves(next);
        }
        hit
    }

    /// Kills the gateway while it starts and looks at what the cache has.
    fn restart_and_kill(&mut self) -> bool {
        self.kill();
        let gateway = self.launch().listen();
        let served = self.served;
        let stage = until("the version in the cache is looked at", || {
            version(&gateway, served).map(|version| version.stage)
        });
        self.gateway = Some(gateway);
        let hit = stage == Stage::Verifying;
        self.kill();
        if !hit {
            self.start();
        }
        hit
    }

    /// Starts anew after a kill. Whatever was served, or was about to be,
    /// serves, and the cache holds nothing half.
    fn rise(&mut self, stage: Stage, next: u64) {
        let before = self.served;
        let first = ask(self.start().http)
            .unwrap_or_else(|error| panic!("{error}: {:#?}", self.gateway().logged()));
        let was_ready = matches!(stage, Stage::Ready | Stage::Draining);
        let may_be = if was_ready { next..=next } else { before..=next };
        assert!(may_be.contains(&first), "{first} after {before} and {next} in {stage:?}");
        wait_until_serves(self.gateway(), next);
        self.gateway().assert_serves();
        until("the cache is clean", || self.world.cache_leftovers().is_empty().then_some(()));
        self.serves(next);
    }

    fn serves(&mut self, next: u64) {
        // Two versions stay in the registry.
        let folder = self.world.registry().join(MODEL);
        for old in self.served.saturating_sub(1)..next.saturating_sub(1) {
            let _ = fs::remove_dir_all(folder.join(old.to_string()));
        }
        self.served = next;
    }
}

fn killed_in(stage: Stage, times: usize) {
    let mut lives = Lives::new();
    // A heavy version in place, so that there is something to verify and to drain.
    lives.world.push(2, &slow(2));
    wait_until_serves(lives.gateway(), 2);
    lives.serves(2);
    for time in 0..times {
        let hit = (0..TRIES).any(|_| match stage {
            Stage::Verifying => lives.restart_and_kill(),
            _ => lives.push_and_kill(stage),
        });
        assert!(hit, "{stage:?} was never met, the {time}th time");
        let next = if stage == Stage::Verifying { lives.served } else { lives.served + 1 };
        lives.rise(stage, next);
    }
}

/// A few callers.
struct Busy(Arc<AtomicBool>);

impl Busy {
    fn start(gateway: &Gateway) -> Busy {
        let over = Arc::new(AtomicBool::new(false));
        for _ in 0..2 {
            let (over, address) = (Arc::clone(&over), gateway.http);
            thread::spawn(move || {
                // The last request fails: its gateway is killed.
                while !over.load(Ordering::Relaxed)
                    && std::panic::catch_unwind(|| ask(address)).is_ok_and(|answer| answer.is_ok())
                {
                }
            });
        }
        Busy(over)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

const STAGES: [Stage; 7] = [
    Stage::Fetching,
    Stage::Verifying,
    Stage::Probing,
    Stage::Loading,
    Stage::Warming,
    Stage::Ready,
    Stage::Draining,
];

#[test]
fn a_kill_in_any_stage_loses_nothing() {
    for stage in STAGES {
        killed_in(stage, 1);
    }
}

#[test]
#[ignore = "takes a quarter of an hour"]
fn twenty_kills_in_every_stage_lose_nothing() {
    for stage in STAGES {
        killed_in(stage, 20);
    }
}
