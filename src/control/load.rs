//! Loads one version into this process and tries it out.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::profiles::{Files, fit_watch};
use super::settings::ModelSettings;
use crate::admission::Limiter;
use crate::drift::live::Drift;
use crate::engine::golden::{self, Golden};
use crate::engine::{Cost, Engine, EngineError, Library, OrtEngine, measure, warm};
use crate::predictions::{Policy, Recording};
use crate::registry::{GOLDEN_FILE, MODEL_FILE};
use crate::serving::{Loaded, Servable};
use crate::telemetry::{ModelMetrics, VersionMetrics};
use crate::types::{Digest, ModelName, RejectKind, Rejection, Version};

/// Longest time that the golden inputs may take.
const GOLDEN_PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Job {
    pub(super) library: Library,
    pub(super) folder: PathBuf,
    /// Where a profile that is learnt from its traffic is kept.
    pub(super) learnt: PathBuf,
    pub(super) name: ModelName,
    pub(super) version: Version,
    pub(super) settings: Arc<ModelSettings>,
    pub(super) metrics: Arc<VersionMetrics>,
    pub(super) model_metrics: Arc<ModelMetrics>,
    pub(super) limiter: Arc<Limiter>,
    pub(super) digest: Digest,
    pub(super) recording: Arc<Recording>,
    pub(super) drift: Arc<Drift>,
}

impl Job {
    /// Loads, measures and warms the version; calls `warming` before the last.
    /// One at a time: memory is measured by what the process gains.
    ///
    /// # Errors
    /// `LoadFailed` with ONNX Runtime's reason, or `GoldenMismatch`.
    pub(super) fn run(self, warming: impl FnOnce()) -> Result<Servable, Rejection> {
        let file = self.folder.join(MODEL_FILE);
        let failed = |error: EngineError| {
            let reason = without_folders(&error.to_string(), &file);
            let hint = hint(&reason).map_or(String::new(), |hint| format!("; {hint}"));
            Rejection::new(RejectKind::LoadFailed, reason + &hint)
        };
        let settings = &self.settings;
        let engine = OrtEngine::load(&self.library, &file, &settings.session)
            .and_then(|engine| engine.with_labels(&settings.labels))
            .map_err(failed)?;
        self.metrics.set_memory(engine.memory_bytes());
        let measured = measure(&engine, settings.execution.max_batch_rows);
        let mut execution = settings.execution.clone();
        let worthwhile = measured.batchable && batching_pays(&measured.costs);
        execution.batching &= worthwhile || settings.force_batching;
        warming();
        warm(&engine, execution.batching, execution.max_batch_rows);
        check_golden(&self.folder, &engine)?;
        let loaded =
            Loaded::new(self.name, self.version, Box::new(engine), execution, self.metrics);
        for cost in measured.costs {
            loaded.cost.set(cost.input_bytes, cost.nanos);
        }
        let servable = Servable::new(loaded, self.model_metrics, self.limiter);
        fit_recorder(&servable, &self.recording, &self.digest, &self.settings.recording);
        let files = Files { folder: self.folder, learnt: self.learnt };
        fit_watch(&servable, &self.drift, &self.settings.drift, &files);
        Ok(servable)
    }
}

/// Gives a version what writes its records, by its model's policy. Does I/O.
pub(super) fn fit_recorder(
    servable: &Servable,
    recording: &Recording,
    digest: &Digest,
    policy: &Arc<Policy>,
) {
    let (name, version, signature) = (servable.name(), servable.version(), servable.signature());
    servable.recorder.store(recording.recorder(name, version, digest, signature, policy));
}

/// Compares the version with its golden outputs, where it has some: this
/// process might answer otherwise than the probe did.
fn check_golden(folder: &Path, engine: &OrtEngine) -> Result<(), Rejection> {
    let deadline = Instant::now() + GOLDEN_PATIENCE;
    let checked = match Golden::read(&folder.join(GOLDEN_FILE)) {
        Ok(Some(golden)) => golden::check(engine, &golden, Some(deadline)).map(drop),
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    checked.map_err(|error| Rejection::new(RejectKind::GoldenMismatch, error.to_string()))
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
