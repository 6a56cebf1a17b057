//! Mirrored requests, from the offer to the report, with engines that are scripted.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use modelgate::admission::Limiter;
use modelgate::engine::{Engine, EngineError, FakeEngine, Input, RunOutputs};
use modelgate::routing::{OutputKind, Route, RouteDocument, RouteSpec, ShadowSpec, Units};
use modelgate::serving::{
    Done, ExecutionOptions, Loaded, Mirrored, ModelEntry, Servable, ServedRoute, Target, Timings,
    Work,
};
use modelgate::shadow::{Mirror, Sample, ShadowReport};
use modelgate::telemetry::{
    RouteMetrics, ShadowDrop, ShadowOutcome, Telemetry, TelemetryOptions, VersionLabels,
};
use modelgate::types::{
    DType, Dim, ModelName, Priority, Shape, Signature, Tensor, TensorSpec, VariantName, Version,
};
use smallvec::smallvec;

/// Far longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const COLUMNS: usize = 4;

fn name(text: &str) -> ModelName {
    ModelName::parse(text).expect("a name")
}

fn version(number: u64) -> Version {
    Version::parse(&number.to_string()).expect("a version")
}

fn until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn tensor(dims: [i64; 2], values: &[f32]) -> Tensor {
    let data = values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    Tensor::new(DType::Fp32, Shape::new(dims).expect("a shape"), data.into()).expect("a tensor")
}

