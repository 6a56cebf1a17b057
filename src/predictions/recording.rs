//! The log as the path of a request sees it: whether there is one, and what
//! versions need to write to it.

use std::sync::Arc;

use super::hash::Hasher;
use super::policy::{Level, Policy};
use super::recorder::Recorder;
use super::schema::Schemas;
use super::store::Log;
use crate::types::{Digest, ModelName, Signature, Version};

/// The log of a gateway, or none.
#[derive(Debug)]
pub struct Recording {
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    log: Arc<Log>,
    schemas: Arc<Schemas>,
    hasher: Hasher,
    /// Of requests for models that do not exist.
    unknown: Level,
}

impl Recording {
    /// Records nothing.
    pub fn off() -> Recording {
        Recording { open: None }
    }

    pub fn new(log: Arc<Log>, schemas: Arc<Schemas>, hasher: Hasher, unknown: Level) -> Recording {
        Recording { open: Some(Open { log, schemas, hasher, unknown }) }
    }

    pub fn log(&self) -> Option<&Arc<Log>> {
        self.open.as_ref().map(|open| &open.log)
    }

    /// Where requests for models that do not exist are recorded.
    pub fn of_unknown(&self) -> Option<(&Arc<Log>, Level)> {
        let open = self.open.as_ref().filter(|open| open.unknown != Level::Off)?;
        Some((&open.log, open.unknown))
    }

    /// What writes the records of a version; `None` where nothing is written.
    /// Puts its schema into a file, and says what the policy cannot mean.
    pub fn recorder(
        &self,
        name: &ModelName,
        version: Version,
        digest: &Digest,
        signature: &Signature,
        policy: &Arc<Policy>,
    ) -> Option<Arc<Recorder>> {
        let open = self.open.as_ref().filter(|_| policy.level != Level::Off)?;
        let (recorder, problems) =
            Recorder::new(name, version, digest, signature, policy, &open.hasher);
        for problem in problems {
            tracing::warn!(model = %name, %version, problem, "the policy of the prediction log");
        }
        if let Err(error) = open.schemas.keep(&recorder.schema) {
            // This process knows it all the same, and the archive asks it.
            tracing::error!(model = %name, %version, %error, "the schema could not be written");
        }
        Some(Arc::new(recorder))
    }
}
