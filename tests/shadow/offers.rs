//! What is taken of what is offered: bounds, and what an offer costs the thread that makes it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use modelgate::engine::FakeEngine;
use modelgate::routing::{RouteSpec, ShadowSpec};
use modelgate::shadow::Sample;
use modelgate::telemetry::{ShadowDrop, ShadowOutcome};
use modelgate::types::{DType, Priority, Shape, Tensor};
use smallvec::smallvec;

use crate::engines::{COLUMNS, Gate};
use crate::world::{World, generous, name, until};

#[test]
fn a_full_queue_drops_counts_and_never_waits() {
    let world = World::new();
    let gate = Gate::default();
    let route = world.route("m", ShadowSpec { queue: 8, ..generous() }, gate.engine());
    world.mirror.offer(route.right());
    until("the first run", || gate.runs() == 1);
    let samples: Vec<Sample> = (0..1000).map(|_| route.right()).collect();
    let started = Instant::now();
    for sample in samples {
        world.mirror.offer(sample);
    }
    let took = started.elapsed();
    assert_eq!(route.dropped(ShadowDrop::QueueFull), 992);
    assert_eq!(route.waiting.load(Ordering::SeqCst), 8);
    // Far from waiting for a run that never ends, on a machine however busy.
    assert!(took < Duration::from_secs(1), "{took:?}");
    gate.open();
    route.wait_for(ShadowOutcome::Compared, 9);
    assert_eq!(route.waiting.load(Ordering::SeqCst), 0);
    until("the last is entered", || world.report("m").requests["compared"] == 9);
    let report = world.report("m");
    assert_eq!((report.dropped["queue_full"], report.compared_share), (992, Some(9.0 / 1001.0)));
}

#[test]
fn an_offer_that_is_taken_is_cheap() {
    let world = World::new();
    let gate = Gate::default();
    let route = world.route("m", ShadowSpec { queue: 4_000, ..generous() }, gate.engine());
    world.mirror.offer(route.right());
    until("the first run", || gate.runs() == 1);
    let samples: Vec<Sample> = (0..4_000).map(|_| route.right()).collect();
    let started = Instant::now();
    samples.into_iter().for_each(|sample| world.mirror.offer(sample));
    let average = started.elapsed() / 4_000;
    println!("an offer that was taken took {average:?} on average");
    // Well under a microsecond when optimized and alone; this is neither.
    assert!(average < Duration::from_micros(100), "{average:?}");
    assert_eq!(route.metrics().shadow.drops(), [0; 6]);
    gate.open();
    route.wait_for(ShadowOutcome::Compared, 4_001);
}

#[test]
fn offers_from_many_threads_are_cheap_and_bounded() {
    let world = World::new();
    let gate = Gate::default();
    let route = world.route("m", ShadowSpec { queue: 100, ..generous() }, gate.engine());
    world.mirror.offer(route.right());
    until("the first run", || gate.runs() == 1);
    let barrier = Barrier::new(4);
    let slowest = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let samples: Vec<Sample> = (0..2_000).map(|_| route.right()).collect();
                    barrier.wait();
                    let started = Instant::now();
                    samples.into_iter().for_each(|sample| world.mirror.offer(sample));
                    started.elapsed() / 2_000
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("offers")).max()
    });
    let slowest = slowest.expect("threads");
    println!("an offer took {slowest:?} on average");
    assert!(slowest < Duration::from_micros(500), "{slowest:?}");
    assert!(route.waiting.load(Ordering::SeqCst) <= 100);
    let dropped = route.dropped(ShadowDrop::QueueFull);
    assert!(dropped >= 7_900, "{dropped}");
    gate.open();
    route.wait_for(ShadowOutcome::Compared, 8_001 - dropped);
}

#[test]
fn only_the_champions_answers_are_mirrored_and_only_to_another_version() {
    let world = World::new();
    let engine = || Box::new(FakeEngine::new(COLUMNS, Duration::ZERO));
    let primary = world.servable("m", 1, engine());
    let shadow = world.servable("m", 2, engine());
    let spec = || RouteSpec { shadow: Some(generous()), ..RouteSpec::default() };
    let route = world.mirroring(1, spec(), &primary, Some(&shadow));
    let of_another = Sample { primary: Arc::clone(&shadow), ..route.right() };
    world.mirror.offer(of_another);
    world.mirror.offer(world.mirroring(1, spec(), &primary, Some(&primary)).right());
    let not_ready = world.mirroring(1, spec(), &primary, None);
    world.mirror.offer(not_ready.right());
    assert_eq!(not_ready.dropped(ShadowDrop::NotReady), 1);
    world.mirror.offer(route.right());
    until("the last is entered", || {
        world.mirror.report(&name("m")).is_some_and(|report| report.requests["compared"] == 1)
    });
    let report = world.report("m");
    assert_eq!(report.dropped.values().sum::<u64>(), 1, "{report:?}");
    assert_eq!(report.dropped["not_ready"], 1);
}

#[test]
fn what_would_keep_too_much_memory_is_dropped() {
    let world = World::new();
    let route = world.route("m", generous(), Box::new(FakeEngine::new(COLUMNS, Duration::ZERO)));
    let mut large = route.right();
    let shape = Shape::new([(64 << 20) + 1]).expect("a shape");
    let data = Bytes::from(vec![0; (64 << 20) + 1]);
    large.work.inputs = smallvec![Tensor::new(DType::Uint8, shape, data).expect("a tensor")];
    world.mirror.offer(large);
    // Few bytes, of a run over many rows, whose memory they share.
    let mut batched = route.right();
    batched.done.timings.rows = 8 << 20;
    world.mirror.offer(batched);
    assert_eq!(route.dropped(ShadowDrop::Memory), 2);
    world.mirror.offer(route.right());
    route.wait_for(ShadowOutcome::Compared, 1);
}

#[test]
fn a_shadow_is_shed_before_any_request_is() {
    let world = World::new();
    let engine = Box::new(FakeEngine::new(COLUMNS, Duration::ZERO));
    let route = world.route("pressed", generous(), engine);
    let (limiter, now) = (Arc::clone(&route.primary.limiter), Instant::now());
    let mut waiting = Vec::new();
    while !limiter.is_full(Priority::Shadow) {
        waiting.push(limiter.enter(Priority::Normal, now).expect("room for what people wait for"));
    }
    let before = route.dropped(ShadowDrop::Busy);
    world.mirror.offer(route.right());
    assert_eq!(route.dropped(ShadowDrop::Busy), before + 1);
    for class in [Priority::Critical, Priority::Normal, Priority::Batch] {
        assert!(route.primary.check_limit(class).is_ok(), "{class:?} is still welcome");
    }
    // From here on to the first refusal there is never room for a shadow.
    while route.primary.check_limit(Priority::Batch).is_ok() {
        waiting.push(limiter.enter(Priority::Batch, now).expect("room"));
        assert!(limiter.is_full(Priority::Shadow));
    }
    assert!(route.primary.check_limit(Priority::Normal).is_ok(), "batch goes before normal");
    drop(waiting);
    world.mirror.offer(route.right());
    route.wait_for(ShadowOutcome::Compared, 1);
}
