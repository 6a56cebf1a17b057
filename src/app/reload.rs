//! Reading anew what files say: the configuration, on SIGHUP and when its file
//! changes, which is validated whole and put into force as one, or refused with
//! the old one kept; and the folder of routes, file by file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::config::{self, Config, ConfigError};
use super::routes::{self, Folder};
use super::{registries, wire};
use crate::control::{Control, ControlError};
use crate::registry::Source;
use crate::telemetry::logs;

/// Editors write a file in several steps.
const SETTLE: Duration = Duration::from_millis(200);

/// From one look at the folder of routes to the next where the system tells of no change.
const LOOK: Duration = Duration::from_secs(5);

/// Where the configuration came from.
pub struct Origin {
    /// The file, where there is one.
    pub file: Option<PathBuf>,
    /// Reads it anew, with the flags over it.
    pub read: Box<dyn Fn() -> Result<Config, ConfigError> + Send>,
}

/// What is in force.
pub(super) struct Running {
    pub(super) config: Config,
    pub(super) sources: Vec<Arc<dyn Source>>,
    pub(super) folder: Option<Folder>,
}

pub(super) struct Reload {
    running: Running,
    origin: Origin,
    control: Control,
    shown: Arc<ArcSwap<Value>>,
    /// Told of changes in the folder of routes.
    routes_changed: Arc<Notify>,
    _routes_watcher: Option<RecommendedWatcher>,
    /// Whether routes were taken in that the lifecycle has not got yet.
    owes_routes: bool,
}

impl Reload {
    pub(super) fn new(
        running: Running,
        origin: Origin,
        control: Control,
        shown: Arc<ArcSwap<Value>>,
    ) -> Reload {
        Reload {
            running,
            origin,
            control,
            shown,
            routes_changed: Arc::default(),
            _routes_watcher: None,
            owes_routes: false,
        }
    }

    pub(super) async fn run(mut self) {
        let config_changed = Arc::new(Notify::new());
        let _watcher = self.watch_file(&config_changed);
        let routes_changed = Arc::clone(&self.routes_changed);
        self.watch_routes();
        let Ok(mut hangup) = signal(SignalKind::hangup()) else {
            tracing::warn!("no SIGHUP here; the configuration is reloaded when its file changes");
            return;
        };
        let mut every = tokio::time::interval(LOOK);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = hangup.recv() => {
                    tracing::info!("SIGHUP: reading the configuration anew");
                    self.reload().await;
                }
                () = config_changed.notified() => {
                    tokio::time::sleep(SETTLE).await;
                    self.reload().await;
                }
                () = routes_changed.notified() => tokio::time::sleep(SETTLE).await,
                _ = every.tick() => {}
            }
            self.look_at_routes().await;
        }
    }

    /// Watches the file's folder: editors and Kubernetes replace the file.
    fn watch_file(&self, changed: &Arc<Notify>) -> Option<RecommendedWatcher> {
        let file = std::path::absolute(self.origin.file.as_ref()?).ok()?;
        watch(file.parent()?, changed)
            .inspect_err(|error| {
                tracing::warn!(%error, "the configuration's file cannot be watched; SIGHUP reloads it");
            })
            .ok()
    }

    fn watch_routes(&mut self) {
        self._routes_watcher = self.running.folder.as_ref().and_then(|folder| {
            watch(folder.path(), &self.routes_changed)
                .inspect_err(|error| {
                    tracing::warn!(%error, "the folder of routes cannot be watched; it is looked at every 5 s");
                })
                .ok()
        });
    }

    async fn reload(&mut self) {
        let read = (self.origin.read)();
        let config = match read {
            // Files that it names may have changed all the same.
            Ok(config) if config == self.running.config => {
                return read_profiles(&self.control).await;
            }
            Ok(config) => config,
            Err(error) => return refused(&error),
        };
        let sources = match registries::sources(&config) {
            Ok(sources) => sources,
            Err(error) => return refused(&error),
        };
        let before = self
            .running
            .folder
            .as_ref()
            .filter(|folder| Some(folder.path()) == config.routes.folder());
        // Of a folder that stays, an invalid file refuses nothing.
        let folder = match before {
            Some(folder) => folder.check(config.routes.inline()).map(|()| Some(folder.clone())),
            None => routes::open(&config),
        };
        let folder = match folder {
            Ok(folder) => folder,
            Err(error) => return refused(&error),
        };
        let declared = routes::declared(&config, folder.as_ref());
        let setup = wire::setup(&config, sources.clone(), declared);
        if let Err(error) = self.control.apply(setup).await {
            tracing::error!(%error, "the new configuration could not be put into force");
            return;
        }
        if let Err(error) = logs::set_level(&config.telemetry.log_level) {
            tracing::warn!(%error, "the log level stays as it was");
        }
        let later = needs_restart(&self.running.config, &config);
        if later.is_empty() {
            tracing::info!("the new configuration is in force");
        } else {
            tracing::warn!(
                sections = later.join(", "),
                "the new configuration is in force, but for sections that need a restart"
            );
        }
        self.shown.store(Arc::new(config::shown(&config)));
        self.running = Running { config, sources, folder };
        self.owes_routes = false;
        self.watch_routes();
    }

    async fn look_at_routes(&mut self) {
        let Some(mut folder) = self.running.folder.clone() else { return };
        let inline = self.running.config.routes.inline().to_vec();
        let looked = tokio::task::spawn_blocking(move || {
            let changed = folder.look(&inline);
            (folder, changed)
        });
        let Ok((folder, changed)) = looked.await else { return };
        self.running.folder = Some(folder);
        if !changed && !self.owes_routes {
            return;
        }
        let Running { config, sources, folder } = &self.running;
        let declared = routes::declared(config, folder.as_ref());
        let count = declared.len();
        let applied = self.control.apply(wire::setup(config, sources.clone(), declared)).await;
        self.owes_routes = matches!(applied, Err(ControlError::Busy));
        match applied {
            Ok(()) => tracing::info!(routes = count, "the routes of the files are in force"),
            Err(error) => tracing::error!(%error, "the new routes could not be put into force"),
        }
    }
}

