//! The composition root: reads the configuration, wires the parts, starts and
//! stops them in order.

pub mod config;
mod files;
mod recording;
pub mod registries;
mod reload;
mod retrain;
mod routes;
mod stop;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use thiserror::Error;
use tokio::sync::watch;

use crate::admission::ByteBudget;
use crate::api::net::{self, Workers};
use crate::api::{Admin, Face, serve_admin, serve_ops};
use crate::background;
use crate::control::retrain::Sources as Known;
use crate::control::{self, Control, Journal, JournalError, Loads, Parts};
use crate::drift::live::Drift;
use crate::engine::{EngineError, Library};
use crate::predictions::archive::ArchiveError;
use crate::predictions::{LogError, OnFailure};
use crate::quality::Quality;
use crate::registry::{Cache, CacheError, Listing, Source, SourceError};
use crate::request::Gateway;
use crate::shadow::Mirror;
use crate::telemetry::{Telemetry, TelemetryOptions};
use config::Config;
use registries::{MODELS, RegistryError};
pub use reload::Origin;
use reload::{Reload, Running};
pub use routes::RoutesError;
use stop::Signals;

/// From one look for shadows that are gone to the next.
const FORGET_SHADOWS: Duration = Duration::from_secs(10);

/// How long a check waits for versions that are being written.
const CHECK_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Error)]
pub enum AppError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Registries(#[from] RegistryError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Routes(#[from] RoutesError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Retrain(#[from] retrain::RetrainStartError),
    #[error("cannot use the folder of the prediction log '{folder}': {source}")]
    PredictionLog { folder: PathBuf, source: io::Error },
    #[error("cannot list the models folder '{folder}': {source}")]
    Models { folder: PathBuf, source: io::Error },
    #[error(
        "no models folder: give --models DIR, or models.dir or registries in the configuration"
    )]
    NoModels,
    #[error("cannot listen on {address} ({what}): {source}")]
    Listen { what: &'static str, address: SocketAddr, source: io::Error },
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
}

