//! Reading the configuration anew: on SIGHUP, and when its file changes. It is
//! validated whole and put into force as one, or refused with the old one kept.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use notify::{RecursiveMode, Watcher};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use super::config::{self, Config, ConfigError};
use super::{registries, wire};
use crate::control::Control;
use crate::telemetry::logs;

/// Editors write a file in several steps.
const SETTLE: Duration = Duration::from_millis(200);

/// Where the configuration came from.
pub struct Origin {
    /// The file, where there is one.
    pub file: Option<PathBuf>,
    /// Reads it anew, with the flags over it.
    pub read: Box<dyn Fn() -> Result<Config, ConfigError> + Send>,
}

pub(super) struct Reload {
    running: Config,
    origin: Origin,
    control: Control,
    shown: Arc<ArcSwap<Value>>,
}

impl Reload {
    pub(super) fn new(
        running: Config,
        origin: Origin,
        control: Control,
        shown: Arc<ArcSwap<Value>>,
    ) -> Reload {
        Reload { running, origin, control, shown }
    }

    pub(super) async fn run(mut self) {
        let changed = Arc::new(Notify::new());
        let _watcher = self.watch(&changed);
        let Ok(mut hangup) = signal(SignalKind::hangup()) else {
            tracing::warn!("no SIGHUP here; the configuration is reloaded when its file changes");
            return;
        };
        loop {
            tokio::select! {
                _ = hangup.recv() => tracing::info!("SIGHUP: reading the configuration anew"),
                () = changed.notified() => {
                    tokio::time::sleep(SETTLE).await;
                }
            }
            self.reload().await;
        }
    }

    /// Watches the file's folder: editors and Kubernetes replace the file.
    fn watch(&self, changed: &Arc<Notify>) -> Option<notify::RecommendedWatcher> {
        let file = std::path::absolute(self.origin.file.as_ref()?).ok()?;
        let folder = file.parent()?.to_owned();
        let changed = Arc::clone(changed);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access()) {
                changed.notify_one();
            }
        });
        let watched = watcher.and_then(|mut watcher| {
            watcher.watch(&folder, RecursiveMode::NonRecursive).map(|()| watcher)
        });
        watched
            .inspect_err(|error| {
                tracing::warn!(%error, "the configuration's file cannot be watched; SIGHUP reloads it");
            })
            .ok()
    }

    async fn reload(&mut self) {
        let read = (self.origin.read)();
        let config = match read {
            Ok(config) if config == self.running => return,
            Ok(config) => config,
            Err(error) => {
                tracing::error!(%error, "the new configuration is refused; the old one stays");
                return;
            }
        };
        let sources = match registries::sources(&config) {
            Ok(sources) => sources,
            Err(error) => {
                tracing::error!(%error, "the new configuration is refused; the old one stays");
                return;
            }
        };
        if let Err(error) = self.control.apply(wire::setup(&config, sources)).await {
            tracing::error!(%error, "the new configuration could not be put into force");
            return;
        }
        if let Err(error) = logs::set_level(&config.telemetry.log_level) {
            tracing::warn!(%error, "the log level stays as it was");
        }
        let later = needs_restart(&self.running, &config);
        if later.is_empty() {
            tracing::info!("the new configuration is in force");
        } else {
            tracing::warn!(
                sections = later.join(", "),
                "the new configuration is in force, but for sections that need a restart"
            );
        }
        self.shown.store(Arc::new(config::shown(&config)));
        self.running = config;
    }
}

/// The sections that differ and are read at the start only.
fn needs_restart(running: &Config, new: &Config) -> Vec<&'static str> {
    let telemetry = |config: &Config| (config.telemetry.log_format, config.telemetry.nv_aliases);
    let sections = [
        ("server", running.server != new.server),
        ("limits", running.limits != new.limits),
        ("onnxruntime.path", running.onnxruntime.path != new.onnxruntime.path),
        ("models.cache_bytes", running.models.cache_bytes != new.models.cache_bytes),
        ("telemetry", telemetry(running) != telemetry(new)),
    ];
    sections.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}
