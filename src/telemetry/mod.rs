//! Metric names, handles and rendering; logs.
//!
//! Families that live as long as the process go through the `metrics` recorder
//! (`process.rs`). Families whose series come and go with models live in arrays
//! of atomics of ours, because the recorder cannot remove a series and renders
//! slowly. [`Telemetry::render`] writes both as one page.

mod batches;
mod drift;
mod exposition;
mod histogram;
mod labels;
pub mod logs;
mod model;
mod prediction_log;
mod process;
mod quality;
mod registry;
mod render;
mod render_routes;
mod render_shadow;
mod retrain;
mod route;
mod shadow;
mod shard;
mod statistics;
mod triton;
mod version;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::types::{ModelName, VariantName, Version};

pub use drift::{
    DriftColumn, DriftCounts, DriftDrop, DriftFeature, DriftLook, DriftMetrics, DriftOfRole,
    DriftProfile, DriftReading, DriftScores, DriftSeries, DriftStates, ProfileState,
};
pub use labels::{Protocol, RefusedConnection};
pub use model::{InflightGuard, ModelMetrics};
pub use prediction_log::{LogMetrics, LogSnapshot, RecordOutcome};
pub use process::ConnectionMetrics;
pub use quality::{
    Bound, FeedbackCounts, FeedbackOutcome, QualityDrop, QualityFamily, QualityGauge, QualityKey,
    QualityLabels, QualityMetrics, QualityReading, QualitySample, QualitySeries,
};
pub use registry::RegistryMetrics;
pub use retrain::{AlertOutcome, RetrainMetrics};
pub use route::{MAX_VARIANTS, RouteMetrics};
pub use shadow::{DropCounts, ShadowDrop, ShadowMetrics, ShadowOutcome, ShadowOutputMetrics};
pub use shard::{Sharded, count as shard_count};
pub use statistics::{BatchStatistics, DurationStatistics, Statistics};
pub use version::{RunTimings, VersionLabels, VersionMetrics};

use process::ProcessMetrics;
use version::SeriesKey;

/// The model label of requests for models that do not exist, and the version
/// and variant labels of requests that ended before a version was chosen.
/// No model can have this name: names begin with a letter or digit.
const UNKNOWN: &str = "_unknown";

#[derive(Clone, Copy, Debug, Default)]
pub struct TelemetryOptions {
    /// Also render the `nv_inference_*` families, under Triton's names.
    pub nv_aliases: bool,
    /// Copies of the hot counters, at best one per thread that counts; rounded
    /// up to a power of two, at most 64. 0 means one per core.
    pub shards: usize,
}

/// All metrics of one gateway. Nothing global: each instance has its own
/// recorder, so several can live in one process.
pub struct Telemetry {
    nv_aliases: bool,
    shards: usize,
    process: ProcessMetrics,
    unknown: Arc<ModelMetrics>,
    /// Weak, so that a model's series go with the last holder of its handle.
    models: Mutex<BTreeMap<ModelName, Weak<ModelMetrics>>>,
    versions: Mutex<BTreeMap<SeriesKey, Vec<Weak<VersionMetrics>>>>,
    /// Weak, as `models`.
    routes: Mutex<route::Routes>,
    /// By name; they live as long as the process, and configurations name few.
    registries: Mutex<BTreeMap<String, Arc<RegistryMetrics>>>,
    cache_bytes: AtomicU64,
    log: Arc<LogMetrics>,
    quality: Arc<QualityMetrics>,
    drift: Arc<DriftMetrics>,
    retrain: Arc<RetrainMetrics>,
}

impl Telemetry {
    pub fn new(options: TelemetryOptions) -> Telemetry {
        let shards = shard::count(options.shards);
        Telemetry {
            nv_aliases: options.nv_aliases,
            shards,
            process: ProcessMetrics::new(),
            unknown: Arc::new(ModelMetrics::new(Arc::from(UNKNOWN), shards)),
            models: Mutex::default(),
            versions: Mutex::default(),
            routes: Mutex::default(),
            registries: Mutex::default(),
            cache_bytes: AtomicU64::new(0),
            log: Arc::default(),
            quality: Arc::default(),
            drift: Arc::default(),
            retrain: Arc::default(),
        }
    }

    /// The handle of a model that exists; the same one for the same name while
    /// anybody holds it. Its series go when the last holder drops it. Names
    /// that clients sent belong to [`Telemetry::unknown_model`] until a model
    /// of that name was found.
    pub fn model(&self, name: &ModelName) -> Arc<ModelMetrics> {
        let mut models = locked(&self.models);
        if let Some(model) = models.get(name).and_then(Weak::upgrade) {
            return model;
        }
        models.retain(|_, model| model.strong_count() > 0);
        let model = Arc::new(ModelMetrics::new(name.shared(), self.shards));
        models.insert(name.clone(), Arc::downgrade(&model));
        model
    }

    /// Counts requests for models that do not exist, under one label.
    pub fn unknown_model(&self) -> &Arc<ModelMetrics> {
        &self.unknown
    }

