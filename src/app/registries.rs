//! Registries as the configuration names them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::config::{AzureConfig, Config, DirConfig, GcsConfig, RegistryConfig, S3Config};
use crate::registry::{
    AzureOptions, Bucket, DirSource, GcsOptions, ObjectSource, S3Options, Source, SourceError,
    Target,
};

/// The registry that `models.dir` is.
pub const MODELS: &str = "models";

#[derive(Debug, Error)]
pub enum RegistryError {
    #[error("registry '{name}': {error}")]
    Options { name: String, error: SourceError },
    #[error("no registry '{name}'; {}", there_is(known))]
    Unknown { name: String, known: Vec<String> },
    #[error("which registry? {}", there_is(known))]
    Ambiguous { known: Vec<String> },
}

/// Every registry: `models.dir` first, then the configured ones by name.
///
/// # Errors
/// When options do not make a client. Nothing is read or sent yet.
pub fn sources(config: &Config) -> Result<Vec<Arc<dyn Source>>, RegistryError> {
    let folder = config.models.dir.as_deref().map(|path| Ok(models(path)));
    let named = config.registries.iter().map(|(name, registry)| source(name, registry));
    folder.into_iter().chain(named).collect()
}

/// The registry `name` as one to push to; the only one there is where none is named.
///
/// # Errors
/// Says which registries there are.
pub fn target(config: &Config, name: Option<&str>) -> Result<Target, RegistryError> {
    let folder = config.models.dir.as_ref();
    let names =
        folder.map(|_| MODELS).into_iter().chain(config.registries.keys().map(String::as_str));
    let known: Vec<String> = names.map(str::to_owned).collect();
    let name = match (name, &known[..]) {
        (Some(name), _) => name.to_owned(),
        (None, [only]) => only.clone(),
        (None, _) => return Err(RegistryError::Ambiguous { known }),
    };
    if let Some(folder) = folder.filter(|_| name == MODELS) {
        return Ok(Target::Dir(folder.clone()));
    }
    let Some(registry) = config.registries.get(&name) else {
        return Err(RegistryError::Unknown { name, known });
    };
    match registry {
        RegistryConfig::Dir(dir) => Ok(Target::Dir(dir.path.clone())),
        registry => bucket(registry)
            .map(Target::Bucket)
            .map_err(|error| RegistryError::Options { name, error }),
    }
}

fn there_is(known: &[String]) -> String {
    match known {
        [] => "none is configured: give a folder or s3://BUCKET/PREFIX".to_owned(),
        known => format!("there is {}", known.join(", ")),
    }
}

fn models(path: &Path) -> Arc<dyn Source> {
    dir(MODELS, &DirConfig { path: path.to_owned(), ..DirConfig::default() })
}

fn dir(name: &str, config: &DirConfig) -> Arc<dyn Source> {
    let (poll, settle) = (millis(config.poll_ms), millis(config.settle_ms));
    Arc::new(DirSource::new(name, &config.path, poll, settle))
}

fn source(name: &str, registry: &RegistryConfig) -> Result<Arc<dyn Source>, RegistryError> {
    let (poll, stall) = match registry {
        RegistryConfig::Dir(config) => return Ok(dir(name, config)),
        RegistryConfig::S3(S3Config { poll_ms, stall_ms, .. })
        | RegistryConfig::Gcs(GcsConfig { poll_ms, stall_ms, .. })
        | RegistryConfig::Azure(AzureConfig { poll_ms, stall_ms, .. }) => {
            (millis(*poll_ms), millis(*stall_ms))
        }
    };
    let bucket = bucket(registry)
        .map_err(|error| RegistryError::Options { name: name.to_owned(), error })?;
    Ok(Arc::new(ObjectSource::new(name, bucket, poll, stall)))
}

/// # Errors
/// Where it is a folder, or its options make no client.
pub(super) fn bucket(registry: &RegistryConfig) -> Result<Bucket, SourceError> {
    match registry.clone() {
        RegistryConfig::Dir(dir) => {
            Err(SourceError::Failed(format!("'{}' is no object store", dir.path.display())))
        }
        RegistryConfig::S3(s3) => Bucket::s3(&S3Options {
            bucket: s3.bucket,
            prefix: s3.prefix,
            region: s3.region,
            endpoint: s3.endpoint,
            allow_http: s3.allow_http,
            access_key_id: s3.access_key_id,
            secret_access_key: s3.secret_access_key,
            session_token: s3.session_token,
        }),
        RegistryConfig::Gcs(gcs) => Bucket::gcs(&GcsOptions {
            bucket: gcs.bucket,
            prefix: gcs.prefix,
            service_account_path: gcs.service_account_path,
        }),
        RegistryConfig::Azure(azure) => Bucket::azure(&AzureOptions {
            account: azure.account,
            container: azure.container,
            prefix: azure.prefix,
            endpoint: azure.endpoint,
            allow_http: azure.allow_http,
            access_key: azure.access_key,
        }),
    }
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
