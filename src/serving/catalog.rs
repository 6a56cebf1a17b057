//! The one truth about what is served: an immutable snapshot behind one pointer.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};

use super::route::ServedRoute;
use super::servable::Servable;
use crate::types::{Code, InferError, ModelName, Stage, Version};

/// One model's versions.
#[derive(Clone, Default)]
pub struct ModelEntry {
    /// Answers requests that name no version.
    pub default: Option<Arc<Servable>>,
    /// Answer requests that name a version.
    pub ready: BTreeMap<Version, Arc<Servable>>,
    /// Names that stand for versions in requests.
    pub labels: BTreeMap<String, Version>,
    /// Every version that is known, served or not, oldest first.
    pub known: Vec<KnownVersion>,
}

/// A version as the repository index shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownVersion {
    pub version: Version,
    pub stage: Stage,
    /// Why it is not ready; empty when it is.
    pub reason: Arc<str>,
}

/// What one name stands for: a route wins over a model.
#[derive(Clone, Default)]
pub struct Named {
    pub route: Option<Arc<ServedRoute>>,
    pub model: Option<Arc<ModelEntry>>,
}

/// Everything served at one moment.
#[derive(Clone, Default)]
pub struct Snapshot {
    names: HashMap<ModelName, Named>,
}

impl Snapshot {
    /// What answers to a name.
    ///
    /// # Errors
    /// `NotFound` where nothing does.
    pub fn named(&self, name: &str) -> Result<&Named, InferError> {
        self.names.get(name).ok_or_else(|| unknown_model(name))
    }

    pub fn model(&self, name: &str) -> Option<&Arc<ModelEntry>> {
        self.names.get(name)?.model.as_ref()
    }

    pub fn models(&self) -> impl Iterator<Item = (&ModelName, &Arc<ModelEntry>)> {
        self.names.iter().filter_map(|(name, named)| Some((name, named.model.as_ref()?)))
    }

    pub fn route(&self, name: &str) -> Option<&Arc<ServedRoute>> {
        self.names.get(name)?.route.as_ref()
    }

    pub fn routes(&self) -> impl Iterator<Item = (&ModelName, &Arc<ServedRoute>)> {
        self.names.iter().filter_map(|(name, named)| Some((name, named.route.as_ref()?)))
    }

    /// The version that answers for `name`; an empty `version` means the
    /// model's default, or the champion of a route, another one is a number or a label.
    ///
    /// # Errors
    /// `NotFound` for a model, version or label that does not exist,
    /// `Unavailable` for one that is not ready.
    pub fn resolve(&self, name: &str, version: &str) -> Result<&Arc<Servable>, InferError> {
        self.named(name)?.resolve(name, version)
    }
}

impl Named {
    /// As [`Snapshot::resolve`].
    pub fn resolve(&self, name: &str, version: &str) -> Result<&Arc<Servable>, InferError> {
        match (&self.route, &self.model) {
            (Some(route), _) => route.resolve(version),
            (None, Some(model)) => model.resolve(name, version),
            (None, None) => Err(unknown_model(name)),
        }
    }
}

impl ModelEntry {
    /// The version that answers: the default for an empty `version`, else a
    /// number or a label. `name` is how the caller calls it.
    ///
    /// # Errors
    /// `NotFound` for a version or label that does not exist, `Unavailable`
    /// for one that is not ready.
    pub fn resolve(&self, name: &str, version: &str) -> Result<&Arc<Servable>, InferError> {
        if version.is_empty() {
            return self.default.as_ref().ok_or_else(|| no_version_ready(name));
        }
        self.find(version).ok_or_else(|| self.missing(name, version))
    }

    fn find(&self, version: &str) -> Option<&Arc<Servable>> {
        let number = match version.as_bytes().first() {
            Some(b'0'..=b'9') => Version::parse(version).ok()?,
            _ => *self.labels.get(version)?,
        };
        self.ready.get(&number)
    }

    /// Why `version` cannot answer.
    fn missing(&self, name: &str, version: &str) -> InferError {
        let number = match (self.labels.get(version), Version::parse(version)) {
            (Some(number), _) => *number,
            (None, Ok(number)) => number,
            (None, Err(_)) => {
                let labels: Vec<&str> = self.labels.keys().map(String::as_str).take(20).collect();
                return InferError::not_found(format!(
                    "model '{name}' has no version '{}': expected a positive integer{}{}",
                    version.chars().take(40).collect::<String>(),
                    if labels.is_empty() { "" } else { ", or a label: " },
                    labels.join(", ")
                ));
            }
        };
        if self.known.iter().any(|known| known.version == number) {
            let message = format!("version {number} of model '{name}' is not ready");
            return InferError::new(Code::Unavailable, message);
        }
        let known = self.known.iter().map(|known| &known.version);
        InferError::not_found(format!(
            "model '{name}' has no version {number}; it has {}",
            list(known)
        ))
    }
}

fn unknown_model(name: &str) -> InferError {
    // Clients choose the name: quote no more of it than a real name could have.
    let quoted: String = name.chars().take(128).collect();
    InferError::not_found(format!(
        "unknown model '{quoted}'; POST /v2/repository/index lists the models served here"
    ))
}

fn no_version_ready(name: &str) -> InferError {
    InferError::new(Code::Unavailable, format!("model '{name}' has no version that is ready"))
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

    /// Replaces some models and routes, or takes them out, in one step.
    /// Returns the snapshot before it, so that the caller can see to where it
    /// is freed.
    pub fn publish(
        &self,
        models: impl IntoIterator<Item = (ModelName, Option<Arc<ModelEntry>>)>,
        routes: impl IntoIterator<Item = (ModelName, Option<Arc<ServedRoute>>)>,
    ) -> Arc<Snapshot> {
        let _one_writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Snapshot::clone(&self.published.load());
        for (name, model) in models {
            next.names.entry(name).or_default().model = model;
        }
        for (name, route) in routes {
            next.names.entry(name).or_default().route = route;
        }
        next.names.retain(|_, named| named.route.is_some() || named.model.is_some());
        self.published.swap(Arc::new(next))
    }
}
