//! How others ask the lifecycle for something.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::routes::counted;
use super::settings::Setup;
use super::status::{AuditEntry, Hold, RouteChange, RouteStatus, Status};
use crate::routing::RouteDocument;
use crate::serving::Catalog;
use crate::types::{ModelName, Rejection, VariantName, Version, Weight};

/// Requests that wait for the lifecycle; more are refused.
const QUEUE: usize = 64;

/// A cheap handle; copies speak to the same lifecycle.
#[derive(Clone)]
pub struct Control {
    status: Arc<ArcSwap<Status>>,
    /// Where requests of routes are counted.
    catalog: Option<Arc<Catalog>>,
    commands: mpsc::Sender<Command>,
}

#[derive(Clone, Debug, Error)]
pub enum ControlError {
    #[error("unknown model '{0}'")]
    UnknownModel(String),
    #[error("unknown registry '{name}'; there is {known}")]
    UnknownRegistry { name: String, known: String },
    /// It cannot be done in the state things are in.
    #[error("{0}")]
    Refused(String),
    #[error("unknown route '{0}'")]
    UnknownRoute(String),
    /// A route that cannot be taken; the path is that of the key within its document.
    #[error("route '{route}': {path}: {message}")]
    BadRoute { route: ModelName, path: String, message: String },
    #[error("{model} version {version} was rejected: {rejection}")]
    Rejected { model: ModelName, version: Version, rejection: Rejection },
    #[error("the gateway has too much to do; try again")]
    Busy,
    #[error("the gateway is stopping")]
    Stopping,
}

/// What becomes the champion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Promotion {
    /// What is obvious: the version that is held back, else the only other variant.
    Next,
    Variant(VariantName),
    Version(Version),
}

/// Who asks, and why: for the audit log.
#[derive(Clone, Debug)]
pub struct Asked {
    pub actor: String,
    pub reason: String,
}

pub type Reply<T> = oneshot::Sender<Result<T, ControlError>>;

/// What can be asked for. Every answer comes through the reply.
pub enum Command {
    /// List the registry, or all, at once; answers with their names.
    Poke(Option<String>, Reply<Vec<String>>),
    /// Serve an earlier version and hold it; the newest kept one where none is named.
    Rollback(ModelName, Option<Version>, Asked, Reply<Hold>),
    /// Lift the hold.
    Release(ModelName, Asked, Reply<()>),
    /// Load the model; answered when it is ready, or a version was rejected.
    Load(ModelName, Asked, Reply<()>),
    /// Unload the model; answered when no request finds it any more.
    Unload(ModelName, Asked, Reply<()>),
    /// Try a rejected version once more.
    Retry(ModelName, Version, Asked, Reply<()>),
    /// The newest entries of the audit log, of a model or route where one is named, the newest last, at most so many.
    Audit(Option<ModelName>, usize, Reply<Vec<AuditEntry>>),
    /// Make routes, or change them, all or none; only tell what it would do
    /// where the flag says so.
    ApplyRoutes(Vec<RouteDocument>, bool, Asked, Reply<Vec<RouteChange>>),
    DeleteRoute(ModelName, Asked, Reply<RouteChange>),
    /// Set weights of a route's variants by hand; none goes back to the document's.
    SetTraffic(ModelName, BTreeMap<VariantName, Weight>, Asked, Reply<RouteStatus>),
    /// Make another version a route's champion.
    Promote(ModelName, Promotion, Asked, Reply<RouteStatus>),
    /// Put a configuration into force.
    Apply(Box<Setup>, Reply<()>),
    /// Read the profiles anew that the configuration names.
    ReadProfiles(Reply<()>),
}

impl Control {
    pub(super) fn new(catalog: Option<Arc<Catalog>>) -> (Control, mpsc::Receiver<Command>) {
        let (commands, received) = mpsc::channel(QUEUE);
        (Control { status: Arc::default(), catalog, commands }, received)
    }

    /// A handle that shows `status`, and the commands given through it, which
    /// the caller answers in the lifecycle's place.
    #[cfg(feature = "testing")]
    pub fn scripted(status: Status) -> (Control, mpsc::Receiver<Command>) {
        let (control, commands) = Control::new(None);
        control.publish(status);
        (control, commands)
    }

    /// What the lifecycle was doing a moment ago.
    pub fn status(&self) -> Arc<Status> {
        self.status.load_full()
    }

