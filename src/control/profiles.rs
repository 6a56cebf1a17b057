//! Finds what the traffic of a version is compared with. The first place that
//! has a profile wins, and one that is wrong there is not passed over:
//!
//! 1. the path in the configuration, for all versions of a model
//! 2. `profile.json` beside the model
//! 3. `drift_profile.json` beside the model, where an `MLmodel` is there too
//! 4. the metadata of the ONNX file

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::settings::DriftSettings;
use crate::drift::live::{Drift, Found, ProfileSource, Standing, Watch};
use crate::drift::profile::{MAX_PROFILE_BYTES, METADATA_KEY, Profile};
use crate::drift::{Misfit, ProfileError};
use crate::onnx::{self, ScanError};
use crate::registry::{MODEL_FILE, PROFILE_FILE};
use crate::serving::Servable;
use crate::types::{Digest, ModelName, Signature};

/// What MLflow's folders of models have, and the artifact that is a profile.
const MLFLOW_FILE: &str = "MLmodel";
const MLFLOW_PROFILE_FILE: &str = "drift_profile.json";

/// Why there is no profile where one was meant to be.
#[derive(Debug, Error)]
pub enum ProfileFault {
    #[error(
        "the profile '{}' that the configuration names is not there; put it there and send SIGHUP, \
         or correct drift.models in the configuration", .0.display()
    )]
    Gone(PathBuf),
    #[error("the profile ({place}) cannot be read: {error}", place = .from.label())]
    Io {
        from: ProfileSource,
        #[source]
        error: io::Error,
    },
    #[error("the profile (onnx) cannot be read: {0}")]
    Model(#[source] ScanError),
    #[error("the profile ({place}) is refused: {error}", place = .from.label())]
    Invalid {
        from: ProfileSource,
        #[source]
        error: ProfileError,
    },
    #[error(
        "the profile ({place}) is of the model '{of}', and this is '{model}'; build it with \
         --name {model}, or put '{model}' in its field model if it is of this model",
        place = .from.label()
    )]
    Name { from: ProfileSource, of: ModelName, model: ModelName },
    #[error("the profile ({place}) is not about this model: {reason}", place = .from.label())]
    Misfit { from: ProfileSource, reason: String },
}

impl ProfileFault {
    fn misfit(from: ProfileSource, misfits: &[Misfit]) -> ProfileFault {
        let reason = misfits.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        ProfileFault::Misfit { from, reason }
    }
}

/// A profile as it stands somewhere.
struct Text {
    bytes: Vec<u8>,
    digest: Digest,
    source: ProfileSource,
}

/// Gives a version what its traffic is compared with, unless it has that
/// already, with its counts. Does I/O. A profile that cannot be used keeps no
/// version from serving: its watch says why, and so does the log.
pub(super) fn fit_watch(
    servable: &Servable,
    drift: &Drift,
    settings: &DriftSettings,
    folder: &Path,
) {
    if !drift.is_on() || !settings.enabled {
        return servable.watch.store(None);
    }
    let before = servable.watch.load_full();
    let (name, version) = (servable.name(), servable.version());
    let files = |name: &str| Some(folder.join(name));
    let found = match find(settings.profile.as_deref(), files) {
        Ok(Some(text)) if before.as_ref().is_some_and(|watch| is_by(watch, &text)) => return,
        Ok(Some(text)) => judge(text, name, Some(servable.signature())).map(Some),
        Ok(None) => Ok(None),
        Err(fault) => Err(fault),
    };
    let watch = match found {
        Ok(Some(found)) => {
            warn_of_another_graph(servable, &found, &folder.join(MODEL_FILE));
            Watch::by(name, version, found, servable.signature(), drift.shards())
        }
        Ok(None) => Watch::none(name, version, "the version has no profile".to_owned()),
        Err(fault) => {
            let watch = Watch::none(name, version, fault.to_string());
            if !before.as_ref().is_some_and(|before| is_none_alike(before, &watch)) {
                tracing::warn!(model = %name, %version, reason = %fault, "drift is not watched");
            }
            watch
        }
    };
    if before.is_some_and(|before| is_none_alike(&before, &watch)) {
        return;
    }
    if let Some(active) = watch.active() {
        let (profile, source) = (&*active.id, active.source.label());
        tracing::info!(model = %name, %version, profile, source, "drift is watched");
    }
    drift.follow(&watch);
    servable.watch.store(Some(watch));
}

/// Checks the profile that a version of a model will have by its files, where
/// it has one. `files` tells where a file of it is now; the signature may not
/// be known. Does I/O.
///
/// # Errors
/// Why a gateway would not use it.
pub fn check_profile(
    files: impl Fn(&str) -> Option<PathBuf>,
    model: &ModelName,
    signature: Option<&Signature>,
) -> Result<(), ProfileFault> {
    match find(None, files)? {
        Some(text) => judge(text, model, signature).map(drop),
        None => Ok(()),
    }
}

