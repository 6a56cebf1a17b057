//! Loads the models of a folder into the catalog, when the gateway starts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::engine::{Cost, Engine, EngineError, Library, OrtEngine, SessionOptions, measure};
use crate::registry::{self, FolderError, Found};
use crate::serving::{Catalog, ExecutionOptions, Loaded, Servable, State, VersionEntry};
use crate::telemetry::{Telemetry, VersionLabels, VersionMetrics};
use crate::types::{ModelName, Version};

/// How the versions of one model are to be loaded.
#[derive(Clone, Debug)]
pub struct ModelSettings {
    pub execution: ExecutionOptions,
    /// Share runs even where the load-time check could not show that rows are independent.
    pub force_batching: bool,
    pub session: SessionOptions,
    /// Names of an output's columns, by output.
    pub labels: BTreeMap<String, Vec<String>>,
    /// The versions to serve, out of those the folder has.
    pub versions: BTreeSet<Version>,
}

/// Loads every model of `folder`, one after the other, and publishes each
/// version as it becomes ready. A model or version that cannot be loaded
/// becomes `UNAVAILABLE` with the reason; the others are served. Tells how
/// many versions are ready and how many are not.
///
/// # Errors
/// When the folder cannot be listed.
pub fn load_folder(
    library: &Library,
    folder: &Path,
    catalog: &Catalog,
    telemetry: &Telemetry,
    settings: impl Fn(&Found) -> Result<ModelSettings, String>,
) -> Result<Loads, FolderError> {
    let mut loads = Loads::default();
    let found = registry::list(folder)?;
    if found.is_empty() {
        tracing::warn!(folder = %folder.display(), "no models in this folder");
    }
    for model in &found {
        let settings = settings(model);
        for (version, file) in &model.versions {
            let loading =
                Loading { library, catalog, telemetry, name: &model.name, version: *version };
            let is_ready = match &settings {
                Ok(settings) if !settings.versions.contains(version) => continue,
                Ok(settings) => loading.run(file, settings),
                Err(reason) => loading.refuse(reason, file),
            };
            if is_ready { loads.ready += 1 } else { loads.failed += 1 }
        }
    }
    Ok(loads)
}

/// Outcome of loading a folder, in versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loads {
    pub ready: usize,
    pub failed: usize,
}

/// Whether rows are cheaper together than alone. Some models, such as
/// convolutions that fill the caches with one row, are not.
fn batching_pays(costs: &[Cost]) -> bool {
    let per_row = |cost: &Cost| cost.nanos as f64 / cost.rows.max(1) as f64;
    match costs {
        [one, .., many] => per_row(many) < per_row(one),
        _ => true,
    }
}

struct Loading<'a> {
    library: &'a Library,
    catalog: &'a Catalog,
    telemetry: &'a Telemetry,
    name: &'a ModelName,
    version: Version,
}

impl Loading<'_> {
    /// Loads the version; true when it is ready.
    fn run(&self, file: &Path, settings: &ModelSettings) -> bool {
        let started = Instant::now();
        let digest: Arc<str> = registry::sha256(file).unwrap_or_default().into();
        let metrics = self.metrics(Arc::clone(&digest));
        self.publish(State::Loading, "", None, &metrics);
        match self.load(file, settings, &metrics) {
            Ok(servable) => {
                metrics.set_load_duration(started.elapsed());
                tracing::info!(
                    model = %self.name, version = %self.version, %digest,
                    load_ms = started.elapsed().as_millis() as u64,
                    run_us = servable.loaded.cost.predict(0) as f64 / 1e3,
                    batching = servable.loaded.may_batch(),
                    memory_bytes = servable.loaded.engine.memory_bytes(),
                    "model ready"
                );
                self.publish(State::Ready, "", Some(Arc::new(servable)), &metrics);
                true
            }
            Err(error) => self.failed(&error.to_string(), file, &metrics),
        }
    }

    fn refuse(&self, reason: &str, file: &Path) -> bool {
        self.failed(reason, file, &self.metrics(Arc::from("")))
    }

    fn load(
        &self,
        file: &Path,
        settings: &ModelSettings,
        metrics: &Arc<VersionMetrics>,
    ) -> Result<Servable, EngineError> {
        let engine = OrtEngine::load(self.library, file, &settings.session)?
            .with_labels(&settings.labels)?;
        metrics.set_memory(engine.memory_bytes());
        let measured = measure(&engine, settings.execution.max_batch_rows);
        let mut execution = settings.execution.clone();
        let worthwhile = measured.batchable && batching_pays(&measured.costs);
        execution.batching &= worthwhile || settings.force_batching;
        let loaded = Loaded::new(
            self.name.clone(),
            self.version,
            Box::new(engine),
            execution,
            Arc::clone(metrics),
        );
        for cost in measured.costs {
            loaded.cost.set(cost.input_bytes, cost.nanos);
        }
        Ok(Servable::new(loaded, self.telemetry.model(self.name)))
    }

    fn metrics(&self, digest: Arc<str>) -> Arc<VersionMetrics> {
        let labels = VersionLabels::champion(self.name.clone(), self.version);
        self.telemetry.version(VersionLabels { digest, source: Arc::from("dir"), ..labels })
    }

    fn failed(&self, reason: &str, file: &Path, metrics: &Arc<VersionMetrics>) -> bool {
        tracing::error!(
            model = %self.name, version = %self.version, reason, hint = hint(reason),
            "model not loaded"
        );
        self.publish(State::Unavailable, &without_folders(reason, file), None, metrics);
        false
    }

    fn publish(
        &self,
        state: State,
        reason: &str,
        servable: Option<Arc<Servable>>,
        metrics: &Arc<VersionMetrics>,
    ) {
        metrics.set_state(state.label());
        let entry = VersionEntry {
            state,
            reason: Arc::from(reason),
            servable,
            metrics: Arc::clone(metrics),
        };
        self.catalog.set(self.name, self.version, entry);
    }
}

/// A reason as clients may read it: without the folders of this machine.
fn without_folders(reason: &str, file: &Path) -> String {
    let folders = file.ancestors().skip(1).filter(|folder| folder.parent().is_some());
    folders.fold(reason.to_owned(), |reason, folder| {
        reason.replace(&format!("{}/", folder.display()), "")
    })
}

/// What helps with failures whose reason does not say it.
fn hint(reason: &str) -> Option<&'static str> {
    reason.contains("locale").then_some(
        "the model's StringNormalizer wants a locale that this machine lacks: install it, or \
         export the model with locale \"C\"",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_lose_the_machines_folders() {
        let file = Path::new("/srv/models/iris/1/model.onnx");
        let reason =
            "Load model from /srv/models/iris/1/model.onnx failed: /srv/models/iris/model.yaml";
        assert_eq!(without_folders(reason, file), "Load model from model.onnx failed: model.yaml");
    }

    #[test]
    fn batches_must_be_cheaper_by_the_row() {
        let cost = |rows, nanos| Cost { rows, input_bytes: rows * 4, nanos };
        assert!(batching_pays(&[cost(1, 100), cost(16, 900)]));
        assert!(!batching_pays(&[cost(1, 100), cost(16, 1_700)]));
        assert!(batching_pays(&[cost(1, 100)]), "nothing says otherwise");
    }
}
