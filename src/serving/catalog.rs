//! The one truth about what is served: an immutable snapshot behind one pointer.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};

use super::servable::Servable;
use crate::telemetry::VersionMetrics;
use crate::types::{Code, InferError, ModelName, Version};

/// Protocol state of a version, as the repository index shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Loading,
    Ready,
    Unavailable,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Loading => "LOADING",
            State::Ready => "READY",
            State::Unavailable => "UNAVAILABLE",
        }
    }

    /// The `state` label of `modelgate_model_state`.
    pub fn label(self) -> &'static str {
        match self {
            State::Loading => "loading",
            State::Ready => "ready",
            State::Unavailable => "rejected",
        }
    }
}

/// One version of a model, served or not.
#[derive(Clone)]
pub struct VersionEntry {
    pub state: State,
    /// Why it is not ready; empty when it is.
    pub reason: Arc<str>,
    /// Present exactly when `state` is [`State::Ready`].
    pub servable: Option<Arc<Servable>>,
    /// Keeps the version's series, also while it is not served.
    pub metrics: Arc<VersionMetrics>,
}

/// One model's versions.
#[derive(Clone, Default)]
pub struct ModelEntry {
    pub versions: BTreeMap<Version, VersionEntry>,
    /// The newest ready version, which answers when none is asked for.
    latest: Option<Arc<Servable>>,
}

impl ModelEntry {
    pub fn latest(&self) -> Option<&Arc<Servable>> {
        self.latest.as_ref()
    }

    /// The versions that are ready, oldest first.
    pub fn ready(&self) -> impl Iterator<Item = &Arc<Servable>> {
        self.versions.values().filter_map(|entry| entry.servable.as_ref())
    }

    fn set(&mut self, version: Version, entry: VersionEntry) {
        self.versions.insert(version, entry);
        self.latest = self.ready().last().cloned();
    }
}

/// Everything served at one moment.
#[derive(Clone, Default)]
pub struct Snapshot {
    models: HashMap<ModelName, Arc<ModelEntry>>,
}

impl Snapshot {
    pub fn model(&self, name: &str) -> Option<&Arc<ModelEntry>> {
        self.models.get(name)
    }

    pub fn models(&self) -> impl Iterator<Item = (&ModelName, &Arc<ModelEntry>)> {
        self.models.iter()
    }

    /// The version that answers for `name`; an empty `version` means the newest.
    ///
    /// # Errors
    /// `NotFound` for a model or version that does not exist, `Unavailable` for
    /// one that is not ready.
    pub fn resolve(&self, name: &str, version: &str) -> Result<&Arc<Servable>, InferError> {
        let model = self.models.get(name).ok_or_else(|| unknown_model(name))?;
        if version.is_empty() {
            return model.latest.as_ref().ok_or_else(|| {
                InferError::new(
                    Code::Unavailable,
                    format!("model '{name}' has no version that is ready"),
                )
            });
        }
        let number =
            Version::parse(version).map_err(|error| InferError::not_found(error.to_string()))?;
        match model.versions.get(&number) {
            Some(VersionEntry { servable: Some(servable), .. }) => Ok(servable),
            Some(_) => Err(InferError::new(
                Code::Unavailable,
                format!("version {number} of model '{name}' is not ready"),
            )),
            None => Err(InferError::not_found(format!(
                "model '{name}' has no version {number}; it has {}",
                list(model.versions.keys())
            ))),
        }
    }
}

fn unknown_model(name: &str) -> InferError {
    // Clients choose the name: quote no more of it than a real name could have.
    let quoted: String = name.chars().take(128).collect();
    InferError::not_found(format!(
        "unknown model '{quoted}'; POST /v2/repository/index lists the models served here"
    ))
}

fn list<'a>(versions: impl Iterator<Item = &'a Version>) -> String {
    let mut shown: Vec<String> = versions.take(21).map(ToString::to_string).collect();
    if shown.len() == 21 {
        shown[20] = "...".to_owned();
    }
    shown.join(", ")
}

/// The published snapshot. Readers never wait; writers build a whole new
/// snapshot and are serialised by a lock that readers never touch.
#[derive(Default)]
pub struct Catalog {
    published: ArcSwap<Snapshot>,
    writer: Mutex<()>,
}

impl Catalog {
    /// The snapshot of this moment. Do not hold it across an await: take the
    /// `Arc` you need out of it.
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.published.load()
    }

    /// Publishes the state of one version.
    pub fn set(&self, name: &ModelName, version: Version, entry: VersionEntry) {
        self.edit(|snapshot| {
            let model = snapshot.models.entry(name.clone()).or_default();
            Arc::make_mut(model).set(version, entry);
        });
    }

    fn edit(&self, change: impl FnOnce(&mut Snapshot)) {
        let _one_writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Snapshot::clone(&self.published.load());
        change(&mut next);
        self.published.store(Arc::new(next));
    }
}