async fn read_profiles(control: &Control) {
    if let Err(error) = control.read_profiles().await {
        tracing::error!(%error, "the profiles could not be read anew");
    }
}

fn refused(error: &dyn std::fmt::Display) {
    tracing::error!(%error, "the new configuration is refused; the old one stays");
}

/// Tells of changes of what is in a folder.
fn watch(folder: &Path, changed: &Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let changed = Arc::clone(changed);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            changed.notify_one();
        }
    })?;
    watcher.watch(folder, RecursiveMode::NonRecursive).map(|()| watcher)
}

/// The sections that differ and are read at the start only.
fn needs_restart(running: &Config, new: &Config) -> Vec<&'static str> {
    let telemetry = |config: &Config| (config.telemetry.log_format, config.telemetry.nv_aliases);
    let sections = [
        ("server", running.server != new.server),
        ("limits", running.limits != new.limits),
        ("onnxruntime.path", running.onnxruntime.path != new.onnxruntime.path),
        ("models.cache_bytes", running.models.cache_bytes != new.models.cache_bytes),
        ("predictions", !running.predictions.is_same_log(&new.predictions)),
        ("quality", running.quality != new.quality),
        ("drift", !running.drift.is_same_service(&new.drift)),
        ("retrain", running.retrain != new.retrain),
        ("telemetry", telemetry(running) != telemetry(new)),
    ];
    sections.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::sync::mpsc;

    use super::*;
    use crate::control::{Command, Status};

    /// Far beyond what a change takes to be seen on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(30);

    fn route(name: &str) -> String {
        format!("{{apiVersion: modelgate.dev/v1, kind: Route, metadata: {{name: {name}}}}}\n")
    }

    /// The routes of the next setup that the lifecycle gets.
    async fn applied(commands: &mut mpsc::Receiver<Command>) -> Vec<String> {
        let command = tokio::time::timeout(PATIENCE, commands.recv()).await.expect("in time");
        let Some(Command::Apply(setup, reply)) = command else { panic!("another command") };
        let _ = reply.send(Ok(()));
        let routes = setup.routes.iter();
        routes.map(|route| format!("{} of {}", route.document.name(), route.origin)).collect()
    }

    #[tokio::test]
    async fn files_of_routes_are_put_into_force_when_they_change() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = place.path().join("routes");
        fs::create_dir(&folder).expect("a folder");
        fs::write(folder.join("a.yaml"), route("a")).expect("a file");
        let file = place.path().join("gateway.yaml");
        let text = |inline: &str| {
            format!("routes:\n  folder: {}\n  inline: [{inline}]\n", folder.display())
        };
        fs::write(&file, text(route("x").trim())).expect("a configuration");
        let config = Config::load(&file).expect("valid");
        let opened = routes::open(&config).expect("valid");
        let (control, mut commands) = Control::scripted(Status::default());
        let read = {
            let file = file.clone();
            Box::new(move || Config::load(&file))
        };
        let origin = Origin { file: Some(file.clone()), read };
        let shown = Arc::new(ArcSwap::from_pointee(config::shown(&config)));
        let running = Running { config, sources: Vec::new(), folder: opened };
        let reload = Reload::new(running, origin, control, Arc::clone(&shown));
        tokio::spawn(reload.run());

        fs::write(folder.join("b.yml"), route("b")).expect("a file");
        let expected = ["x of config", "a of routes/a.yaml", "b of routes/b.yml"];
        assert_eq!(applied(&mut commands).await, expected);

        // An invalid file changes nothing; the next change is seen all the same.
        fs::write(folder.join("a.yaml"), "kind: [").expect("a file");
        fs::remove_file(folder.join("b.yml")).expect("gone");
        assert_eq!(applied(&mut commands).await, ["x of config", "a of routes/a.yaml"]);

        // A route of the configuration that stands in a file is refused.
        fs::write(&file, text(route("a").trim())).expect("a configuration");
        tokio::time::sleep(SETTLE * 3).await;
        assert!(commands.try_recv().is_err(), "refused");
        fs::write(&file, text(route("y").trim())).expect("a configuration");
        assert_eq!(applied(&mut commands).await, ["y of config", "a of routes/a.yaml"]);
    }
}
