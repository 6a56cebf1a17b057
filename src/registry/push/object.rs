//! Into an object store: the version is claimed, then its files are uploaded,
//! and the manifest last.
//!
//! Only who creates the claim uploads below it, and claims stay, so that no two
//! pushes write the same keys however slow one of them is. Readers take no
//! claimed version without a manifest.

use std::path::Path as FilePath;
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use uuid::Uuid;

use super::{ATTEMPTS, CLAIM_FILE, Package, PushError, next};
use crate::registry::object::from_store;
use crate::registry::{Bucket, ListedFile, MANIFEST_FILE, Progress, SourceError};
use crate::types::{Digest, ModelName, Version};

/// Of one upload; larger files are sent in parts of this size.
const PART: u64 = 8 << 20;
/// Stores take 10,000 parts at most.
const MAX_PARTS: u64 = 9_000;
/// For one request, sending included.
const PATIENCE: Duration = Duration::from_secs(300);

pub(super) async fn push(
    bucket: &Bucket,
    model: &ModelName,
    version: Option<Version>,
    package: &Package,
    progress: &Progress,
) -> Result<(Version, String), PushError> {
    let version = claim(bucket, model, version).await?;
    let place = format!("{model}/{version}");
    let mut uploaded = vec![bucket.key(&format!("{place}/{CLAIM_FILE}"))?];
    match upload(bucket, &place, package, progress, &mut uploaded).await {
        Ok(()) => Ok((version, format!("{}/{place}", bucket.location()))),
        Err(error) => {
            // The claim goes last: until then nobody else writes here.
            for key in uploaded.iter().rev() {
                if let Err(error) = bucket.store.delete(key).await {
                    tracing::warn!(key = %key, error = %from_store(&error), "cannot remove an upload");
                    break;
                }
            }
            Err(error)
        }
    }
}

/// Claims a version, the highest and one more where none is named.
async fn claim(
    bucket: &Bucket,
    model: &ModelName,
    version: Option<Version>,
) -> Result<Version, PushError> {
    let token = Uuid::now_v7().to_string();
    for _ in 0..ATTEMPTS {
        let versions = versions(bucket, model).await?;
        let number = match version {
            Some(version) if versions.contains(&version) => {
                return Err(PushError::Exists { model: model.clone(), version });
            }
            Some(version) => version,
            None => next(versions.into_iter())?,
        };
        let key = bucket.key(&format!("{model}/{number}/{CLAIM_FILE}"))?;
        if create(bucket, &key, token.clone().into()).await? {
            return Ok(number);
        }
    }
    Err(PushError::Overtaken(model.clone()))
}

/// Creates an object unless it exists; whether it did. An attempt whose answer was
/// lost is known by what it wrote.
async fn create(bucket: &Bucket, key: &Path, content: Bytes) -> Result<bool, PushError> {
    let options = PutOptions::from(PutMode::Create);
    match within(bucket.store.put_opts(key, content.clone().into(), options)).await? {
        Ok(_) => Ok(true),
        Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {
            let found = within(bucket.store.get(key)).await?.map_err(|e| from_store(&e))?;
            let found = within(found.bytes()).await?.map_err(|error| from_store(&error))?;
            Ok(found == content)
        }
        Err(error) => Err(from_store(&error).into()),
    }
}

/// Every version that has an object, whatever it is.
async fn versions(bucket: &Bucket, model: &ModelName) -> Result<Vec<Version>, PushError> {
    let prefix = bucket.key(model.as_str())?;
    let listed = within(bucket.store.list_with_delimiter(Some(&prefix))).await?;
    let folders = listed.map_err(|error| from_store(&error))?.common_prefixes;
    Ok(folders.iter().filter_map(|path| Version::parse(path.filename()?).ok()).collect())
}

async fn upload(
    bucket: &Bucket,
    place: &str,
    package: &Package,
    progress: &Progress,
    uploaded: &mut Vec<Path>,
) -> Result<(), PushError> {
    let manifest = package.manifest.to_json()?;
    for (file, path) in package.files() {
        let key = bucket.key(&format!("{place}/{}", file.name))?;
        uploaded.push(key.clone());
        let sent = if file.bytes <= PART {
            put(bucket, &key, path, progress).await?
        } else {
            put_parts(bucket, &key, file, path, progress).await?
        };
        if sent != file.sha256 {
            let reason = format!("'{}' changed while it was pushed", path.display());
            return Err(PushError::Refused(reason));
        }
    }
    let key = bucket.key(&format!("{place}/{MANIFEST_FILE}"))?;
    if create(bucket, &key, manifest.into()).await? {
        Ok(())
    } else {
        Err(SourceError::Changed(format!("somebody else wrote {key}")).into())
    }
}

/// Uploads a small file and gives the digest of what was sent.
async fn put(
    bucket: &Bucket,
    key: &Path,
    path: &FilePath,
    progress: &Progress,
) -> Result<Digest, PushError> {
    let read = tokio::fs::read(path).await;
    let content = Bytes::from(read.map_err(PushError::io(path.display().to_string()))?);
    let put = within(bucket.store.put(key, content.clone().into())).await?;
    put.map_err(|error| from_store(&error))?;
    progress.add(content.len() as u64);
    Ok(Digest::new(Sha256::digest(&content).into()))
}

/// Uploads a large file in parts and gives the digest of what was sent.
async fn put_parts(
    bucket: &Bucket,
    key: &Path,
    listed: &ListedFile,
    path: &FilePath,
    progress: &Progress,
) -> Result<Digest, PushError> {
    let unreadable = || PushError::io(path.display().to_string());
    let part = PART.max(listed.bytes.div_ceil(MAX_PARTS));
    let mut file = File::open(path).await.map_err(unreadable())?;
    let mut hasher = Sha256::new();
    let started = within(bucket.store.put_multipart(key)).await?;
    let mut upload = started.map_err(|error| from_store(&error))?;
    let sending = async {
        loop {
            let mut content = Vec::new();
            (&mut file).take(part).read_to_end(&mut content).await.map_err(unreadable())?;
            if content.is_empty() {
                break;
            }
            hasher.update(&content);
            let bytes = content.len() as u64;
            let sent = within(upload.put_part(PutPayload::from(content))).await?;
            sent.map_err(|error| from_store(&error))?;
            progress.add(bytes);
        }
        within(upload.complete()).await?.map_err(|error| from_store(&error))?;
        Ok::<(), PushError>(())
    };
    if let Err(error) = sending.await {
        // Parts cost money until they are removed.
        let _ = within(upload.abort()).await;
        return Err(error);
    }
    Ok(Digest::new(hasher.finalize().into()))
}

async fn within<T>(request: impl Future<Output = T>) -> Result<T, PushError> {
    let answer = tokio::time::timeout(PATIENCE, request).await;
    let seconds = PATIENCE.as_secs();
    let unreachable = |_| SourceError::Unreachable(format!("no answer within {seconds} s"));
    Ok(answer.map_err(unreachable)?)
}
