//! Shadows that fail, hang or take too much, and what is left for the others.

use std::sync::atomic::Ordering;
use std::time::Duration;

use modelgate::engine::{EngineError, FakeEngine};
use modelgate::routing::ShadowSpec;
use modelgate::telemetry::{ShadowDrop, ShadowOutcome};
use modelgate::types::Weight;

use crate::engines::{COLUMNS, Gate, Scripted};
use crate::world::{World, generous, until};

#[test]
fn shadows_that_fail_change_nothing_for_others() {
    let world = World::new();
    let gate = Gate::default();
    let short = || ShadowSpec { timeout_ms: 50, ..generous() };
    let stuck = world.route("stuck", short(), gate.engine());
    let panicking = world.route("panics", generous(), Scripted::new(|_| panic!("on purpose")));
    let failing = world.route(
        "fails",
        generous(),
        Scripted::new(|_| Err(EngineError::Run("on purpose".to_owned()))),
    );
    let slow = Box::new(FakeEngine::new(COLUMNS, Duration::from_secs(600)));
    let slow = world.route("slow", short(), slow);
    let fine = world.route("fine", generous(), Box::new(FakeEngine::new(COLUMNS, Duration::ZERO)));
    for _ in 0..5 {
        for route in [&stuck, &panicking, &failing, &slow, &fine] {
            world.mirror.offer(route.right());
        }
    }
    fine.wait_for(ShadowOutcome::Compared, 5);
    panicking.wait_for(ShadowOutcome::Failed, 5);
    failing.wait_for(ShadowOutcome::Failed, 5);
    slow.wait_for(ShadowOutcome::Timeout, 1);
    // The stuck one has a worker, and what waits behind it is not waited for.
    until("stale", || stuck.dropped(ShadowDrop::Stale) == 4);
    assert_eq!((gate.runs(), stuck.waiting.load(Ordering::SeqCst)), (1, 0));
    world.mirror.offer(fine.right());
    fine.wait_for(ShadowOutcome::Compared, 6);
    gate.open();
    stuck.wait_for(ShadowOutcome::Compared, 1);
    until("the last is entered", || world.report("panics").requests["failed"] == 5);
    assert_eq!(world.report("panics").outputs[0].comparisons, 0);
}

#[test]
fn a_shadow_that_is_too_dear_is_sampled_less() {
    let world = World::new();
    let percent = Weight::from_percent(1.0).expect("a weight");
    let spec = ShadowSpec { cpu_percent: percent, ..generous() };
    let engine = FakeEngine::new(COLUMNS, Duration::from_millis(20));
    let route = world.route("m", spec, Box::new(engine));
    for _ in 0..50 {
        world.mirror.offer(route.right());
    }
    // 10 ms are saved up, and the first run takes more.
    until("all are dropped or run", || route.waiting.load(Ordering::SeqCst) == 0);
    until("busy", || route.dropped(ShadowDrop::Busy) >= 45);
    route.wait_for(ShadowOutcome::Compared, 1);
}
