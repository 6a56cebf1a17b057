//! A route with the versions that its variants stand for at one moment.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::catalog::ModelEntry;
use super::servable::Servable;
use crate::routing::{Route, Units};
use crate::telemetry::{RouteMetrics, Telemetry, VersionLabels, VersionMetrics};
use crate::types::{Code, InferError};

/// What a request of a route needs, all of one moment: weights, rules and versions.
pub struct ServedRoute {
    pub route: Arc<Route>,
    /// Counts the changes of the route, for the books.
    pub revision: u64,
    /// The model's versions, for requests that name one.
    pub model: Arc<ModelEntry>,
    /// By the variants of `route`; an error says why a variant cannot answer.
    pub targets: Vec<Result<Arc<Target>, Arc<str>>>,
    /// The ready versions, for requests that name one.
    pub pins: Vec<Arc<Target>>,
    pub shadow: Option<Mirrored>,
    pub metrics: Arc<RouteMetrics>,
    /// Distinct units by variant since the weights in force changed.
    pub units: Arc<Units>,
}

/// A variant and the version it stands for.
pub struct Target {
    pub servable: Arc<Servable>,
    /// The variant's name, for answers.
    pub variant_text: Bytes,
    labels: VersionLabels,
    /// Made when the first request comes: most of many routes are idle.
    metrics: OnceLock<Arc<VersionMetrics>>,
}

/// Where a route's requests are mirrored to.
pub struct Mirrored {
    pub target: Arc<Target>,
    /// Samples of this route that wait; bounded by the route's `queue`. The
    /// same count goes on when the route changes.
    pub waiting: Arc<AtomicUsize>,
}

impl ServedRoute {
    /// The champion for an empty `version`, else the model's version of that
    /// number or label. For questions about a model, not for requests.
    ///
    /// # Errors
    /// As [`ModelEntry::resolve`].
    pub fn resolve(&self, version: &str) -> Result<&Arc<Servable>, InferError> {
        if version.is_empty() {
            return self.target(Route::CHAMPION).map(|target| &target.servable);
        }
        self.model.resolve(self.route.name.as_str(), version)
    }

    /// What answers to a version or label that a request names.
    ///
    /// # Errors
    /// `PermissionDenied` where the route takes none, and as [`ModelEntry::resolve`].
    pub fn pinned(&self, version: &str) -> Result<&Arc<Target>, InferError> {
        let name = self.route.name.as_str();
        if !self.route.pins {
            let message = format!(
                "route '{name}' chooses the version itself: leave the version and x-model-version \
                 out, or set `versionPin: allow` in the route"
            );
            return Err(InferError::new(Code::PermissionDenied, message));
        }
        let servable = self.model.resolve(name, version)?;
        let pin = self.pins.iter().find(|pin| Arc::ptr_eq(&pin.servable, servable));
        pin.ok_or_else(|| InferError::internal("a ready version that cannot be named"))
    }

    /// Any version that answers for the route, the champion first.
    pub fn any(&self) -> Option<&Arc<Servable>> {
        self.targets.iter().flatten().next().map(|target| &target.servable)
    }

    /// Why nothing of the route answers.
    pub fn unready(&self) -> InferError {
        let error = self.target(Route::CHAMPION).err();
        error.unwrap_or_else(|| InferError::internal("a champion that is ready and is not"))
    }

    /// What answers for the variant at a place.
    ///
    /// # Errors
    /// `Unavailable`, with the reason.
    pub fn target(&self, variant: usize) -> Result<&Arc<Target>, InferError> {
        self.targets[variant].as_ref().map_err(|reason| {
            let (route, name) = (&self.route.name, &self.route.variants[variant].name);
            let message = format!("variant '{name}' of route '{route}' is not ready: {reason}");
            InferError::new(Code::Unavailable, message)
        })
    }
}

impl Target {
    /// `labels` name the route and the variant.
    pub fn new(servable: Arc<Servable>, labels: VersionLabels) -> Target {
        let variant_text = Bytes::copy_from_slice(labels.variant.as_bytes());
        Target { servable, variant_text, labels, metrics: OnceLock::new() }
    }

    /// Its series, once [`Target::metrics`] has made them.
    pub fn counted(&self) -> Option<&Arc<VersionMetrics>> {
        self.metrics.get()
    }

    /// Counts where `before`, which this one replaces, has counted.
    pub fn continuing(self, before: &Target, telemetry: &Telemetry) -> Target {
        if before.metrics.get().is_some() {
            self.metrics(telemetry);
        }
        self
    }

    pub fn metrics(&self, telemetry: &Telemetry) -> &Arc<VersionMetrics> {
        self.metrics.get_or_init(|| telemetry.version(self.labels.clone()))
    }

    /// The variant, as answers and metrics name it.
    pub fn variant(&self) -> &Arc<str> {
        &self.labels.variant
    }
}
