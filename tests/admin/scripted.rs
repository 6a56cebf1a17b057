//! The admin API in this process, before a lifecycle that answers by script:
//! the model `absent` is not there, with `stuck` nothing can be done, `broken`
//! is rejected, and `slow` is never answered. Routes of these names likewise;
//! of `broken` a weight is wrong. The gateway beside it has the route
//! `breast-cancer`, of which one variant is not ready.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use arc_swap::ArcSwap;
use modelgate::api::{self, net, serve_admin};
use modelgate::control::retrain::Retrain;
use modelgate::control::{
    Asked, AuditEntry, Command, Control, ControlError, Hold, ModelStatus, ProbeStatus,
    RegistryStatus, RouteChange, RouteStatus, Status, TrafficChange, VariantState, VariantStatus,
    VersionStatus,
};
use modelgate::request::Gateway;
use modelgate::routing::{Route, RouteDocument, Units, VersionRef};
use modelgate::serving::{ServedRoute, Target};
use modelgate::telemetry::VersionLabels;
use modelgate::types::{
    DType, Digest, Dim, ModelName, RejectKind, Rejection, Signature, Stage, TensorSpec,
    VariantName, Version, Weight,
};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::fake_gateway;
use crate::support::http::{Reply, Request};

/// 2026-11-21 12:00:00Z.
pub const NOON: u64 = 1_795_262_400_000;

pub struct Admin {
    pub address: SocketAddr,
    pub control: Control,
    /// What the lifecycle was asked for, in words.
    asked: Arc<Mutex<Vec<String>>>,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
    runtime: Runtime,
}

impl Admin {
    pub fn start() -> Admin {
        Admin::showing(status())
    }

    pub fn showing(status: Status) -> Admin {
        let (control, commands) = Control::scripted(status);
        let admin = Admin::before(control);
        admin.runtime.spawn(answer_all(commands, Arc::clone(&admin.asked)));
        admin
    }

    /// An API whose commands come out here.
    pub fn unanswered() -> (Admin, mpsc::Receiver<Command>) {
        let (control, commands) = Control::scripted(status());
        (Admin::before(control), commands)
    }

    fn before(control: Control) -> Admin {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = {
            let _inside = runtime.enter();
            net::bind("127.0.0.1:0".parse().expect("an address")).expect("a port")
        };
        let address = listener.address;
        let (stop, stopped) = watch::channel(false);
        let config = Arc::new(ArcSwap::from_pointee(json!({"server": {"admin": "here"}})));
        let gateway = gateway();
        let retrain = Retrain::off();
        let admin = api::Admin { control: control.clone(), config, gateway, retrain };
        let server = runtime.spawn(serve_admin(listener, admin, stopped));
        Admin { address, control, asked: Arc::default(), stop, server, runtime }
    }

    pub fn send(&self, request: Request) -> Reply {
        self.send_as(request, &self.address.to_string())
    }

    /// Calls the API by another name.
    pub fn send_as(&self, request: Request, host: &str) -> Reply {
        request.header("host", host).send(self.address)
    }

    /// Asks for more than the lifecycle takes.
    pub fn fill_queue(&self) {
        let is_full = || {
            self.runtime.block_on(async {
                let mut poke = pin!(self.control.poke(None));
                let asked = poll_fn(|context| Poll::Ready(poke.as_mut().poll(context))).await;
                matches!(asked, Poll::Ready(Err(ControlError::Busy)))
            })
        };
        assert!((0..10_000).any(|_| is_full()), "the queue has no end");
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was asked for since the last look.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().expect("no panic"))
    }

    /// Tells the API to stop and waits for it.
    pub fn stop(self) {
        self.stop.send_replace(true);
        let ended = async { tokio::time::timeout(Duration::from_secs(10), self.server).await };
        self.runtime.block_on(ended).expect("it stops in time").expect("no panic");
        self.runtime.shutdown_background();
    }
}

