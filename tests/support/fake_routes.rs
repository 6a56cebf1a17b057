//! A route over two versions of one model with scripted engines, and requests to it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use modelgate::admission::{ByteBudget, Limiter};
use modelgate::engine::{Engine, EngineError, FakeEngine, Input, RunOutputs};
use modelgate::request::{Call, Gateway};
use modelgate::routing::{Route, RouteDocument, Units};
use modelgate::serving::{ExecutionOptions, Loaded, ModelEntry, Servable, ServedRoute, Target};
use modelgate::shadow::Mirror;
use modelgate::telemetry::{Protocol, Telemetry, TelemetryOptions, VersionLabels};
use modelgate::types::{
    DType, InferError, InferRequest, InputTensor, ModelName, Parameter, Payload, Shape, Signature,
    Tensor, Version,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    Sound,
    Fails,
    Panics,
    NotANumber,
    Hangs,
    /// The version is not ready.
    Absent,
}

struct Scripted {
    inner: FakeEngine,
    behaviour: Behaviour,
    runs: Arc<AtomicUsize>,
}

impl Engine for Scripted {
    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn memory_bytes(&self) -> u64 {
        0
    }

    fn run(
        &self,
        inputs: &[Input<'_>],
        wanted: &[usize],
        deadline: Option<Instant>,
    ) -> Result<RunOutputs, EngineError> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        match self.behaviour {
            Behaviour::Sound | Behaviour::Absent => self.inner.run(inputs, wanted, deadline),
            Behaviour::Fails => Err(EngineError::Run("it does not like the input".to_owned())),
            Behaviour::Panics => panic!("scripted"),
            Behaviour::NotANumber => {
                let shape = Shape::new([1, 1]).expect("a shape");
                let data = Bytes::copy_from_slice(&f32::NAN.to_le_bytes());
                Ok([Tensor::new(DType::Fp32, shape, data).expect("a tensor")].into_iter().collect())
            }
            Behaviour::Hangs => {
                let until = deadline.unwrap_or(Instant::now() + Duration::from_secs(5));
                std::thread::sleep(until.saturating_duration_since(Instant::now()));
                Err(EngineError::Stopped)
            }
        }
    }
}

pub struct World {
    gateway: Gateway,
    served: Arc<ServedRoute>,
    candidate: Arc<Servable>,
    candidate_runs: Arc<AtomicUsize>,
    runtime: tokio::runtime::Runtime,
}

/// What a request says.
pub struct Asked<'a> {
    pub headers: &'a HeaderMap,
    pub version: &'static str,
    pub parameters: Vec<(&'static str, Parameter<'static>)>,
    pub timeout: Option<Duration>,
}

