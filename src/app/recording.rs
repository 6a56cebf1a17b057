//! The prediction log of this gateway, as the configuration wants it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::AppError;
use super::config::Config;
use crate::predictions::{Hasher, Level, Log, LogOptions, Recording, Schemas};
use crate::telemetry::Telemetry;

/// Opens the log, which recovers what an earlier run left. Where nothing is
/// recorded there is none.
///
/// # Errors
/// Where its folder or key cannot be used.
pub(super) fn open(
    config: &Config,
    threads: usize,
    telemetry: &Telemetry,
) -> Result<Recording, AppError> {
    let section = &config.predictions;
    if !section.records_anything() {
        return Ok(Recording::off());
    }
    let root = folder(config);
    let failed = |source: io::Error| AppError::PredictionLog { folder: root.clone(), source };
    let hasher = match &section.hash_key {
        Some(key) => Hasher::new(key.trim().as_bytes()),
        None => Hasher::of_folder(&root).map_err(failed)?,
    };
    let options = LogOptions {
        root: root.clone(),
        shards: threads,
        segment_bytes: section.segment_bytes,
        segment_age: Duration::from_millis(section.segment_age_ms),
        flush_every: Duration::from_millis(section.flush_ms),
        slow_append: Duration::from_millis(section.slow_append_ms),
        queue_records: section.queue_records,
        queue_bytes: section.queue_bytes,
    };
    let log = Log::open(options, Arc::clone(telemetry.log()))?;
    let schemas = Arc::new(Schemas::new(root));
    let unknown: Level = section.default_level();
    Ok(Recording::new(log, schemas, hasher, unknown))
}

/// Where the log is.
pub(super) fn folder(config: &Config) -> PathBuf {
    let own = config.predictions.dir.clone();
    own.unwrap_or_else(|| config.server.data.join("predictions"))
}