pub async fn answer_all(mut commands: mpsc::Receiver<Command>, asked: Arc<Mutex<Vec<String>>>) {
    // A reply that is dropped would be an answer.
    let mut unanswered = Vec::new();
    let note = |text: String| asked.lock().expect("no panic").push(text);
    while let Some(command) = commands.recv().await {
        match command {
            Command::Poke(registry, reply) => {
                note(format!("poke {registry:?}"));
                let _ = reply.send(match registry.as_deref() {
                    None => Ok(vec!["models".to_owned(), "store".to_owned()]),
                    Some("models") => Ok(vec!["models".to_owned()]),
                    Some(name) => Err(ControlError::UnknownRegistry {
                        name: name.to_owned(),
                        known: "models, store".to_owned(),
                    }),
                });
            }
            Command::Rollback(model, to, by, reply) => {
                note(format!("rollback {model} to {to:?}{}", who(&by)));
                let version = to.unwrap_or(number(1));
                let (actor, reason) = (by.actor, by.reason);
                let hold = Hold { version, digest: digest(1), actor, reason, since: NOON };
                let _ = reply.send(outcome(&model).map(|()| hold));
            }
            Command::Release(model, by, reply) => {
                note(format!("release {model}{}", who(&by)));
                let _ = reply.send(outcome(&model));
            }
            Command::Load(model, by, reply) => {
                note(format!("load {model}{}", who(&by)));
                if model.as_str() == "slow" {
                    unanswered.push(reply);
                } else {
                    let _ = reply.send(outcome(&model));
                }
            }
            Command::Unload(model, by, reply) => {
                note(format!("unload {model}{}", who(&by)));
                let _ = reply.send(outcome(&model));
            }
            Command::Retry(model, version, by, reply) => {
                note(format!("retry {model} {version}{}", who(&by)));
                let _ = reply.send(outcome(&model));
            }
            Command::Audit(model, most, reply) => {
                note(format!("audit {model:?} {most}"));
                let _ = reply.send(Ok(audit()));
            }
            // Only the configuration's reload asks for it.
            Command::Apply(_, reply) | Command::ReadProfiles(reply) => drop(reply),
            Command::ApplyRoutes(documents, dry_run, by, reply) => {
                let names: Vec<&str> = documents.iter().map(|one| one.name().as_str()).collect();
                note(format!("apply {} dry_run={dry_run}{}", names.join(","), who(&by)));
                let changes = documents.iter().map(|one| changed(one.name(), Some(one)));
                let _ = reply.send(changes.collect());
            }
            Command::DeleteRoute(route, by, reply) => {
                note(format!("delete {route}{}", who(&by)));
                let _ = reply.send(changed(&route, None));
            }
            Command::SetTraffic(route, weights, by, reply) => {
                let weights = weights.iter().map(|(name, weight)| format!("{name}={weight}"));
                let weights = weights.collect::<Vec<_>>().join(",");
                note(format!("traffic {route} [{weights}]{}", who(&by)));
                let _ = reply.send(of_route(&route).map(|()| route_status(route.as_str())));
            }
            Command::Promote(route, promotion, by, reply) => {
                note(format!("promote {route} {promotion:?}{}", who(&by)));
                let _ = reply.send(of_route(&route).map(|()| route_status(route.as_str())));
            }
        }
    }
}

fn who(asked: &Asked) -> String {
    format!(" by {} because {:?}", asked.actor, asked.reason)
}

fn outcome(model: &ModelName) -> Result<(), ControlError> {
    match model.as_str() {
        "absent" => Err(ControlError::UnknownModel("absent".to_owned())),
        "stuck" => Err(ControlError::Refused("stuck is not in explicit mode".to_owned())),
        "broken" => Err(ControlError::Rejected {
            model: model.clone(),
            version: number(3),
            rejection: Rejection::new(RejectKind::BadModel, "no graph"),
        }),
        _ => Ok(()),
    }
}

/// What applying or deleting a route comes to: it had a smaller weight before.
fn changed(name: &ModelName, to: Option<&RouteDocument>) -> Result<RouteChange, ControlError> {
    of_route(name)?;
    let before = document(name.as_str());
    let same = to == Some(&before);
    let outcome = match to {
        None => "deleted",
        Some(_) if same => "unchanged",
        Some(_) => "changed",
    };
    Ok(RouteChange {
        name: name.clone(),
        outcome: outcome.to_owned(),
        revision: 7,
        moved_units: if same { 0.0 } else { 2.5 },
        warnings: if same { Vec::new() } else { vec!["a\u{1b}[31m is loading".to_owned()] },
        before: Some(before),
    })
}

