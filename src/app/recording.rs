//! The prediction log of this gateway, as the configuration wants it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::AppError;
use super::config::Config;
use super::registries::{self, RegistryError};
use crate::predictions::archive::{Archive, ArchiveOptions, Keep, ShipOptions};
use crate::predictions::{Hasher, Level, Log, LogOptions, Recording, Schemas};
use crate::telemetry::Telemetry;

/// The first wait after the object store refused, and the longest.
const RETRY: Duration = Duration::from_secs(1);
const MAX_RETRY: Duration = Duration::from_secs(60);

/// Opens the log, which recovers what an earlier run left, and starts its
/// archive. Where nothing is recorded there is neither.
///
/// # Errors
/// Where its folder or key cannot be used.
pub(super) fn open(
    config: &Config,
    threads: usize,
    telemetry: &Telemetry,
) -> Result<(Recording, Option<Archive>), AppError> {
    let section = &config.predictions;
    if !section.records_anything() {
        return Ok((Recording::off(), None));
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
    let schemas = Arc::new(Schemas::new(root.clone()));
    let retention = &section.retention;
    let options = ArchiveOptions {
        root,
        keep: Keep {
            age: retention.max_age_hours.map(|hours| Duration::from_secs(hours * 3600)),
            bytes: Some(retention.max_bytes),
        },
        ship: ship(config)?,
    };
    let archive = Archive::start(options, Arc::clone(&schemas), Arc::clone(telemetry.log()))?;
    let unknown: Level = section.default_level();
    Ok((Recording::new(log, schemas, hasher, unknown), Some(archive)))
}

fn ship(config: &Config) -> Result<Option<ShipOptions>, AppError> {
    let Some(store) = &config.predictions.store else { return Ok(None) };
    let bucket = registries::bucket(store)
        .map_err(|error| RegistryError::Options { name: "predictions.store".to_owned(), error })?;
    Ok(Some(ShipOptions {
        store: bucket.store(),
        prefix: bucket.prefix().to_owned(),
        bytes_per_second: Some(config.predictions.store_bytes_per_second),
        retry: RETRY,
        max_retry: MAX_RETRY,
    }))
}

/// Where the log is.
pub(super) fn folder(config: &Config) -> PathBuf {
    let own = config.predictions.dir.clone();
    own.unwrap_or_else(|| config.server.data.join("predictions"))
}
