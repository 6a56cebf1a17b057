//! One look at an object store: what is whole, and what is not yet.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::error::from_store;
use super::hash::{self, Wanted};
use super::memory::{Memory, Tag};
use super::read::stalled;
use super::{Bytes, Shared, Sink};
use crate::registry::push::CLAIM_FILE;
use crate::registry::{
    FileName, Listed, ListedFile, ListedModel, Listing, MANIFEST_FILE, MODEL_FILE, Manifest,
    OPTIONS_FILE, SourceError, Unfinished, version_digest,
};
use crate::types::{ModelName, Version};

const MAX_OBJECTS: usize = 250_000;
const MAX_MODELS: usize = 10_000;
const MAX_OPTIONS_BYTES: usize = 64 * 1024;

/// Manifests and options that are read at once.
const READS: usize = 8;

/// Objects by model and version.
type Models = BTreeMap<ModelName, Model>;

#[derive(Default)]
struct Model {
    options: Option<Object>,
    versions: BTreeMap<Version, Objects>,
}

#[derive(Default)]
struct Objects {
    all: Vec<Object>,
    /// Whether `modelgate push` makes the version, so that a manifest will come.
    claimed: bool,
}

struct Object {
    /// Below the prefix.
    key: String,
    name: String,
    tag: Tag,
}

pub(super) async fn list(shared: &Arc<Shared>) -> Result<Listing, SourceError> {
    let models = objects(shared).await?;
    read_texts(shared, &models).await?;
    let mut wanted = Vec::new();
    let listing = {
        let mut memory = shared.memory();
        let listing = judge(&models, &mut memory, &mut wanted);
        forget_unmet(&models, &mut memory);
        listing
    };
    hash::start(shared, wanted);
    Ok(listing)
}

/// All objects that belong to a model. Those whose key says otherwise, or
/// where a part begins with `.` or `_`, are passed over.
async fn objects(shared: &Shared) -> Result<Models, SourceError> {
    let bucket = &shared.bucket;
    let mut models = Models::new();
    let mut listed = bucket.store.list(Some(&bucket.key("")?));
    let mut count = 0;
    loop {
        let next = tokio::time::timeout(shared.stall, listed.next()).await;
        let Some(meta) = next.map_err(|_| stalled(shared.stall))? else { break };
        let meta = meta.map_err(|error| from_store(&error))?;
        count += 1;
        if count > MAX_OBJECTS {
            return Err(SourceError::Failed(format!("it holds more than {MAX_OBJECTS} objects")));
        }
        let Some(key) = bucket.below(&meta.location) else { continue };
        let tag = Tag::of(&meta);
        let parts: Vec<&str> = key.split('/').collect();
        let object = |name: &str| Object { key: key.to_owned(), name: name.to_owned(), tag };
        let is_claim = parts.len() == 3 && parts[2] == CLAIM_FILE;
        if !is_claim && parts.iter().any(|part| part.starts_with(['.', '_'])) {
            continue;
        }
        let Some(Ok(name)) = parts.first().map(|name| ModelName::parse(name)) else { continue };
        match parts[1..] {
            [OPTIONS_FILE] => models.entry(name).or_default().options = Some(object(OPTIONS_FILE)),
            [number, file] => {
                let Ok(version) = Version::parse(number) else { continue };
                // `01` would be another folder of the same number.
                if version.to_string() == number {
                    let model = models.entry(name).or_default();
                    let objects = model.versions.entry(version).or_default();
                    if is_claim {
                        objects.claimed = true;
                    } else {
                        objects.all.push(object(file));
                    }
                }
            }
            _ => {}
        }
        if models.len() > MAX_MODELS {
            return Err(SourceError::Failed(format!("it holds more than {MAX_MODELS} models")));
        }
    }
    tracing::debug!(objects = count, requests = count / 1000 + 1, "listed an object store");
    Ok(models)
}

/// Reads the manifests and options that are not known. The entity tags of the
/// listing are the condition, so that what is known costs no request.
async fn read_texts(shared: &Shared, models: &Models) -> Result<(), SourceError> {
    let manifests =
        models.values().flat_map(|model| model.versions.values().flat_map(|objects| &objects.all));
    let manifests = manifests.filter(|object| object.name == MANIFEST_FILE);
    let options = models.values().filter_map(|model| model.options.as_ref());
    let manifests = manifests.map(|object| (object, Manifest::MAX_BYTES));
    let missing: Vec<(String, Tag, usize)> = {
        let memory = shared.memory();
        manifests
            .chain(options.map(|object| (object, MAX_OPTIONS_BYTES)))
            .filter(|(object, _)| memory.text(&object.key, &object.tag).is_none())
            .map(|(object, most)| (object.key.clone(), object.tag.clone(), most))
            .collect()
    };
    let reads = stream::iter(missing).map(|(key, tag, most)| read_text(shared, key, tag, most));
    reads.buffer_unordered(READS).try_collect::<Vec<()>>().await?;
    Ok(())
}

