//! Whether the newest version answers, and whether it is what a folder holds.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;
use thiserror::Error;

use super::tables::hold_text;
use crate::cli::output::plain;
use crate::cli::{FAILED, REJECTED};
use crate::control::{Hold, ModelStatus, VersionStatus};
use crate::registry::{
    FileName, ListedFile, MANIFEST_FILE, MODEL_FILE, Manifest, ManifestError, OPTIONS_FILE,
    file_digest, version_digest,
};
use crate::types::{Digest, ModelName, Stage, Version};

#[derive(Debug, Error)]
pub(super) enum LocalError {
    #[error("cannot read {}: {error}", path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error("{}: {error}", path.display())]
    Manifest { path: PathBuf, error: ManifestError },
    #[error(
        "no version of {name} in {}: expected {name}/<version>/model.onnx, <version>/model.onnx \
         or model.onnx there",
        path.display()
    )]
    Nothing { path: PathBuf, name: ModelName },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// The newest version answers requests that name none, or a hold says which does.
    Serves,
    Rejected,
    /// On its way, or not asked for.
    NotServed,
    /// What the folder holds is something else.
    Differs,
}

#[derive(Debug, Serialize)]
pub(super) struct Verified {
    model: ModelName,
    verdict: Verdict,
    default: Option<Version>,
    hold: Option<Hold>,
    newest: Option<Newest>,
    /// Versions of the folder, where one was given.
    local: Vec<Local>,
}

#[derive(Debug, Serialize)]
struct Newest {
    version: Version,
    stage: Stage,
    digest: Digest,
    reason: Option<String>,
}

#[derive(Debug, Serialize)]
struct Local {
    version: Version,
    comparison: Comparison,
    /// Of the gateway's version, where it knows one under this number.
    served: Option<Digest>,
    /// Of the folder's, where it has one.
    here: Option<Digest>,
    files: Vec<ListedFile>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Comparison {
    Same,
    Differs,
    /// The gateway answers with a version that the folder does not hold.
    NotHere,
    /// The registry has it, and nothing asks to load it.
    NotLoaded,
    /// The gateway has not heard of it.
    Unknown,
}

impl Comparison {
    fn text(self) -> &'static str {
        match self {
            Comparison::Same => "the same as here",
            Comparison::Differs => "differs from what is here",
            Comparison::NotHere => "not here",
            Comparison::NotLoaded => "not loaded, so not compared",
            Comparison::Unknown => "not known to the gateway",
        }
    }

    fn is_fault(self) -> bool {
        matches!(self, Comparison::Differs | Comparison::NotHere | Comparison::Unknown)
    }
}

pub(super) fn verify(model: &ModelStatus, folder: Option<&Path>) -> Result<Verified, LocalError> {
    let newest = model.versions.iter().find(|version| version.stage != Stage::Gone);
    let local = match folder {
        Some(folder) => compare(model, &local_versions(folder, &model.name)?),
        None => Vec::new(),
    };
    let differs = local.iter().any(|local| local.comparison.is_fault());
    Ok(Verified {
        model: model.name.clone(),
        verdict: if differs { Verdict::Differs } else { verdict(model, newest) },
        default: model.default,
        hold: model.hold.clone(),
        newest: newest.map(|newest| Newest {
            version: newest.version,
            stage: newest.stage,
            digest: newest.digest,
            reason: newest.reason.clone(),
        }),
        local,
    })
}

fn verdict(model: &ModelStatus, newest: Option<&VersionStatus>) -> Verdict {
    let Some(newest) = newest else { return Verdict::NotServed };
    let held = model.hold.as_ref().is_some_and(|hold| model.default == Some(hold.version));
    match newest.stage {
        Stage::Rejected => Verdict::Rejected,
        Stage::Ready if model.default == Some(newest.version) => Verdict::Serves,
        _ if held => Verdict::Serves,
        _ => Verdict::NotServed,
    }
}

type LocalVersions = BTreeMap<Version, Vec<ListedFile>>;

fn compare(model: &ModelStatus, here: &LocalVersions) -> Vec<Local> {
    let served = |number: Version| {
        let mut versions = model.versions.iter();
        versions.find(|version| version.version == number && version.stage != Stage::Gone)
    };
    let mut compared: Vec<Local> = here
        .iter()
        .map(|(number, files)| {
            let (there, digest) = (served(*number), version_digest(files));
            let comparison = match there {
                Some(there) if there.digest == digest => Comparison::Same,
                Some(_) => Comparison::Differs,
                None if model.unloaded.contains(number) => Comparison::NotLoaded,
                None => Comparison::Unknown,
            };
            Local {
                version: *number,
                comparison,
                served: there.map(|there| there.digest),
                here: Some(digest),
                files: files.clone(),
            }
        })
        .collect();
    let ready = model.versions.iter().filter(|version| version.stage == Stage::Ready);
    // What is kept for a rollback may have left the registry.
    let missing = ready.filter(|version| !version.kept && !here.contains_key(&version.version));
    compared.extend(missing.map(|version| Local {
        version: version.version,
        comparison: Comparison::NotHere,
        served: Some(version.digest),
        here: None,
        files: Vec::new(),
    }));
    compared
}