type Run = dyn Fn(&[Input<'_>]) -> Result<RunOutputs, EngineError> + Send + Sync;

/// An engine that does what it is told. It knows no deadline.
struct Scripted {
    signature: Signature,
    run: Box<Run>,
}

impl Scripted {
    /// One input `x` and one output `y`, both `[rows, columns]`.
    fn new(
        run: impl Fn(&[Input<'_>]) -> Result<RunOutputs, EngineError> + Send + Sync + 'static,
    ) -> Box<Scripted> {
        let spec = |name| spec(name, COLUMNS);
        let signature = Signature { inputs: vec![spec("x")], outputs: vec![spec("y")] };
        Box::new(Scripted { signature, run: Box::new(run) })
    }

    /// Answers with these, whatever it is asked.
    fn answering(values: [f32; COLUMNS]) -> Box<Scripted> {
        Scripted::new(move |_| Ok(smallvec![tensor([1, COLUMNS as i64], &values)]))
    }
}

impl Engine for Scripted {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn memory_bytes(&self) -> u64 {
        0
    }

    fn run(
        &self,
        inputs: &[Input<'_>],
        _wanted: &[usize],
        _deadline: Option<Instant>,
    ) -> Result<RunOutputs, EngineError> {
        (self.run)(inputs)
    }
}

fn spec(name: &str, columns: usize) -> TensorSpec {
    TensorSpec {
        name: Arc::from(name),
        dtype: DType::Fp32,
        dims: vec![Dim::Free(None), Dim::Fixed(columns)],
        labels: Arc::from([]),
    }
}

/// Holds runs up until it is opened, which dropping it does.
#[derive(Clone, Default)]
struct Gate(Arc<(AtomicBool, AtomicUsize)>);

impl Gate {
    /// An engine that waits for the gate and then answers as the primary does.
    fn engine(&self) -> Box<Scripted> {
        let gate = Arc::clone(&self.0);
        Scripted::new(move |inputs| {
            gate.1.fetch_add(1, Ordering::SeqCst);
            while !gate.0.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(1));
            }
            plus_one(inputs)
        })
    }

    fn runs(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }

    fn open(&self) {
        self.0.0.store(true, Ordering::SeqCst);
    }
}

fn plus_one(inputs: &[Input<'_>]) -> Result<RunOutputs, EngineError> {
    FakeEngine::new(COLUMNS, Duration::ZERO).run(inputs, &[0], None)
}

/// A mirror, and what stands around it.
struct World {
    telemetry: Arc<Telemetry>,
    mirror: Arc<Mirror>,
}

/// A route and what its samples are made of.
struct Mirroring {
    route: Arc<ServedRoute>,
    primary: Arc<Servable>,
    waiting: Arc<AtomicUsize>,
}

impl World {
    fn new() -> World {
        let telemetry = Arc::new(Telemetry::new(TelemetryOptions::default()));
        let mirror = Mirror::start(&telemetry).expect("a thread");
        World { telemetry, mirror }
    }

    fn servable(&self, model: &str, number: u64, engine: Box<dyn Engine>) -> Arc<Servable> {
        let model = name(model);
        let labels = VersionLabels::champion(model.clone(), version(number));
        let metrics = self.telemetry.version(labels);
        let options = ExecutionOptions::default();
        let loaded = Loaded::new(model.clone(), version(number), engine, options, metrics);
        let metrics = self.telemetry.model(&model);
        let limiter = Limiter::new(Arc::clone(&metrics));
        Arc::new(Servable::new(loaded, metrics, limiter))
    }

    fn target(&self, servable: &Arc<Servable>, variant: &str) -> Arc<Target> {
        let labels = VersionLabels {
            variant: Arc::from(variant),
            ..VersionLabels::champion(servable.name().clone(), servable.version())
        };
        Arc::new(Target::new(Arc::clone(servable), labels))
    }

    /// A route of `primary`, mirrored to `shadow`.
    fn mirroring(
        &self,
        revision: u64,
        spec: RouteSpec,
        primary: &Arc<Servable>,
        shadow: Option<&Arc<Servable>>,
    ) -> Mirroring {
        let route_name = primary.name().clone();
        let document = RouteDocument::new(route_name.clone(), spec);
        let route = Route::compile(&document, None).expect("a route");
        let waiting = Arc::new(AtomicUsize::new(0));
        let mirrored = shadow.map(|shadow| Mirrored {
            target: self.target(shadow, VariantName::SHADOW),
            waiting: Arc::clone(&waiting),
        });
        let served = ServedRoute {
            route: Arc::new(route),
            revision,
            model: Arc::new(ModelEntry::default()),
            targets: vec![Ok(self.target(primary, VariantName::CHAMPION))],
            pins: Vec::new(),
            shadow: mirrored,
            units: Arc::new(Units::new(1)),
            metrics: self.telemetry.route(&route_name, &[VariantName::champion()]),
        };
        Mirroring { route: Arc::new(served), primary: Arc::clone(primary), waiting }
    }

    /// A route of that name, whose primary adds one, mirrored to `shadow`.
    fn route(&self, model: &str, shadow: ShadowSpec, engine: Box<dyn Engine>) -> Mirroring {
        let primary = self.servable(model, 1, Box::new(FakeEngine::new(COLUMNS, Duration::ZERO)));
        let shadow_version = self.servable(model, 2, engine);
        let spec = RouteSpec { shadow: Some(shadow), ..RouteSpec::default() };
        self.mirroring(1, spec, &primary, Some(&shadow_version))
    }

    fn report(&self, model: &str) -> ShadowReport {
        self.mirror.report(&name(model)).expect("a report")
    }
}

impl Mirroring {
    /// One row, and what the primary answered.
    fn sample(&self, values: [f32; COLUMNS], answer: [f32; COLUMNS]) -> Sample {
        let dims = [1, COLUMNS as i64];
        Sample {
            recording: None,
            observing: None,
            body_bytes: 0,
            route: Arc::clone(&self.route),
            primary: Arc::clone(&self.primary),
            request_id: smallvec![b'i', b'd', b'-', b'1'],
            work: Work {
                inputs: smallvec![tensor(dims, &values)],
                wanted: smallvec![0],
                deadline: Instant::now() + PATIENCE,
                priority: Priority::Normal,
                variant: None,
            },
            done: Done {
                outputs: smallvec![tensor(dims, &answer)],
                timings: Timings {
                    waited: Duration::ZERO,
                    ran: Duration::from_micros(50),
                    rows: 1,
                },
            },
        }
    }

    /// As the primary answers: plus one.
    fn right(&self) -> Sample {
        self.sample([0.0, 1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0])
    }

    fn metrics(&self) -> &RouteMetrics {
        &self.route.metrics
    }

    fn ended(&self, outcome: ShadowOutcome) -> u64 {
        self.metrics().shadow.outcomes()[outcome as usize]
    }

    fn dropped(&self, reason: ShadowDrop) -> u64 {
        self.metrics().shadow.drops()[reason as usize]
    }

    fn wait_for(&self, outcome: ShadowOutcome, count: u64) {
        until(outcome.label(), || self.ended(outcome) >= count);
    }
}

/// Nothing is dropped because the machine is slow.
fn generous() -> ShadowSpec {
    ShadowSpec {
        cpu_percent: modelgate::types::Weight::ALL,
        timeout_ms: 60_000,
        ..ShadowSpec::default()
    }
}

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
fn a_shadow_that_is_too_dear_is_sampled_less() {
    let world = World::new();
    let percent = modelgate::types::Weight::from_percent(1.0).expect("a weight");
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
