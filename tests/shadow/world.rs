//! A mirror, and routes whose samples it takes.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread;
use std::time::{Duration, Instant};

use modelgate::admission::Limiter;
use modelgate::engine::{Engine, FakeEngine};
use modelgate::routing::{Route, RouteDocument, RouteSpec, ShadowSpec, Units};
use modelgate::serving::{
    Done, ExecutionOptions, Loaded, Mirrored, ModelEntry, Servable, ServedRoute, Target, Timings,
    Work,
};
use modelgate::shadow::{Mirror, Sample, ShadowReport};
use modelgate::telemetry::{
    RouteMetrics, ShadowDrop, ShadowOutcome, Telemetry, TelemetryOptions, VersionLabels,
};
use modelgate::types::{ModelName, Priority, VariantName, Version, Weight};
use smallvec::smallvec;

use crate::engines::{COLUMNS, tensor};

/// Far longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn name(text: &str) -> ModelName {
    ModelName::parse(text).expect("a name")
}

pub fn version(number: u64) -> Version {
    Version::parse(&number.to_string()).expect("a version")
}

pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A mirror, and what stands around it.
pub struct World {
    pub telemetry: Arc<Telemetry>,
    pub mirror: Arc<Mirror>,
}

/// A route and what its samples are made of.
pub struct Mirroring {
    pub route: Arc<ServedRoute>,
    pub primary: Arc<Servable>,
    pub waiting: Arc<AtomicUsize>,
}

impl World {
    pub fn new() -> World {
        let telemetry = Arc::new(Telemetry::new(TelemetryOptions::default()));
        let mirror = Mirror::start(&telemetry).expect("a thread");
        World { telemetry, mirror }
    }

    pub fn servable(&self, model: &str, number: u64, engine: Box<dyn Engine>) -> Arc<Servable> {
        let model = name(model);
        let labels = VersionLabels::champion(model.clone(), version(number));
        let metrics = self.telemetry.version(labels);
        let options = ExecutionOptions::default();
        let loaded = Loaded::new(model.clone(), version(number), engine, options, metrics);
        let metrics = self.telemetry.model(&model);
        let limiter = Limiter::new(Arc::clone(&metrics));
        Arc::new(Servable::new(loaded, metrics, limiter))
    }

    pub fn target(&self, servable: &Arc<Servable>, variant: &str) -> Arc<Target> {
        let labels = VersionLabels {
            variant: Arc::from(variant),
            ..VersionLabels::champion(servable.name().clone(), servable.version())
        };
        Arc::new(Target::new(Arc::clone(servable), labels))
    }

    /// A route of `primary`, mirrored to `shadow`.
    pub fn mirroring(
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
    pub fn route(&self, model: &str, shadow: ShadowSpec, engine: Box<dyn Engine>) -> Mirroring {
        let primary = self.servable(model, 1, Box::new(FakeEngine::new(COLUMNS, Duration::ZERO)));
        let shadow_version = self.servable(model, 2, engine);
        let spec = RouteSpec { shadow: Some(shadow), ..RouteSpec::default() };
        self.mirroring(1, spec, &primary, Some(&shadow_version))
    }

    pub fn report(&self, model: &str) -> ShadowReport {
        self.mirror.report(&name(model)).expect("a report")
    }
}

impl Mirroring {
    /// One row, and what the primary answered.
    pub fn sample(&self, values: [f32; COLUMNS], answer: [f32; COLUMNS]) -> Sample {
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
    pub fn right(&self) -> Sample {
        self.sample([0.0, 1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0])
    }

    pub fn metrics(&self) -> &RouteMetrics {
        &self.route.metrics
    }

    pub fn ended(&self, outcome: ShadowOutcome) -> u64 {
        self.metrics().shadow.outcomes()[outcome as usize]
    }

    pub fn dropped(&self, reason: ShadowDrop) -> u64 {
        self.metrics().shadow.drops()[reason as usize]
    }

    pub fn wait_for(&self, outcome: ShadowOutcome, count: u64) {
        until(outcome.label(), || self.ended(outcome) >= count);
    }
}

/// Nothing is dropped because the machine is slow.
pub fn generous() -> ShadowSpec {
    ShadowSpec { cpu_percent: Weight::ALL, timeout_ms: 60_000, ..ShadowSpec::default() }
}