/// Reads a small object into the memory.
async fn read_text(shared: &Shared, key: String, tag: Tag, most: usize) -> Result<(), SourceError> {
    if tag.bytes > most as u64 {
        let reason = format!("it holds more than {} KiB", most / 1024);
        shared.memory().keep_text(key, tag, Err(reason));
        return Ok(());
    }
    let mut text = Text(Vec::new());
    match shared.bucket.read(&shared.bucket.key(&key)?, tag.bytes, shared.stall, &mut text).await {
        Ok(()) => {
            let text = String::from_utf8(text.0).map_err(|_| "it is not UTF-8".to_owned());
            shared.memory().keep_text(key, tag, text);
            Ok(())
        }
        // Not kept: the next listing reads it anew.
        Err(SourceError::Changed(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

struct Text(Vec<u8>);

impl Sink for Text {
    async fn take(&mut self, bytes: Bytes) -> Result<(), SourceError> {
        self.0.extend_from_slice(&bytes);
        Ok(())
    }
}

/// What is whole and what is not. Digests that are missing are added to `wanted`.
fn judge(models: &Models, memory: &mut Memory, wanted: &mut Vec<Wanted>) -> Listing {
    let mut listing = Listing::default();
    for (name, model) in models {
        let options = match &model.options {
            Some(object) => text(object, memory).map(Some),
            None => Ok(None),
        };
        let mut versions = BTreeMap::new();
        for (version, objects) in &model.versions {
            let judged = match &options {
                Ok(_) => judge_version(&format!("{name}/{version}"), objects, memory, wanted),
                Err(reason) => Err(reason.clone()),
            };
            match judged {
                Ok(listed) => {
                    versions.insert(*version, listed);
                }
                Err(reason) => {
                    let (model, version) = (name.clone(), *version);
                    listing.unfinished.push(Unfinished { model, version, reason });
                }
            }
        }
        if !versions.is_empty() {
            let options = options.unwrap_or_default();
            listing.models.insert(name.clone(), ListedModel { options, versions });
        }
    }
    listing
}

fn judge_version(
    place: &str,
    objects: &Objects,
    memory: &mut Memory,
    wanted: &mut Vec<Wanted>,
) -> Result<Listed, String> {
    let manifest = objects.all.iter().find(|object| object.name == MANIFEST_FILE);
    let files = match manifest {
        Some(manifest) => stated(&objects.all, &text(manifest, memory)?)?,
        None if objects.claimed => {
            return Err(format!("it is being pushed: there is no {MANIFEST_FILE} yet"));
        }
        None => hashed(place, &objects.all, memory, wanted)?,
    };
    Ok(Listed { digest: version_digest(&files), place: place.to_owned(), files })
}

/// A version as its manifest states it, where all of that is there.
fn stated(objects: &[Object], manifest: &str) -> Result<Vec<ListedFile>, String> {
    let manifest = Manifest::parse(manifest.as_bytes()).map_err(|error| error.to_string())?;
    for wanted in &manifest.files {
        let object = objects.iter().find(|object| object.name == wanted.name.as_str());
        let arrived = object.map_or(0, |object| object.tag.bytes);
        if object.is_none() || arrived != wanted.bytes {
            return Err(format!(
                "'{}' has {arrived} of the {} bytes that {MANIFEST_FILE} states",
                wanted.name, wanted.bytes
            ));
        }
    }
    Ok(manifest.files)
}

/// A version without a manifest, with the digests of its objects.
fn hashed(
    place: &str,
    objects: &[Object],
    memory: &mut Memory,
    wanted: &mut Vec<Wanted>,
) -> Result<Vec<ListedFile>, String> {
    if objects.len() > Manifest::MAX_FILES {
        return Err(format!("it has more than {} files", Manifest::MAX_FILES));
    }
    let tags = objects.iter().map(|object| (object.name.clone(), object.tag.clone())).collect();
    if !memory.is_settled(place, tags) {
        return Err(
            "it is new or changed, and taken when the next listing finds it the same".into()
        );
    }
    if !objects.iter().any(|object| object.name == MODEL_FILE) {
        return Err(format!("it has no {MODEL_FILE}"));
    }
    let mut files = Vec::with_capacity(objects.len());
    for object in objects {
        let name = FileName::parse(&object.name).map_err(|error| error.to_string())?;
        match memory.digest(&object.key, &object.tag) {
            Some(sha256) => files.push(ListedFile { name, bytes: object.tag.bytes, sha256 }),
            None => wanted.push((object.key.clone(), object.tag.clone())),
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    if files.len() == objects.len() {
        Ok(files)
    } else {
        Err("it has no manifest, and its digests are being computed".to_owned())
    }
}

/// The text of a manifest or of options, which was read before.
fn text(object: &Object, memory: &Memory) -> Result<String, String> {
    match memory.text(&object.key, &object.tag) {
        Some(Ok(text)) => Ok(text.clone()),
        Some(Err(reason)) => Err(format!("{}: {reason}", object.name)),
        None => Err(format!("{} changed while it was read", object.name)),
    }
}

fn forget_unmet(models: &Models, memory: &mut Memory) {
    let objects = models.values().flat_map(|model| {
        let objects = model.versions.values().flat_map(|objects| &objects.all);
        model.options.iter().chain(objects)
    });
    let keys: HashSet<&str> = objects.map(|object| object.key.as_str()).collect();
    let places: HashSet<&str> =
        keys.iter().filter_map(|key| Some(key.rsplit_once('/')?.0)).collect();
    memory.keep_only(&keys, &places);
}
