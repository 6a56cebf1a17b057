//! The composition root: reads the configuration, wires the parts, starts and
//! stops them in order.

pub mod config;
mod files;
pub mod registries;
mod stop;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;

use crate::admission::ByteBudget;
use crate::api::net::{self, Workers};
use crate::api::{Face, serve_ops};
use crate::control::{Loads, load_folder};
use crate::engine::{EngineError, Library};
use crate::registry::FolderError;
use crate::request::Gateway;
use crate::telemetry::{Telemetry, TelemetryOptions};
use config::Config;
use stop::Signals;

#[derive(Debug, Error)]
pub enum AppError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Models(#[from] FolderError),
    #[error("no models folder: give --models DIR or models.dir in the configuration")]
    NoModels,
    #[error("cannot listen on {address} ({what}): {source}")]
    Listen { what: &'static str, address: SocketAddr, source: io::Error },
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
}

/// Checks what `serve` would read: the models folder and every `model.yaml`.
///
/// # Errors
/// Says what is wrong, one line a model.
pub fn check(config: &Config) -> Result<(), String> {
    // Without a folder there is nothing more to check: a flag may name it later.
    let Some(folder) = &config.models.dir else { return Ok(()) };
    let found = crate::registry::list(folder).map_err(|error| error.to_string())?;
    let wrong: Vec<String> =
        found.iter().filter_map(|model| wire::model_settings(config, model).err()).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// Serves until a signal says stop.
pub fn serve(config: Config) -> Result<(), AppError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // Accepting, scrapes and signals; requests run on the network threads.
        .worker_threads(1)
        .thread_name("control")
        .enable_all()
        .build()?;
    let result = runtime.block_on(run(config));
    // Whatever outlived the grace period ends with the process.
    runtime.shutdown_background();
    result
}

async fn run(config: Config) -> Result<(), AppError> {
    let folder = config.models.dir.clone().ok_or(AppError::NoModels)?;
    let signals = Signals::listen()?;
    files::raise_limit(config.limits.max_connections);
    let library = Library::open(config.onnxruntime.path.as_deref())?;

    let threads = wire::network_threads(&config);
    let telemetry = Arc::new(Telemetry::new(TelemetryOptions {
        nv_aliases: config.telemetry.nv_aliases,
        shards: threads,
    }));
    let budget = ByteBudget::new(config.limits.max_bytes_in_flight as u64);
    let max_request = Duration::from_millis(config.limits.max_request_ms);
    let shutdown = config.server.shutdown.clone();
    let gateway = Arc::new(Gateway::new(telemetry, budget, max_request));
    let face =
        Arc::new(Face::new(Arc::clone(&gateway), wire::limits(&config), config.server.reflection));
    face.set_serving(false).await;

    let http = listen("http", config.server.http)?;
    let grpc = listen("grpc", config.server.grpc)?;
    let ops = listen("metrics", config.server.metrics)?;
    let (accepting, stop_accepting) = watch::channel(false);
    let (serving_ops, stop_ops) = watch::channel(false);
    let ops = tokio::spawn(serve_ops(ops, Arc::clone(&gateway), stop_ops));
    let (workers, pool) = Workers::start(threads, &face, &stop_accepting)?;
    tokio::spawn(Arc::clone(&workers).watch());
    let http = tokio::spawn(http.accept_into(Arc::clone(&workers), stop_accepting.clone()));
    let grpc = tokio::spawn(grpc.accept_into(workers, stop_accepting));

    let loading = {
        let (gateway, config) = (Arc::clone(&gateway), config.clone());
        tokio::task::spawn_blocking(move || {
            let (catalog, telemetry) = (&gateway.catalog, &gateway.telemetry);
            load_folder(&library, &folder, catalog, telemetry, |found| {
                wire::model_settings(&config, found)
            })
        })
    };
    let mut stopping = std::pin::pin!(signals.first());
    let loaded = tokio::select! {
        loaded = loading => Some(loaded.map_err(io::Error::other)?),
        () = &mut stopping => None,
    };
    match loaded {
        Some(Err(error)) => return Err(error.into()),
        Some(Ok(Loads { ready: 0, failed })) if failed > 0 => {
            tracing::error!(failed, "no model could be loaded: staying not ready");
            stopping.await;
        }
        Some(Ok(loads)) => {
            gateway.set_loaded();
            face.set_serving(true).await;
            tracing::info!(ready = loads.ready, failed = loads.failed, "ready");
            stopping.await;
        }
        None => {}
    }

    tracing::info!("stopping: not ready, waiting for the drain delay");
    gateway.set_draining();
    face.set_serving(false).await;
    let drained = async {
        tokio::time::sleep(Duration::from_millis(shutdown.drain_delay_ms)).await;
        accepting.send_replace(true);
        let _ = (http.await, grpc.await);
        tokio::task::spawn_blocking(move || pool.join()).await
    };
    signals.or_second(Duration::from_millis(shutdown.grace_ms), drained).await;
    serving_ops.send_replace(true);
    let _ = ops.await;
    tracing::info!("stopped");
    Ok(())
}

/// Binds one listener and says where.
fn listen(what: &'static str, address: SocketAddr) -> Result<net::Listener, AppError> {
    let listener =
        net::bind(address).map_err(|source| AppError::Listen { what, address, source })?;
    tracing::info!(listener = what, address = %listener.address, "listening");
    Ok(listener)
}