    /// The handle of a loaded version. Its series go when the last holder drops
    /// it. A version that is loaded anew while an older handle lives (its files
    /// were replaced) goes on counting where that one stands; state, memory and
    /// digest are those of the newest handle.
    pub fn version(&self, labels: VersionLabels) -> Arc<VersionMetrics> {
        let mut versions = locked(&self.versions);
        versions.retain(|_, handles| {
            handles.retain(|handle| handle.strong_count() > 0);
            !handles.is_empty()
        });
        let handles = versions.entry(labels.key()).or_default();
        let version = match handles.iter().find_map(Weak::upgrade) {
            Some(older) => older.renewed(labels),
            None => VersionMetrics::new(labels, self.shards),
        };
        let version = Arc::new(version);
        handles.push(Arc::downgrade(&version));
        version
    }

    /// The handle of a route; the same one while anybody holds it and its
    /// variants are these. Its series go when the last holder drops it.
    pub fn route(&self, name: &ModelName, variants: &[VariantName]) -> Arc<RouteMetrics> {
        let mut routes = locked(&self.routes);
        let known = routes.get(name).and_then(Weak::upgrade);
        if let Some(route) = known.filter(|route| route.variants() == variants) {
            return route;
        }
        let route = Arc::new(RouteMetrics::new(name.clone(), variants.to_vec(), self.shards));
        routes.insert(name.clone(), Arc::downgrade(&route));
        route
    }

    /// Forgets the routes whose handles are gone.
    pub fn forget_routes(&self) {
        locked(&self.routes).retain(|_, route| route.strong_count() > 0);
    }

    /// The protocol's statistics of a version, over all routes and variants
    /// that answer: runs that nobody asked for do not count.
    pub fn statistics(&self, model: &ModelName, version: Version) -> Statistics {
        let versions = locked(&self.versions);
        let handles = versions
            .range(SeriesKey::first(model, version)..)
            .take_while(|(key, _)| key.is_of(model, version))
            .filter_map(|(_, handles)| handles.iter().rev().find_map(Weak::upgrade))
            .filter(|version| *version.labels().variant != *VariantName::SHADOW);
        Statistics::of(&render::sum(handles))
    }

    /// The handle of a registry that the configuration names.
    pub fn registry(&self, name: &str) -> Arc<RegistryMetrics> {
        Arc::clone(locked(&self.registries).entry(name.to_owned()).or_default())
    }

    /// Sets the bytes of model files in the local cache.
    pub fn cache_bytes(&self, bytes: u64) {
        self.cache_bytes.store(bytes, Ordering::Relaxed);
    }

    /// What the prediction log counts.
    pub fn log(&self) -> &Arc<LogMetrics> {
        &self.log
    }

    /// What labels said of predictions.
    pub fn quality(&self) -> &Arc<QualityMetrics> {
        &self.quality
    }

    /// What traffic looks like beside profiles.
    pub fn drift(&self) -> &Arc<DriftMetrics> {
        &self.drift
    }

    /// What is decided about training models anew.
    pub fn retrain(&self) -> &Arc<RetrainMetrics> {
        &self.retrain
    }

    pub fn connections(&self) -> &ConnectionMetrics {
        &self.process.connections
    }

    /// Every family once, as Prometheus text exposition format 0.0.4.
    pub fn render(&self) -> String {
        let mut page = exposition::Page::new();
        self.process.render(&mut page);
        let models = self.live_models();
        render::models(&mut page, &models);
        let versions = self.live_versions();
        render::versions(&mut page, &models, &versions);
        render::changes(&mut page, &models);
        let routes = route::live(&self.routes);
        render_routes::routes(&mut page, &routes);
        render_shadow::shadows(&mut page, &routes);
        let registries: Vec<_> = locked(&self.registries)
            .iter()
            .map(|(name, metrics)| (name.clone(), Arc::clone(metrics)))
            .collect();
        registry::render(&mut page, &registries, self.cache_bytes.load(Ordering::Relaxed));
        prediction_log::render(&mut page, &self.log, &models);
        quality::render(&mut page, &self.quality);
        drift::render(&mut page, &self.drift);
        retrain::render(&mut page, &self.retrain);
        if self.nv_aliases {
            triton::render(&mut page, &versions);
        }
        page.finish()
    }

    fn live_models(&self) -> Vec<Arc<ModelMetrics>> {
        let models = locked(&self.models);
        models
            .values()
            .filter_map(Weak::upgrade)
            .chain(std::iter::once(Arc::clone(&self.unknown)))
            .collect()
    }

    /// The newest live handle of each series key, in the order of the keys.
    fn live_versions(&self) -> Vec<Arc<VersionMetrics>> {
        let versions = locked(&self.versions);
        versions
            .values()
            .filter_map(|handles| handles.iter().rev().find_map(Weak::upgrade))
            .collect()
    }
}

/// A panic while one of these maps is locked leaves it whole, so poison is ignored.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