/// Checks what `serve` would read: files of routes, the registries and, where
/// one is a folder, every `model.yaml`.
///
/// # Errors
/// Says what is wrong, one line a model.
pub fn check(config: &Config) -> Result<(), String> {
    routes::open(config).map_err(|error| error.to_string())?;
    let sources = registries::sources(config).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let mut wrong = Vec::new();
    for source in sources {
        let listing = runtime.block_on(whole(&*source)).map_err(|error| error.to_string())?;
        for (name, model) in &listing.models {
            let settings = wire::model_settings(config, name, model.options.as_deref());
            wrong.extend(settings.err().map(|error| format!("{name}: {error}")));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// A listing that no version is missing from because it was written just now.
async fn whole(source: &dyn Source) -> Result<Listing, SourceError> {
    let until = Instant::now() + CHECK_PATIENCE;
    loop {
        let listing = source.list().await?;
        let soon = source.look_again();
        let is_settling = !listing.unfinished.is_empty() && soon < source.poll_every();
        if !is_settling || Instant::now() + soon > until {
            return Ok(listing);
        }
        tokio::time::sleep(soon).await;
    }
}

/// Serves until a signal says stop. `origin` reads the configuration anew.
pub fn serve(config: Config, origin: Origin) -> Result<(), AppError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // Accepting, scrapes, signals and the lifecycle; requests run on the
        // network threads.
        .worker_threads(1)
        .thread_name("control")
        .enable_all()
        .build()?;
    let result = runtime.block_on(run(config, origin));
    // Whatever outlived the grace period ends with the process.
    runtime.shutdown_background();
    result
}

async fn run(config: Config, origin: Origin) -> Result<(), AppError> {
    let signals = Signals::listen()?;
    files::raise_limit(config.limits.max_connections);
    let folder = routes::open(&config)?;
    let library = Library::open(config.onnxruntime.path.as_deref())?;
    let journal = Journal::open(&config.server.data)?;
    let sources = registries::sources(&config)?;
    if sources.is_empty() {
        return Err(AppError::NoModels);
    }
    require_models(&config, &journal)?;
    let cache = Cache::open(&config.server.data.join("cache"), config.models.cache_bytes)?;

    let threads = wire::network_threads(&config);
    let telemetry = Arc::new(Telemetry::new(TelemetryOptions {
        nv_aliases: config.telemetry.nv_aliases,
        shards: threads,
    }));
    let budget = ByteBudget::new(config.limits.max_bytes_in_flight as u64);
    let max_request = Duration::from_millis(config.limits.max_request_ms);
    let shutdown = config.server.shutdown.clone();
    let mirror = Mirror::start(&telemetry)?;
    let (recording, archive) = recording::open(&config, threads, &telemetry)?;
    let recording = Arc::new(recording);
    let quality = match config.quality.enabled {
        true => Quality::start(wire::quality(&config, &recording), telemetry.quality())?,
        false => Quality::off(),
    };
    let drift = match config.drift.enabled {
        true => Drift::start(wire::drift(&config, threads), telemetry.drift())?,
        false => Drift::off(),
    };
    let gateway =
        Gateway::new(Arc::clone(&telemetry), budget, mirror, Arc::clone(&recording), max_request);
    let gateway = Arc::new(gateway.with_quality(quality).with_drift(Arc::clone(&drift)));
    let face =
        Arc::new(Face::new(Arc::clone(&gateway), wire::limits(&config), config.server.reflection));
    face.set_serving(false).await;

    let http = listen("http", config.server.http)?;
    let grpc = listen("grpc", config.server.grpc)?;
    let ops = listen("metrics", config.server.metrics)?;
    let admin = listen("admin", config.server.admin)?;
    let (accepting, stop_accepting) = watch::channel(false);
    let (answering, stop_answering) = watch::channel(false);
    let (serving_ops, stop_ops) = watch::channel(false);
    let ops = tokio::spawn(serve_ops(ops, Arc::clone(&gateway), stop_ops.clone()));
    let (workers, pool) = Workers::start(threads, &face, &stop_answering)?;
    tokio::spawn(Arc::clone(&workers).watch());
    let http = tokio::spawn(http.accept_into(Arc::clone(&workers), stop_accepting.clone()));
    let grpc = tokio::spawn(grpc.accept_into(workers, stop_accepting));

    let parts = Parts {
        library,
        cache,
        journal,
        catalog: Arc::clone(&gateway.catalog),
        telemetry: Arc::clone(&telemetry),
        recording: Arc::clone(&recording),
        drift: Arc::clone(&drift),
        learnt: config.server.data.join("drift"),
    };
    let declared = routes::declared(&config, folder.as_ref());
    let setup = wire::setup(&config, sources.clone(), declared);
    let (control, mut loads) = control::start(parts, setup)?;
    face.set_control(control.clone());
    let known = Known { control: control.clone(), drift, telemetry, recording };
    let retrain = retrain::open(&config, known)?;
    tokio::spawn(Arc::clone(&retrain).run());
    let shown = Arc::new(ArcSwap::from_pointee(config::shown(&config)));
    let speaks_to = Admin {
        control: control.clone(),
        config: Arc::clone(&shown),
        gateway: Arc::clone(&gateway),
        retrain,
    };
    let admin = tokio::spawn(serve_admin(admin, speaks_to, stop_ops));
    let running = Running { config, sources, folder };
    tokio::spawn(Reload::new(running, origin, control.clone(), shown).run());
    tokio::spawn(tell_readiness(control, Arc::clone(&gateway)));
    tokio::spawn(forget_shadows(Arc::clone(&gateway)));

    let mut stopping = std::pin::pin!(signals.first());
    let loaded = tokio::select! {
        loaded = settled(&mut loads) => Some(loaded),
        () = &mut stopping => None,
    };
    if let Some(loads) = loaded {
        gateway.readiness.set_loaded();
        background::begin_to_yield();
        face.set_serving(true).await;
        tracing::info!(ready = loads.ready, failed = loads.failed, "ready");
        stopping.await;
    }

    tracing::info!("stopping: not ready, waiting for the drain delay");
    gateway.readiness.set_draining();
    face.set_serving(false).await;
    let drained = async {
        tokio::time::sleep(Duration::from_millis(shutdown.drain_delay_ms)).await;
        accepting.send_replace(true);
        let _ = (http.await, grpc.await);
        // Not before: whoever was accepted last has a thread to answer.
        answering.send_replace(true);
        tokio::task::spawn_blocking(move || pool.join()).await
    };
    signals.or_second(Duration::from_millis(shutdown.grace_ms), drained).await;
    if let Some(log) = gateway.recording.log().cloned() {
        // Whatever was recorded is sealed; the next start makes Parquet of it.
        let end = move || {
            log.close();
            drop(archive);
        };
        let _ = tokio::task::spawn_blocking(end).await;
    }
    serving_ops.send_replace(true);
    let _ = (ops.await, admin.await);
    tracing::info!("stopped");
    Ok(())
}

/// A models folder that is not there is a mistake, unless it was there before.
fn require_models(config: &Config, journal: &Journal) -> Result<(), AppError> {
    let Some(folder) = &config.models.dir else { return Ok(()) };
    match std::fs::read_dir(folder) {
        Err(source) if journal.listing(MODELS).is_none() => {
            Err(AppError::Models { folder: folder.clone(), source })
        }
        _ => Ok(()),
    }
}

/// Waits until the models of the start are loaded. Where there are some and
/// none can be, it waits for one that can.
async fn settled(loads: &mut watch::Receiver<Loads>) -> Loads {
    let mut told = false;
    loop {
        let now = *loads.borrow_and_update();
        if now.settled && (now.ready > 0 || now.failed == 0) {
            return now;
        }
        if now.settled && !told {
            told = true;
            tracing::error!(failed = now.failed, "no model could be loaded: staying not ready");
        }
        if loads.changed().await.is_err() {
            // The lifecycle ended, which it does only with the process.
            std::future::pending::<()>().await;
        }
    }
}

/// Drops what is known of shadows that routes no longer have.
async fn forget_shadows(gateway: Arc<Gateway>) {
    let mut every = tokio::time::interval(FORGET_SHADOWS);
    loop {
        every.tick().await;
        let gateway = Arc::clone(&gateway);
        // It may wait for threads that run only where a core would be idle.
        let forgotten = tokio::task::spawn_blocking(move || {
            gateway.mirror.forget(&|name| {
                let snapshot = gateway.catalog.load();
                snapshot.route(name.as_str()).is_some_and(|served| served.route.shadow.is_some())
            });
        });
        let _ = forgotten.await;
    }
}

/// Keeps readiness informed about registries that do not answer, and about the
/// prediction log.
async fn tell_readiness(control: Control, gateway: Arc<Gateway>) {
    let mut every = tokio::time::interval(Duration::from_millis(500));
    loop {
        every.tick().await;
        let status = control.status();
        let stale = status.registries.iter().filter(|registry| registry.stale);
        gateway.readiness.set_stale(stale.map(|registry| registry.name.clone()).collect());
        let is_degraded = gateway.telemetry.log().is_degraded();
        gateway.readiness.set_log(is_degraded, is_degraded && is_strict(&gateway));
    }
}

/// Whether a model answers only what can be recorded.
fn is_strict(gateway: &Gateway) -> bool {
    let snapshot = gateway.catalog.load();
    snapshot.models().any(|(_, model)| {
        let recorder = model.default.as_ref().and_then(|servable| servable.recorder.load_full());
        recorder.is_some_and(|recorder| recorder.policy.on_failure == OnFailure::Strict)
    })
}

/// Binds one listener and says where.
fn listen(what: &'static str, address: SocketAddr) -> Result<net::Listener, AppError> {
    let listener =
        net::bind(address).map_err(|source| AppError::Listen { what, address, source })?;
    tracing::info!(listener = what, address = %listener.address, "listening");
    Ok(listener)
}
