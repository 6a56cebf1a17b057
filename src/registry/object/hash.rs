//! Digests of objects that no manifest states, computed in the background so
//! that a slow one does not hold up the listing.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::Shared;
use super::memory::Tag;
use super::read::Sink;
use crate::registry::SourceError;
use crate::types::Digest;

/// An object whose digest is wanted, by its key below the prefix.
pub(super) type Wanted = (String, Tag);

/// Starts to read what is wanted, one after the other, unless that is going on.
pub(super) fn start(shared: &Arc<Shared>, wanted: Vec<Wanted>) {
    let mut memory = shared.memory();
    if wanted.is_empty() || memory.is_hashing() {
        return;
    }
    let task = tokio::spawn(hash_all(Arc::clone(shared), wanted));
    memory.set_hashing(task.abort_handle());
}

async fn hash_all(shared: Arc<Shared>, wanted: Vec<Wanted>) {
    for (key, tag) in wanted {
        match hash(&shared, &key, &tag).await {
            Ok(digest) => shared.memory().keep_digest(key, tag, digest),
            // The next listing asks again.
            Err(error) => tracing::warn!(key, %error, "cannot read an object of the registry"),
        }
    }
    let changed = shared.changed.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(changed) = changed {
        changed.notify_one();
    }
}

async fn hash(shared: &Shared, key: &str, tag: &Tag) -> Result<Digest, SourceError> {
    let mut hasher = Hasher(Sha256::new());
    let key = shared.bucket.key(key)?;
    shared.bucket.read(&key, tag.bytes, shared.stall, &mut hasher).await?;
    Ok(Digest::new(hasher.0.finalize().into()))
}

struct Hasher(Sha256);

impl Sink for Hasher {
    async fn take(&mut self, bytes: Bytes) -> Result<(), SourceError> {
        self.0.update(&bytes);
        Ok(())
    }
}