/// The versions in a folder of models, of one model, or of one version, by the
/// rules of a registry that is a folder.
fn local_versions(folder: &Path, name: &ModelName) -> Result<LocalVersions, LocalError> {
    let of_model = folder.join(name.as_str());
    let base = if of_model.is_dir() { of_model } else { folder.to_owned() };
    let mut versions = LocalVersions::new();
    for path in entries(&base)? {
        if let Some(number) = number(&path)
            && path.join(MODEL_FILE).is_file()
        {
            versions.insert(number, local_files(&path)?);
        }
    }
    let flat = number(&base).unwrap_or(Version::FIRST);
    if !versions.contains_key(&flat) && base.join(MODEL_FILE).is_file() {
        versions.insert(flat, local_files(&base)?);
    }
    if versions.is_empty() {
        return Err(LocalError::Nothing { path: folder.to_owned(), name: name.clone() });
    }
    Ok(versions)
}

/// The version whose folder this is by its name.
fn number(folder: &Path) -> Option<Version> {
    let name = folder.file_name()?.to_str()?;
    // `01` would be another folder of the same number.
    Version::parse(name).ok().filter(|number| number.to_string() == name)
}

/// Digests of the files that make a version: those that its manifest names, or
/// all where it has none.
fn local_files(folder: &Path) -> Result<Vec<ListedFile>, LocalError> {
    let names = match stated(&folder.join(MANIFEST_FILE))? {
        Some(manifest) => manifest.files.into_iter().map(|file| file.name).collect(),
        None => plain_files(folder)?,
    };
    let mut files = Vec::new();
    for name in names {
        let path = folder.join(name.as_str());
        let read = fs::metadata(&path).and_then(|meta| Ok((meta.len(), file_digest(&path)?)));
        let (bytes, sha256) = read.map_err(|error| LocalError::Read { path, error })?;
        files.push(ListedFile { name, bytes, sha256 });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

fn stated(path: &Path) -> Result<Option<Manifest>, LocalError> {
    let read = |file: fs::File| {
        let mut bytes = Vec::new();
        file.take(Manifest::MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map(|_| bytes)
    };
    match fs::File::open(path).and_then(read) {
        Ok(bytes) => Manifest::parse(&bytes)
            .map(Some)
            .map_err(|error| LocalError::Manifest { path: path.to_owned(), error }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LocalError::Read { path: path.to_owned(), error }),
    }
}

/// Names of a version's files. Options stand beside them where the folder is
/// the model's own.
fn plain_files(folder: &Path) -> Result<Vec<FileName>, LocalError> {
    let files = entries(folder)?.into_iter().filter(|path| path.is_file());
    let names = files.filter_map(|path| FileName::parse(path.file_name()?.to_str()?).ok());
    Ok(names.filter(|name| name.as_str() != OPTIONS_FILE).collect())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, LocalError> {
    let list = || -> io::Result<Vec<PathBuf>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
    };
    list().map_err(|error| LocalError::Read { path: folder.to_owned(), error })
}

impl Verified {
    pub(super) fn exit_code(&self) -> ExitCode {
        match self.verdict {
            Verdict::Serves => ExitCode::SUCCESS,
            Verdict::Rejected => ExitCode::from(REJECTED),
            Verdict::NotServed | Verdict::Differs => ExitCode::from(FAILED),
        }
    }

    pub(super) fn text(&self) -> String {
        let model = &self.model;
        let mut lines = Vec::new();
        match &self.newest {
            Some(newest) => {
                let (version, stage, digest) =
                    (newest.version, newest.stage.label(), newest.digest);
                lines.push(format!("{model} version {version} is {stage} ({digest})"));
                lines.extend(newest.reason.iter().map(|reason| format!("reason: {reason}")));
            }
            None => lines.push(format!("{model} has no version that is loaded")),
        }
        lines.extend(self.hold.iter().map(|hold| format!("held: {}", hold_text(hold))));
        lines.push(match self.default {
            Some(default) => format!("requests that name no version get version {default}"),
            None => "requests that name no version are refused".to_owned(),
        });
        for local in &self.local {
            let version = local.version;
            lines.push(format!("version {version}: {}", local.comparison.text()));
            if local.comparison == Comparison::Differs {
                lines.extend(local.served.map(|digest| format!("  served  {digest}")));
                lines.extend(local.here.map(|digest| format!("  here    {digest}")));
            }
            lines
                .extend(local.files.iter().map(|file| format!("  {}  {}", file.sha256, file.name)));
        }
        lines.iter().map(|line| plain(line) + "\n").collect()
    }
}
