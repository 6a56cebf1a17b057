//! What is compared, and what reports and metrics say of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use modelgate::engine::{EngineError, FakeEngine, Input, RunOutputs};
use modelgate::routing::{OutputKind, RouteSpec};
use modelgate::shadow::ShadowReport;
use modelgate::telemetry::{ShadowDrop, ShadowOutcome};
use modelgate::types::Signature;
use smallvec::smallvec;

use crate::engines::{COLUMNS, Scripted, plus_one, spec, tensor};
use crate::world::{World, generous, name, until, version};

#[test]
fn what_agrees_and_what_does_not_is_told_apart() {
    let world = World::new();
    let route = world.route("m", generous(), Box::new(FakeEngine::new(COLUMNS, Duration::ZERO)));
    for _ in 0..7 {
        world.mirror.offer(route.right());
    }
    for _ in 0..3 {
        world.mirror.offer(route.sample([0.0; COLUMNS], [1.0, 1.0, 1.5, 1.0]));
    }
    route.wait_for(ShadowOutcome::Compared, 10);
    until("the last is entered", || world.report("m").requests["compared"] == 10);

    let report = world.report("m");
    assert_eq!((&report.route, report.primary), (&Some(name("m")), Some(version(1))));
    assert_eq!((report.shadow, report.compared_share), (Some(version(2)), Some(1.0)));
    let [output] = &report.outputs[..] else { panic!("one output: {:?}", report.outputs) };
    assert_eq!((output.name.as_str(), output.kind), ("y", OutputKind::Values));
    assert_eq!((output.comparisons, output.disagreements, output.mismatched), (10, 3, 0));
    assert_eq!((output.disagreement_rate, output.absolute.max), (0.3, Some(0.5)));
    assert_eq!((output.absolute.p50, report.compute.shadow.runs), (Some(0.0), 10));
    let p50 = report.compute.primary.p50_us.expect("times");
    assert!((49.5..=50.5).contains(&p50), "{p50}");

    assert_eq!(report.samples.len(), 3);
    let sample = &report.samples[0];
    assert_eq!((sample.request_id.as_str(), sample.shadow), ("id-1", version(2)));
    assert_eq!(sample.inputs[0].values, [0.0; COLUMNS]);
    assert_eq!(sample.outputs[0].primary.values, [1.0, 1.0, 1.5, 1.0]);
    assert_eq!(sample.outputs[0].shadow.values, [1.0; COLUMNS]);
    assert_eq!(sample.outputs[0].max_absolute, Some(0.5));
    // As the command line reads it.
    let json = serde_json::to_string(&report).expect("JSON");
    let read: ShadowReport = serde_json::from_str(&json).expect("the report");
    assert_eq!((read.samples, read.requests), (report.samples, report.requests));

    let page = world.telemetry.render();
    for line in [
        r#"modelgate_shadow_requests_total{route="m",outcome="compared"} 10"#,
        r#"modelgate_shadow_comparisons_total{route="m",output="y"} 10"#,
        r#"modelgate_shadow_disagreements_total{route="m",output="y"} 3"#,
        r#"modelgate_shadow_output_difference_bucket{route="m",output="y",le="0"} 7"#,
        r#"modelgate_inference_duration_seconds_count{model="m",version="2",variant="shadow"} 10"#,
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is missing in:\n{page}");
    }
    assert_eq!(route.waiting.load(Ordering::SeqCst), 0);
}