impl<'a> Asked<'a> {
    pub fn with(headers: &'a HeaderMap) -> Asked<'a> {
        Asked { headers, version: "", parameters: Vec::new(), timeout: None }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub struct Answered {
    pub variant: String,
    pub version: u64,
}

impl World {
    /// The route `r` of this spec (JSON) over versions 1 and 2 of the model `m`.
    pub fn new(spec: &str, [champion, candidate]: [Behaviour; 2]) -> World {
        let telemetry = Arc::new(Telemetry::new(TelemetryOptions::default()));
        let mirror = Mirror::start(&telemetry).expect("a mirror");
        let budget = ByteBudget::new(1 << 30);
        let recording = Arc::new(modelgate::predictions::Recording::off());
        let gateway = Gateway::new(telemetry, budget, mirror, recording, Duration::from_secs(60));
        let name = |text| ModelName::parse(text).expect("a legal name");
        let limiter = Limiter::new(gateway.telemetry.model(&name("m")));
        let candidate_runs = Arc::new(AtomicUsize::new(0));
        let version = |number: u64, behaviour, runs: &Arc<AtomicUsize>| {
            let version = Version::parse(&number.to_string()).expect("a version");
            let labels = VersionLabels::champion(name("m"), version);
            let metrics = gateway.telemetry.version(labels);
            let inner = FakeEngine::new(1, Duration::ZERO);
            let engine = Box::new(Scripted { inner, behaviour, runs: Arc::clone(runs) });
            let loaded =
                Loaded::new(name("m"), version, engine, ExecutionOptions::default(), metrics);
            let model_metrics = gateway.telemetry.model(&name("m"));
            Arc::new(Servable::new(loaded, model_metrics, Arc::clone(&limiter)))
        };
        let first = version(1, champion, &Arc::default());
        let second = version(2, candidate, &candidate_runs);
        let ready = [(&first, champion), (&second, candidate)]
            .into_iter()
            .filter(|(_, behaviour)| *behaviour != Behaviour::Absent)
            .map(|(servable, _)| (servable.version(), Arc::clone(servable)));
        let model = Arc::new(ModelEntry {
            default: Some(Arc::clone(&first)),
            ready: ready.collect(),
            ..ModelEntry::default()
        });

        let spec = serde_json::from_str(spec).expect("a spec");
        let mut document = RouteDocument::new(name("r"), spec);
        document.spec.model = Some(name("m"));
        let route = Route::compile(&document, None).expect("a sound route");
        let labels = |variant: &str, servable: &Servable| VersionLabels {
            route: name("r"),
            variant: Arc::from(variant),
            ..VersionLabels::champion(name("m"), servable.version())
        };
        let target = |variant: &str, servable: &Arc<Servable>| {
            Arc::new(Target::new(Arc::clone(servable), labels(variant, servable)))
        };
        let targets = route.variants.iter().map(|variant| {
            let (servable, behaviour) =
                if variant.name.is_champion() { (&first, champion) } else { (&second, candidate) };
            match behaviour {
                Behaviour::Absent => Err(Arc::from("it is not loaded")),
                _ => Ok(target(variant.name.as_str(), servable)),
            }
        });
        let names: Vec<_> = route.variants.iter().map(|variant| variant.name.clone()).collect();
        let served = Arc::new(ServedRoute {
            revision: 1,
            targets: targets.collect(),
            pins: model.ready.values().map(|servable| target("pinned", servable)).collect(),
            shadow: None,
            metrics: gateway.telemetry.route(&name("r"), &names),
            units: Arc::new(Units::new(names.len())),
            model: Arc::clone(&model),
            route: Arc::new(route),
        });
        gateway
            .catalog
            .publish([(name("m"), Some(model))], [(name("r"), Some(Arc::clone(&served)))]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        World { gateway, served, candidate: second, candidate_runs, runtime }
    }

    pub fn ask(&self, asked: &Asked<'_>) -> Result<Answered, InferError> {
        let call = Call {
            protocol: Protocol::HttpJson,
            model: "r",
            version: asked.version,
            headers: asked.headers,
            timeout: asked.timeout,
            body_bytes: 0,
            received: Instant::now(),
        };
        let shape = Shape::new([1, 1]).expect("a shape");
        let data = Bytes::copy_from_slice(&1f32.to_le_bytes());
        let tensor = Tensor::new(DType::Fp32, shape, data).expect("a tensor");
        let inputs = [InputTensor { name: Cow::from("x"), tensor }].into_iter().collect();
        let parameters = asked.parameters.iter().cloned();
        let request = InferRequest {
            payload: Payload::Inputs(inputs),
            parameters: parameters.map(|(name, value)| (Cow::from(name), value)).collect(),
            ..InferRequest::default()
        };
        self.runtime.block_on(async {
            let ticket = self.gateway.route(&call)?;
            let mut begun = ticket.begin(&call, request)?;
            begun
                .answer(|answer| {
                    let variant = String::from_utf8_lossy(&answer.variant).into_owned();
                    Ok(Answered { variant, version: answer.servable.version().get() })
                })
                .await
        })
    }

    fn totals(&self) -> BTreeMap<String, (u64, u64)> {
        let totals = self.served.metrics.totals().into_iter();
        totals
            .map(|(name, assigned, fell_back)| (name.to_string(), (assigned, fell_back)))
            .collect()
    }

    /// By champion and candidate.
    pub fn assigned(&self) -> [u64; 2] {
        let totals = self.totals();
        ["champion", "candidate"].map(|name| totals.get(name).map_or(0, |totals| totals.0))
    }

    pub fn fell_back(&self) -> [u64; 2] {
        let totals = self.totals();
        ["champion", "candidate"].map(|name| totals.get(name).map_or(0, |totals| totals.1))
    }

    /// Requests counted for a variant of the route, by their code.
    pub fn requests(&self, variant: &str, code: &str) -> f64 {
        let page = self.gateway.telemetry.render();
        let labels = [format!("variant=\"{variant}\""), format!("code=\"{code}\"")];
        page.lines()
            .filter(|line| line.starts_with("modelgate_requests_total{"))
            .filter(|line| line.contains("route=\"r\"") && labels.iter().all(|l| line.contains(l)))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    pub fn candidate_is_shut(&self) -> bool {
        self.candidate.breaker.is_open()
    }

    pub fn candidate_runs(&self) -> usize {
        self.candidate_runs.load(Ordering::Relaxed)
    }
}