fn is_by(watch: &Watch, text: &Text) -> bool {
    let is_same = |digest, source| (digest, source) == (text.digest, text.source);
    watch.active().is_some_and(|active| is_same(active.digest, active.source))
}

fn is_none_alike(before: &Watch, after: &Watch) -> bool {
    let reason = |watch: &Watch| match &watch.standing {
        Standing::None { reason } => Some(reason.clone()),
        Standing::Active(_) => None,
    };
    reason(before).is_some_and(|before| reason(after) == Some(before))
}

fn find(
    configured: Option<&Path>,
    files: impl Fn(&str) -> Option<PathBuf>,
) -> Result<Option<Text>, ProfileFault> {
    if let Some(path) = configured {
        let text = read(path, ProfileSource::Config)?;
        return text.map(Some).ok_or_else(|| ProfileFault::Gone(path.to_owned()));
    }
    let beside = |name, source| files(name).map_or(Ok(None), |path| read(&path, source));
    if let Some(text) = beside(PROFILE_FILE, ProfileSource::Sidecar)? {
        return Ok(Some(text));
    }
    if files(MLFLOW_FILE).is_some_and(|path| path.is_file())
        && let Some(text) = beside(MLFLOW_PROFILE_FILE, ProfileSource::Mlflow)?
    {
        return Ok(Some(text));
    }
    files(MODEL_FILE).map_or(Ok(None), |model| embedded(&model))
}

fn judge(
    text: Text,
    model: &ModelName,
    signature: Option<&Signature>,
) -> Result<Found, ProfileFault> {
    let Text { bytes, digest, source } = text;
    let profile =
        Profile::parse(&bytes).map_err(|error| ProfileFault::Invalid { from: source, error })?;
    if profile.model != *model {
        return Err(ProfileFault::Name { from: source, of: profile.model, model: model.clone() });
    }
    let misfits = signature.map(|signature| profile.misfits(signature)).unwrap_or_default();
    if !misfits.is_empty() {
        return Err(ProfileFault::misfit(source, &misfits));
    }
    Ok(Found { profile, digest, source })
}

/// A profile that was made with another graph is used all the same, since its
/// inputs tell of the training data; but nobody should take the outputs for granted.
/// One in the configuration is for all versions, so most are not its own.
fn warn_of_another_graph(servable: &Servable, found: &Found, model: &Path) {
    let Some(stated) = found.profile.model_digest else { return };
    if found.source == ProfileSource::Config {
        return;
    }
    match graph_digest(model) {
        Ok(own) if own == stated => {}
        Ok(own) => tracing::warn!(
            model = %servable.name(), version = %servable.version(), %stated, %own,
            "the profile was built with another model file: what it says about outputs may not \
             hold for this one; build it anew with --model"
        ),
        // It has just been loaded from there, and the profile is of use without.
        Err(error) => tracing::warn!(
            model = %servable.name(), version = %servable.version(), %error,
            "cannot tell whether the profile was built with this model file"
        ),
    }
}

/// Digest of a model file as profiles state it: without a profile in its metadata.
///
/// # Errors
/// Where the file cannot be read, or is no sound protobuf.
pub fn graph_digest(model: &Path) -> Result<Digest, ScanError> {
    let (file, bytes) = open(model).map_err(ScanError::Io)?;
    onnx::digest_without(file, bytes, METADATA_KEY)
}

fn embedded(model: &Path) -> Result<Option<Text>, ProfileFault> {
    let read = open(model).map_err(ScanError::Io).and_then(|(file, bytes)| {
        onnx::metadata(file, bytes, METADATA_KEY, MAX_PROFILE_BYTES as u64)
    });
    let bytes = read.map_err(ProfileFault::Model)?;
    Ok(bytes.map(|bytes| Text::new(bytes, ProfileSource::Onnx)))
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

/// A file's text, but no more than a profile may have and one byte; none where
/// there is no file.
fn read(path: &Path, source: ProfileSource) -> Result<Option<Text>, ProfileFault> {
    let mut bytes = Vec::new();
    let read = File::open(path)
        .and_then(|file| file.take(MAX_PROFILE_BYTES as u64 + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(Some(Text::new(bytes, source))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ProfileFault::Io { from: source, error }),
    }
}

impl Text {
    fn new(bytes: Vec<u8>, source: ProfileSource) -> Text {
        let digest = Digest::new(Sha256::digest(&bytes).into());
        Text { bytes, digest, source }
    }
}
