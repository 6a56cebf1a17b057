//! How the prediction log is: as a whole, and what each model writes to it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::predictions::{Level, Policy};
use crate::request::Gateway;
use crate::telemetry::LogSnapshot;
use crate::types::ModelName;

#[derive(Debug, Serialize)]
pub(super) struct LogStatus {
    #[serde(flatten)]
    log: LogSnapshot,
    /// Models that have a version to answer with.
    models: BTreeMap<ModelName, Recorded>,
}

/// The policy in force, and what became of records since the start.
#[derive(Debug, Serialize)]
pub(super) struct Recorded {
    level: &'static str,
    on_failure: &'static str,
    sample: f64,
    records: BTreeMap<&'static str, u64>,
}

pub(super) fn status(gateway: &Gateway) -> LogStatus {
    let snapshot = gateway.catalog.load();
    let models = snapshot.models().filter_map(|(name, model)| {
        let recorder = model.default.as_ref()?.recorder.load_full();
        // What is not recorded has no recorder.
        let off = Policy { level: Level::Off, ..Policy::default() };
        let policy = recorder.as_ref().map_or(&off, |recorder| &recorder.policy);
        let recorded = Recorded {
            level: policy.level.label(),
            on_failure: policy.on_failure.label(),
            sample: policy.sample,
            records: gateway.telemetry.model(name).record_counts(),
        };
        Some((name.clone(), recorded))
    });
    LogStatus { log: gateway.telemetry.log().snapshot(), models: models.collect() }
}
