//! A route with the versions that its variants stand for at one moment.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};

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
    pub shadow: Option<Mirrored>,
    pub metrics: Arc<RouteMetrics>,
    /// Distinct units by variant since the weights in force changed.
    pub units: Arc<Units>,
}

/// A variant and the version it stands for.
pub struct Target {
    pub servable: Arc<Servable>,
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
            return self.target(0).map(|target| &target.servable);
        }
        self.model.resolve(self.route.name.as_str(), version)
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
        Target { servable, labels, metrics: OnceLock::new() }
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