#[test]
fn inputs_and_outputs_are_paired_by_name() {
    let world = World::new();
    let two = |inputs: [&str; 2], outputs: [&str; 2]| Signature {
        inputs: inputs.map(|name| spec(name, 1)).to_vec(),
        outputs: outputs.map(|name| spec(name, 1)).to_vec(),
    };
    let one = |input: &Input<'_>| f32::from_le_bytes(*input.data.first_chunk().expect("a number"));
    let engine = |signature: Signature| {
        // In the order of the signature: what was given, as it was given.
        let run = move |inputs: &[Input<'_>]| -> Result<RunOutputs, EngineError> {
            Ok(inputs.iter().map(|input| tensor([1, 1], &[one(input)])).collect())
        };
        Box::new(Scripted { signature, run: Box::new(run) })
    };
    let primary = world.servable("m", 1, engine(two(["a", "b"], ["p", "q"])));
    let mut revision = 0;
    let mut offer = |shadow: Signature| {
        revision += 1;
        let shadow = world.servable("m", 1 + revision, engine(shadow));
        let spec = RouteSpec { shadow: Some(generous()), ..RouteSpec::default() };
        let route = world.mirroring(revision, spec, &primary, Some(&shadow));
        let mut sample = route.right();
        sample.work.inputs = smallvec![tensor([1, 1], &[1.0]), tensor([1, 1], &[2.0])];
        sample.work.wanted = smallvec![0, 1];
        sample.done.outputs = smallvec![tensor([1, 1], &[1.0]), tensor([1, 1], &[2.0])];
        world.mirror.offer(sample);
        until("an end", || {
            let report = world.mirror.report(&name("m"));
            report.is_some_and(|report| {
                report.shadow == Some(version(1 + revision))
                    && report.requests.values().sum::<u64>() == 1
            })
        });
        world.report("m")
    };
    // The scripted engine ignores what is wanted: both in the order of its inputs.
    let swapped = offer(two(["b", "a"], ["p", "q"]));
    assert_eq!(swapped.requests["compared"], 1);
    assert!(swapped.outputs.iter().all(|output| output.disagreements == 1), "{swapped:?}");
    let same = offer(two(["a", "b"], ["p", "q"]));
    assert!(same.outputs.iter().all(|output| output.disagreements == 0), "{same:?}");
    for incompatible in [
        two(["a", "c"], ["p", "q"]),
        two(["a", "b"], ["p", "r"]),
        Signature { inputs: vec![spec("a", 1)], ..two(["a", "b"], ["p", "q"]) },
        Signature { inputs: vec![spec("a", 1), spec("b", 2)], ..two(["a", "b"], ["p", "q"]) },
    ] {
        let report = offer(incompatible);
        assert_eq!(report.requests["incompatible"], 1, "{report:?}");
    }
}

#[test]
fn what_an_output_means_is_settled_by_the_first_answer() {
    let world = World::new();
    let route = world.route("m", generous(), Scripted::answering([0.1, 0.2, 0.3, 0.4]));
    let scores = [0.0, 0.0, 0.1, 0.9];
    world.mirror.offer(route.sample([0.0; COLUMNS], scores));
    // Does not add up to one, and would have been values.
    world.mirror.offer(route.sample([0.0; COLUMNS], [0.0, 0.0, 0.0, 7.0]));
    until("both are entered", || {
        world.mirror.report(&name("m")).is_some_and(|report| report.requests["compared"] == 2)
    });
    let output = &world.report("m").outputs[0];
    assert_eq!((output.kind, output.disagreements), (OutputKind::ClassScores, 0));
    assert_eq!(output.top_k_overlap, Some(1.0));
}