    /// All routes, with what their requests have counted so far.
    pub fn routes(&self) -> Vec<RouteStatus> {
        self.status().routes.iter().map(|route| self.counted(route)).collect()
    }

    /// One route, with what its requests have counted so far.
    pub fn route(&self, name: &ModelName) -> Option<RouteStatus> {
        let status = self.status();
        let route = status.routes.iter().find(|route| route.name == *name)?;
        Some(self.counted(route))
    }

    fn counted(&self, status: &RouteStatus) -> RouteStatus {
        let status = status.clone();
        let snapshot = self.catalog.as_ref().map(|catalog| catalog.load());
        match snapshot.as_ref().and_then(|snapshot| snapshot.route(status.name.as_str())) {
            Some(served) => counted(status, served),
            None => status,
        }
    }

    pub(super) fn publish(&self, status: Status) {
        self.status.store(Arc::new(status));
    }

    pub async fn poke(&self, registry: Option<String>) -> Result<Vec<String>, ControlError> {
        self.ask(|reply| Command::Poke(registry, reply)).await
    }

    pub async fn rollback(
        &self,
        model: ModelName,
        to: Option<Version>,
        asked: Asked,
    ) -> Result<Hold, ControlError> {
        self.ask(|reply| Command::Rollback(model, to, asked, reply)).await
    }

    pub async fn release(&self, model: ModelName, asked: Asked) -> Result<(), ControlError> {
        self.ask(|reply| Command::Release(model, asked, reply)).await
    }

    pub async fn load(&self, model: ModelName, asked: Asked) -> Result<(), ControlError> {
        self.ask(|reply| Command::Load(model, asked, reply)).await
    }

    pub async fn unload(&self, model: ModelName, asked: Asked) -> Result<(), ControlError> {
        self.ask(|reply| Command::Unload(model, asked, reply)).await
    }

    pub async fn retry(
        &self,
        model: ModelName,
        version: Version,
        asked: Asked,
    ) -> Result<(), ControlError> {
        self.ask(|reply| Command::Retry(model, version, asked, reply)).await
    }

    pub async fn audit(
        &self,
        model: Option<ModelName>,
        most: usize,
    ) -> Result<Vec<AuditEntry>, ControlError> {
        self.ask(|reply| Command::Audit(model, most, reply)).await
    }

    /// Makes routes, or changes them, all or none; with `dry_run` only tells
    /// what it would do.
    pub async fn apply_routes(
        &self,
        documents: Vec<RouteDocument>,
        dry_run: bool,
        asked: Asked,
    ) -> Result<Vec<RouteChange>, ControlError> {
        self.ask(|reply| Command::ApplyRoutes(documents, dry_run, asked, reply)).await
    }

    pub async fn delete_route(
        &self,
        route: ModelName,
        asked: Asked,
    ) -> Result<RouteChange, ControlError> {
        self.ask(|reply| Command::DeleteRoute(route, asked, reply)).await
    }

    /// Sets weights by hand; no weights at all go back to the document's.
    pub async fn set_traffic(
        &self,
        route: ModelName,
        weights: BTreeMap<VariantName, Weight>,
        asked: Asked,
    ) -> Result<RouteStatus, ControlError> {
        self.ask(|reply| Command::SetTraffic(route, weights, asked, reply)).await
    }

    pub async fn promote(
        &self,
        route: ModelName,
        promotion: Promotion,
        asked: Asked,
    ) -> Result<RouteStatus, ControlError> {
        self.ask(|reply| Command::Promote(route, promotion, asked, reply)).await
    }

    /// Puts a configuration into force, as a whole.
    pub async fn apply(&self, setup: Setup) -> Result<(), ControlError> {
        self.ask(|reply| Command::Apply(Box::new(setup), reply)).await
    }

    /// Reads the profiles anew that the configuration names: their files may have changed.
    pub async fn read_profiles(&self) -> Result<(), ControlError> {
        self.ask(Command::ReadProfiles).await
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, ControlError> {
        let (reply, answer) = oneshot::channel();
        self.commands.try_send(command(reply)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ControlError::Busy,
            mpsc::error::TrySendError::Closed(_) => ControlError::Stopping,
        })?;
        answer.await.map_err(|_| ControlError::Stopping)?
    }
}