fn of_route(name: &ModelName) -> Result<(), ControlError> {
    match name.as_str() {
        "absent" => Err(ControlError::UnknownRoute("absent".to_owned())),
        "stuck" => Err(ControlError::Refused("stuck stands in routes/stuck.yaml".to_owned())),
        "broken" => Err(ControlError::BadRoute {
            route: name.clone(),
            path: "spec.variants.1.weight".to_owned(),
            message: "version 4 is not there".to_owned(),
        }),
        _ => Ok(()),
    }
}

/// A route in which every key is set.
pub const ROUTE: &str = r#"apiVersion: modelgate.dev/v1
kind: Route
metadata:
  name: NAME
  labels: {team: health}
spec:
  model: breast-cancer
  variants:
  - name: champion
    version: stable
  - name: candidate
    version: 3
    weight: 2.5
    maxWeight: 50
  match:
  - variant: candidate
    headers: [{name: x-group, exact: staff}]
  - variant: candidate
    headers:
    - {name: x-tenant, prefix: eu-}
    - {name: user-agent, regex: "curl/[0-9.]+"}
  stickiness:
    key: [{header: x-user-id}, {parameter: customer}]
    salt: cohort-1
  shadow:
    version: latest
    percent: 10
    compare:
      outputs: {probabilities: {kind: classScores, rtol: 0.01, atol: 0.001}}
"#;

pub fn document(name: &str) -> RouteDocument {
    serde_saphyr::from_str(&ROUTE.replace("NAME", name)).expect("a route")
}

pub fn weight(percent: f64) -> Weight {
    Weight::from_percent(percent).expect("a weight")
}

pub fn route_status(text: &str) -> RouteStatus {
    let champion = VariantStatus {
        name: "champion".to_owned(),
        declared: VersionRef::Label("stable".to_owned()),
        version: Some(number(2)),
        digest: Some(digest(2)),
        weight: weight(95.0),
        declared_weight: weight(97.5),
        slots: None,
        state: VariantState::Ready,
        reason: None,
        assigned: 950,
        fell_back: 0,
        breaker_open: false,
    };
    let candidate = VariantStatus {
        name: "candidate".to_owned(),
        declared: VersionRef::Number(number(3)),
        version: None,
        digest: None,
        weight: weight(5.0),
        declared_weight: weight(2.5),
        slots: Some((0, 5000)),
        state: VariantState::Rejected,
        reason: Some("golden_mismatch: \u{1b}[31moutput 'y' differs".to_owned()),
        assigned: 50,
        fell_back: 49,
        breaker_open: true,
    };
    let shadow = VariantStatus {
        name: "shadow".to_owned(),
        declared: VersionRef::Latest,
        weight: weight(10.0),
        ..champion.clone()
    };
    RouteStatus {
        name: name(text),
        model: name("breast-cancer"),
        revision: 6,
        origin: "routes/cancer.yaml".to_owned(),
        document: document(text),
        variants: vec![champion, candidate],
        shadow: Some(shadow),
        traffic: Some(TrafficChange {
            weights: [(VariantName::parse("candidate").expect("a name"), weight(5.0))].into(),
            actor: "ada".to_owned(),
            reason: "looks well".to_owned(),
            since: NOON,
        }),
        champion: status_hold(),
        held_back: Some(number(4)),
        problems: vec!["candidate: version 3 was rejected".to_owned()],
        srm_log_bayes_factor: 9.25,
    }
}

fn status_hold() -> Option<Hold> {
    Some(Hold {
        version: number(2),
        digest: digest(2),
        actor: "ada".to_owned(),
        reason: "3 was\u{1b}[31m late".to_owned(),
        since: NOON,
    })
}