#[test]
fn the_primary_is_compared_with_itself_now_and_then() {
    let world = World::new();
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    // Every second run is off by one.
    let primary = world.servable(
        "m",
        1,
        Scripted::new(move |inputs| match counted.fetch_add(1, Ordering::SeqCst) % 2 {
            0 => plus_one(inputs),
            _ => Ok(smallvec![tensor([1, COLUMNS as i64], &[9.0; COLUMNS])]),
        }),
    );
    let shadow = world.servable("m", 2, Box::new(FakeEngine::new(COLUMNS, Duration::ZERO)));
    let spec = RouteSpec { shadow: Some(generous()), ..RouteSpec::default() };
    let route = world.mirroring(1, spec, &primary, Some(&shadow));
    for sent in 1..=200 {
        world.mirror.offer(route.right());
        route.wait_for(ShadowOutcome::Compared, sent);
    }
    until("four second runs", || world.report("m").outputs[0].noise_comparisons == 4);
    let report = world.report("m");
    assert_eq!((runs.load(Ordering::SeqCst), report.compute.primary_again.runs), (4, 4));
    assert_eq!(
        (report.outputs[0].noise_disagreements, report.outputs[0].noise_rate),
        (2, Some(0.5))
    );
    assert_eq!(report.outputs[0].disagreements, 0);
    let page = world.telemetry.render();
    for line in [
        r#"modelgate_shadow_noise_comparisons_total{route="m",output="y"} 4"#,
        r#"modelgate_shadow_noise_disagreements_total{route="m",output="y"} 2"#,
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is missing in:\n{page}");
    }
}

#[test]
fn another_version_begins_another_comparison() {
    let world = World::new();
    let engine = || Box::new(FakeEngine::new(COLUMNS, Duration::ZERO));
    let primary = world.servable("m", 1, engine());
    let spec = || RouteSpec { shadow: Some(generous()), ..RouteSpec::default() };
    let first = world.mirroring(1, spec(), &primary, Some(&world.servable("m", 2, engine())));
    for _ in 0..3 {
        world.mirror.offer(first.right());
    }
    first.wait_for(ShadowOutcome::Compared, 3);
    let second = world.mirroring(2, spec(), &primary, Some(&world.servable("m", 3, engine())));
    world.mirror.offer(second.right());
    second.wait_for(ShadowOutcome::Compared, 4);
    until("the last is entered", || world.report("m").requests["compared"] == 1);
    assert_eq!(world.report("m").shadow, Some(version(3)));
    // One of before, which was answered late.
    world.mirror.offer(first.right());
    until("stale", || first.dropped(ShadowDrop::Stale) == 1);
    assert_eq!(world.report("m").shadow, Some(version(3)));
    assert_eq!(world.report("m").dropped["stale"], 1);

    world.mirror.forget(&|route| *route != name("m"));
    assert_eq!(world.mirror.report(&name("m")), None);
}

#[test]
fn a_private_route_shows_nobody_its_numbers() {
    let world = World::new();
    let primary = world.servable("m", 1, Box::new(FakeEngine::new(COLUMNS, Duration::ZERO)));
    let mut without_samples = generous();
    without_samples.compare.samples = 0;
    for (number, private, spec) in [(2, true, generous()), (3, false, without_samples)] {
        let shadow = world.servable("m", number, Scripted::answering([9.0; COLUMNS]));
        let spec = RouteSpec { shadow: Some(spec), private, ..RouteSpec::default() };
        let route = world.mirroring(number, spec, &primary, Some(&shadow));
        world.mirror.offer(route.right());
        until("it is entered", || {
            world.mirror.report(&name("m")).is_some_and(|report| {
                report.shadow == Some(version(number)) && report.requests["compared"] == 1
            })
        });
        let report = world.report("m");
        assert_eq!((report.outputs[0].disagreements, report.samples.len()), (1, 0));
    }
}

#[test]
fn samples_are_capped_and_the_newest_stay() {
    let world = World::new();
    let mut spec = generous();
    spec.compare.samples = 3;
    let route = world.route("m", spec, Scripted::answering([9.0; COLUMNS]));
    for number in 0..10 {
        let mut sample = route.right();
        sample.request_id = smallvec![b'0' + number];
        world.mirror.offer(sample);
    }
    until("all are entered", || {
        world.mirror.report(&name("m")).is_some_and(|report| report.requests["compared"] == 10)
    });
    let ids: Vec<String> = world.report("m").samples.into_iter().map(|s| s.request_id).collect();
    assert_eq!(ids, ["7", "8", "9"]);
}
