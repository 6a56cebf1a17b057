//! The admin API in this process, before a lifecycle that answers by script:
//! the model `absent` is not there, with `stuck` nothing can be done, `broken`
//! is rejected, and `slow` is never answered.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use arc_swap::ArcSwap;
use modelgate::api::{net, serve_admin};
use modelgate::control::{
    Asked, AuditEntry, Command, Control, ControlError, Hold, ModelStatus, ProbeStatus,
    RegistryStatus, Status, VersionStatus,
};
use modelgate::types::{
    DType, Digest, Dim, ModelName, RejectKind, Rejection, Signature, Stage, TensorSpec, Version,
};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

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
        let server = runtime.spawn(serve_admin(listener, control.clone(), config, stopped));
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
            Command::Apply(_, reply) => drop(reply),
            Command::ApplyRoutes(_, _, _, reply) => drop(reply),
            Command::DeleteRoute(_, _, reply) => drop(reply),
            Command::SetTraffic(_, _, _, reply) => drop(reply),
            Command::Promote(_, _, _, reply) => drop(reply),
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
        hold: Some(Hold {
            version: number(2),
            digest: digest(2),
            actor: "ada".to_owned(),
            reason: "3 was\u{1b}[31m late".to_owned(),
            since: NOON,
        }),
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
        routes: Default::default(),
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
