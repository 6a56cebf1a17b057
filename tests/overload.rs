//! More load than a model can take.

mod support;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use modelgate::admission::Limiter;
use modelgate::engine::{Engine, EngineError, FakeEngine, Input, RunOutputs};
use modelgate::serving::{Execution, ExecutionOptions, Loaded, Servable, Work};
use modelgate::telemetry::{Telemetry, TelemetryOptions, VersionLabels};
use modelgate::types::{
    Code, DType, ModelName, Priority, Reason, Shape, Signature, Tensor, Version,
};
use support::gateway::{Gateway, Launch};
use support::grpc::Client;
use support::metrics::Scrape;
use support::predict::{Face, Predict, tensor};
use support::registry::Registry;
use support::zoo::{self, floats, longs};

const RUN: Duration = Duration::from_millis(2);
const DEADLINE: Duration = Duration::from_millis(100);

/// A model that takes its time, but no core: whatever else the machine does,
/// it runs about as long.
struct Sleeper(FakeEngine);

impl Engine for Sleeper {
    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn memory_bytes(&self) -> u64 {
        self.0.memory_bytes()
    }

    fn run(
        &self,
        inputs: &[Input<'_>],
        wanted: &[usize],
        deadline: Option<Instant>,
    ) -> Result<RunOutputs, EngineError> {
        std::thread::sleep(RUN);
        self.0.run(inputs, wanted, deadline)
    }
}

/// One row at a time, on one lane.
fn servable(queue_requests: usize) -> Rc<Servable> {
    let name = ModelName::parse("m").expect("a name");
    let telemetry = Telemetry::new(TelemetryOptions::default());
    let metrics = telemetry.version(VersionLabels::champion(name.clone(), Version::FIRST));
    let options = ExecutionOptions {
        execution: Execution::Lane,
        batching: false,
        queue_requests,
        ..ExecutionOptions::default()
    };
    let model_metrics = telemetry.model(&name);
    let limiter = Limiter::new(Arc::clone(&model_metrics));
    let engine = Box::new(Sleeper(FakeEngine::new(1, Duration::ZERO)));
    let loaded = Loaded::new(name, Version::FIRST, engine, options, metrics);
    loaded.cost.set(4, RUN.as_nanos() as u64);
    Rc::new(Servable::new(loaded, model_metrics, limiter))
}

fn work(priority: Priority, deadline: Instant) -> Work {
    let shape = Shape::new([1, 1]).expect("a shape");
    let row = Tensor::new(DType::Fp32, shape, vec![0; 4].into()).expect("a row");
    Work {
        inputs: [row].into_iter().collect(),
        wanted: [0].into_iter().collect(),
        deadline,
        priority,
        variant: None,
    }
}

/// What came of the requests of a class.
#[derive(Debug, Default)]
struct Outcomes {
    ok: usize,
    late: usize,
    refused: BTreeMap<&'static str, usize>,
}

impl Outcomes {
    fn all(&self) -> usize {
        self.ok + self.late + self.refused.values().sum::<usize>()
    }
}

type Seen = Rc<RefCell<BTreeMap<Priority, Outcomes>>>;

/// Asks now, and writes down what comes of it.
fn ask(servable: &Rc<Servable>, class: Priority, seen: &Seen) {
    let (servable, seen) = (Rc::clone(servable), Rc::clone(seen));
    let deadline = Instant::now() + DEADLINE;
    let mut running = servable.start(work(class, deadline));
    tokio::task::spawn_local(async move {
        let answer = running.answer(&servable).await;
        let mut seen = seen.borrow_mut();
        let outcomes = seen.entry(class).or_default();
        match answer.map_err(|error| (error.code, error.reason, error.retry_after)) {
            Ok(_) if Instant::now() <= deadline + RUN => outcomes.ok += 1,
            Ok(_) | Err((Code::DeadlineExceeded, ..)) => outcomes.late += 1,
            Err((Code::Unavailable, Some(reason), Some(_))) => {
                *outcomes.refused.entry(reason.label()).or_default() += 1;
            }
            Err(error) => panic!("{error:?}"),
        }
    });
}

fn on_one_thread(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    tokio::task::LocalSet::new().block_on(&runtime.expect("a runtime"), test);
}

#[test]
fn ten_times_the_load_is_shed_by_class_and_the_rest_is_in_time() {
    on_one_thread(async {
        let servable = servable(512);
        let seen = Seen::default();
        // 5,000 a second where 500 can be served: of 40 one is critical and four are batch.
        let (start, mut sent) = (Instant::now(), 0_u32);
        while start.elapsed() < Duration::from_secs(2) {
            while start + sent * RUN / 10 <= Instant::now() {
                let class = match sent % 40 {
                    0 => Priority::Critical,
                    1..=4 => Priority::Batch,
                    _ => Priority::Normal,
                };
                ask(&servable, class, &seen);
                sent += 1;
            }
            tokio::time::sleep(RUN / 2).await;
        }
        // Whatever waits is answered or refused by its deadline.
        tokio::time::sleep(DEADLINE + 10 * RUN).await;
        let seen = seen.take();
        let of = |class| seen.get(&class).expect("some of each class");
        assert_eq!(seen.values().map(Outcomes::all).sum::<usize>(), sent as usize, "{seen:?}");
        assert_eq!(servable.limiter.inside(), 0, "the queue is empty");
        let (critical, normal, batch) =
            (of(Priority::Critical), of(Priority::Normal), of(Priority::Batch));
        assert!(critical.ok * 10 >= critical.all() * 9, "{seen:?}");
        assert!(normal.refused.values().sum::<usize>() > normal.all() / 2, "{seen:?}");
        assert!(batch.ok * 10 <= batch.all(), "{seen:?}");
        let served: usize = seen.values().map(|outcomes| outcomes.ok).sum();
        let late: usize = seen.values().map(|outcomes| outcomes.late).sum();
        assert!(served >= 300, "{seen:?}");
        assert!(late * 10 <= served, "{seen:?}");
        // And then there is nothing in the way.
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut last = servable.start(work(Priority::Shadow, deadline));
        last.answer(&servable).await.expect("an answer");
    });
}

#[test]
fn what_would_expire_is_refused_at_the_door() {
    on_one_thread(async {
        let servable = servable(512);
        let start = |has: u32| servable.start(work(Priority::Normal, Instant::now() + has * RUN));
        // A queue; then one that cannot wait for it, and one that can.
        let mut before: Vec<_> = (0..20).map(|_| start(10_000)).collect();
        let refused = start(5).answer(&servable).await.expect_err("no time for that");
        assert_eq!((refused.code, refused.reason), (Code::Unavailable, Some(Reason::WouldExpire)));
        start(10_000).answer(&servable).await.expect("an answer");
        for running in &mut before {
            running.answer(&servable).await.expect("an answer");
        }
    });
}

#[test]
fn a_class_that_matters_more_pushes_another_out_of_a_full_queue() {
    on_one_thread(async {
        let servable = servable(2);
        let start = |class| servable.start(work(class, Instant::now() + 10_000 * RUN));
        let mut running = start(Priority::Normal);
        // Until the lane has taken it, it waits like the others.
        tokio::time::sleep(RUN / 2).await;
        let mut older = start(Priority::Batch);
        let mut newer = start(Priority::Batch);
        let mut critical = start(Priority::Critical);
        let refused = newer.answer(&servable).await.expect_err("pushed out");
        assert_eq!((refused.code, refused.reason), (Code::Unavailable, Some(Reason::QueueFull)));
        for running in [&mut running, &mut critical, &mut older] {
            running.answer(&servable).await.expect("an answer");
        }
    });
}

/// A gateway whose model runs for as long as it is asked to.
fn gateway(more: &str) -> (Gateway, Registry) {
    let registry = Registry::new()
        .model("slow", zoo::halving())
        .options("slow", &format!("execution: lane\n{more}"));
    (Launch::new().models(registry.path()).start(), registry)
}

fn halve(trips: i64) -> Predict {
    let inputs = [
        tensor("trips", DType::Int64, &[], longs(&[trips])),
        tensor("x", DType::Fp32, &[1], floats(&[8.0])),
    ];
    Predict::of("slow", inputs)
}

/// Waits until so many requests are under way.
#[track_caller]
fn wait_until_under_way(gateway: &Gateway, requests: u32) {
    for _ in 0..500 {
        let scrape = Scrape::of(gateway.ops);
        if scrape.sum("modelgate_inflight_requests", &[("model", "slow")]) >= f64::from(requests) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("there are never {requests}");
}

/// So many that it runs until its deadline.
const ENDLESS: i64 = 1 << 62;

#[test]
fn refusals_say_when_to_come_back_each_another_time() {
    let (gateway, _registry) = gateway("queue_requests: 1");
    std::thread::scope(|scope| {
        // One runs, one waits, and there is no room for more.
        for number in 1..=2 {
            scope.spawn(|| {
                let request = halve(ENDLESS).header("x-request-timeout-ms", "4000");
                let refused = request.ask(&gateway, Face::Json).expect_err("endless");
                refused.assert_is(Code::DeadlineExceeded);
            });
            wait_until_under_way(&gateway, number);
            std::thread::sleep(Duration::from_millis(200));
        }
        let seconds: BTreeSet<String> = (0..30)
            .map(|_| {
                let reply = halve(1).json_request().send(gateway.http);
                assert_eq!(reply.status, 503, "{}", reply.text());
                reply.header("retry-after").expect("when to come back").to_owned()
            })
            .collect();
        assert_eq!(seconds, BTreeSet::from(["1".to_owned(), "2".to_owned()]));
        let mut client = Client::connect(gateway.grpc);
        let millis: BTreeSet<u64> = (0..30)
            .map(|_| {
                let called = client.infer(&halve(1).message()).expect_err("no room");
                assert_eq!(called.code, i32::from(Code::Unavailable.grpc()));
                let pushback = &called.headers["grpc-retry-pushback-ms"];
                pushback.to_str().ok().and_then(|text| text.parse().ok()).expect("a number")
            })
            .collect();
        assert!(millis.len() > 20, "{millis:?}");
        assert!(millis.iter().all(|millis| (500..=1500).contains(millis)), "{millis:?}");
    });
    halve(1).ask(&gateway, Face::Grpc).expect("there is room again");
    let limit = Scrape::of(gateway.ops).sum("modelgate_admission_limit", &[("model", "slow")]);
    assert!(limit >= 2.0, "{limit}");
}

#[test]
fn endless_inputs_shut_nobody_out() {
    let (gateway, _registry) = gateway("");
    for _ in 0..4 {
        let request = halve(ENDLESS).header("x-request-timeout-ms", "300");
        let refused = request.ask(&gateway, Face::Binary).expect_err("endless");
        refused.assert_is(Code::DeadlineExceeded);
        // The caller left at its deadline; the run ends a moment later.
        std::thread::sleep(Duration::from_millis(100));
    }
    let labels = [("model", "slow"), ("version", "1")];
    assert_eq!(Scrape::of(gateway.ops).sum("modelgate_breaker_open", &labels), 0.0);
    halve(1).ask(&gateway, Face::Binary).expect("an answer");
}

#[test]
fn what_waits_for_a_lane_is_answered_before_the_gateway_ends() {
    let (gateway, _registry) = gateway("");
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|_| {
                let mut connection = gateway.connect();
                let request = halve(300_000).json_request();
                scope.spawn(move || connection.exchange(&request).status)
            })
            .collect();
        wait_until_under_way(&gateway, 4);
        gateway.terminate();
        for caller in callers {
            assert_eq!(caller.join().expect("no panic"), 200);
        }
    });
    assert!(gateway.wait(Duration::from_secs(20)).success());
}

#[test]
fn work_that_was_given_up_keeps_nobody_out() {
    on_one_thread(async {
        let servable = servable(512);
        // A lane with much to do, and callers who all leave before it gets there.
        let deadline = Instant::now() + Duration::from_secs(10);
        let running: Vec<_> =
            (0..200).map(|_| servable.start(work(Priority::Normal, deadline))).collect();
        let hurried = Duration::from_millis(50);
        let refused = servable.check_wait(hurried).expect_err("there is much ahead");
        assert_eq!(refused.reason, Some(Reason::WouldExpire));
        drop(running);
        let until = Instant::now() + Duration::from_secs(5);
        while servable.check_wait(hurried).is_err() {
            assert!(Instant::now() < until, "nothing waits, and nobody may come in");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
}