/// Has the model and the route `breast-cancer`: the champion is version 1, the
/// candidate is not ready; and the model `m0` without a route.
fn gateway() -> Arc<Gateway> {
    let gateway = fake_gateway::gateway(1, 2);
    fake_gateway::publish(&gateway, "breast-cancer", 2);
    let (name, document) = (name("breast-cancer"), document("breast-cancer"));
    let model = Arc::clone(gateway.catalog.load().model(name.as_str()).expect("published"));
    let route = Arc::new(Route::compile(&document, None).expect("valid"));
    let variants: Vec<VariantName> = route.variants.iter().map(|one| one.name.clone()).collect();
    let servable = Arc::clone(model.default.as_ref().expect("ready"));
    let labels = VersionLabels::champion(name.clone(), servable.version());
    let served = ServedRoute {
        metrics: gateway.telemetry.route(&name, &variants),
        route,
        revision: 6,
        model,
        targets: vec![
            Ok(Arc::new(Target::new(servable, labels))),
            Err("version 3 was rejected".into()),
        ],
        pins: Vec::new(),
        shadow: None,
        units: Arc::new(Units::new(2)),
    };
    gateway.catalog.publish([], [(name, Some(Arc::new(served)))]);
    Arc::new(gateway)
}

pub fn name(text: &str) -> ModelName {
    ModelName::parse(text).expect("a name")
}

pub fn number(number: u64) -> Version {
    Version::parse(&number.to_string()).expect("a version")
}

pub fn digest(byte: u8) -> Digest {
    Digest::new([byte; 32])
}

pub fn version(version: u64, stage: Stage) -> VersionStatus {
    VersionStatus {
        version: number(version),
        digest: digest(u8::try_from(version).expect("small")),
        stage,
        since: NOON,
        reason: None,
        rejected: None,
        bytes: 2048,
        fetched_bytes: 2048,
        memory_bytes: None,
        kept: false,
        signature: None,
        probe: None,
    }
}

pub fn model(text: &str, versions: Vec<VersionStatus>) -> ModelStatus {
    ModelStatus {
        name: name(text),
        registry: "models".to_owned(),
        default: None,
        hold: None,
        labels: Default::default(),
        explicit: false,
        options_error: None,
        unloaded: Vec::new(),
        versions,
    }
}

/// Every field of every document is set somewhere in it.
pub fn status() -> Status {
    let tensor = |name: &str, labels: &[&str]| TensorSpec {
        name: name.into(),
        dtype: DType::Fp32,
        dims: vec![Dim::Free(None), Dim::Fixed(2)],
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
    };
    let rejected = VersionStatus {
        rejected: Some(RejectKind::GoldenMismatch),
        reason: Some(format!("output 'y' differs by 0.25 {}", "at many places ".repeat(8))),
        ..version(3, Stage::Rejected)
    };
    let served = VersionStatus {
        memory_bytes: Some(5 << 20),
        signature: Some(Signature {
            inputs: vec![tensor("x", &[])],
            outputs: vec![tensor("y", &["no", "yes"])],
        }),
        probe: Some(ProbeStatus {
            peak_bytes: 9 << 20,
            load_ms: 12,
            run_us: Some(31.5),
            golden_cases: 3,
        }),
        ..version(2, Stage::Ready)
    };
    let kept = VersionStatus { kept: true, ..version(1, Stage::Ready) };
    let cancer = ModelStatus {
        default: Some(number(2)),
        hold: status_hold(),
        labels: [("stable".to_owned(), number(2))].into(),
        options_error: Some("lanes: expected 1 to 256, got 0".to_owned()),
        ..model("breast-cancer", vec![rejected, served, kept])
    };
    let fetching = VersionStatus { fetched_bytes: 1024, ..version(1, Stage::Fetching) };
    let explicit = ModelStatus {
        explicit: true,
        unloaded: vec![number(2), number(1)],
        ..model("on-request", Vec::new())
    };
    Status {
        routes: Arc::new(vec![Arc::new(route_status("breast-cancer"))]),
        registries: vec![RegistryStatus {
            name: "models".to_owned(),
            location: "/srv/models".to_owned(),
            stale: true,
            synced_at: Some(NOON),
            error: Some("cannot reach the registry: connection refused".to_owned()),
            unfinished: vec!["digits 4: no manifest yet".to_owned()],
        }],
        models: vec![cancer, model("digits", vec![fetching]), explicit],
    }
}

pub fn audit() -> Vec<AuditEntry> {
    vec![AuditEntry {
        at: NOON,
        actor: "ada".to_owned(),
        action: "rollback".to_owned(),
        model: Some(name("breast-cancer")),
        route: None,
        version: Some(number(2)),
        digest: Some(digest(2)),
        outcome: "held".to_owned(),
        reason: Some("3 was late".to_owned()),
    }]
}
