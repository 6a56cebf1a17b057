//! Finding and starting the ONNX Runtime shared library.

use std::cmp::Reverse;
use std::env;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::EngineError;
use super::ffi::{Environment, library_version};

/// Oldest ONNX Runtime that is accepted: releases before it have known holes.
const OLDEST: (u32, u32) = (1, 28);

const FILE: &str = "libonnxruntime.so";

const FIX: &str = "To fix it: run `make setup` in a checkout, or `pip install onnxruntime` and \
    give the path of its onnxruntime/capi/libonnxruntime.so.1.* with --onnxruntime PATH or \
    MODELGATE_ONNXRUNTIME, or place the file beside the modelgate binary.";

/// The library this process runs on. There is one, and it is never unloaded.
static OPENED: Mutex<Option<Library>> = Mutex::new(None);

/// ONNX Runtime, found, checked and started. A cheap handle: copies name the same.
#[derive(Clone, Copy)]
pub struct Library {
    opened: &'static Opened,
}

struct Opened {
    environment: Environment,
    path: PathBuf,
    version: String,
}

/// One place that was looked at, and why it was not taken.
struct Tried {
    path: PathBuf,
    reason: String,
}

impl Library {
    /// Finds and starts ONNX Runtime. `explicit`, a file or a folder that holds it,
    /// is the operator's choice: where it does not work, that is the error. Without
    /// it the usual places are searched and the first that works is taken.
    pub fn open(explicit: Option<&Path>) -> Result<Library, EngineError> {
        let mut opened = OPENED.lock().map_err(|_| {
            EngineError::Library("starting ONNX Runtime panicked earlier".to_owned())
        })?;
        if let Some(library) = *opened {
            return match explicit {
                Some(path) if !same_file(path, library.path()) => Err(EngineError::Library(
                    format!("cannot use {}: this process already runs {library}", path.display()),
                )),
                _ => Ok(library),
            };
        }
        let library = match explicit {
            Some(path) => open_explicit(path),
            None => open_first(candidates()),
        }
        .map_err(EngineError::Library)?;
        tracing::info!(version = library.version(), path = %library.path().display(), "onnx runtime started");
        *opened = Some(library);
        Ok(library)
    }

    /// Starts the ONNX Runtime that another process of this program has found at `path`,
    /// as that one's [`Library::path`] says.
    pub(super) fn open_found(path: &Path) -> Result<Library, EngineError> {
        start(path).map_err(EngineError::Library)
    }

    pub fn version(&self) -> &'static str {
        &self.opened.version
    }

    pub fn path(&self) -> &'static Path {
        &self.opened.path
    }

    pub(super) fn environment(&self) -> &'static Environment {
        &self.opened.environment
    }
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ONNX Runtime {} from {}", self.version(), self.path().display())
    }
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Library({self})")
    }
}

fn open_explicit(path: &Path) -> Result<Library, String> {
    let file = match path.is_dir() {
        true => {
            newest_in(path).ok_or_else(|| format!("no {FILE} lies in {}. {FIX}", path.display()))?
        }
        false => path.to_owned(),
    };
    // An absolute path keeps the loader and `ort` from searching other places for it.
    let file = std::path::absolute(&file).unwrap_or(file);
    if !file.exists() {
        return Err(format!("there is no file {}. {FIX}", file.display()));
    }
    start(&file).map_err(|reason| format!("cannot use {}: {reason}. {FIX}", file.display()))
}

fn open_first(candidates: Vec<PathBuf>) -> Result<Library, String> {
    let mut tried: Vec<Tried> = Vec::new();
    for path in candidates {
        if tried.iter().any(|earlier| earlier.path == path) {
            continue;
        }
        match require_trusted(&path).and_then(|()| start(&path)) {
            Ok(library) => return Ok(library),
            Err(reason) => tried.push(Tried { path, reason }),
        }
    }
    let list: String =
        tried.iter().map(|t| format!("\n  {}: {}", t.path.display(), t.reason)).collect();
    Err(format!("ONNX Runtime was not found. Tried:{list}\n{FIX}"))
}

/// Starts the library at `path`, a file or a name for the system's loader.
fn start(path: &Path) -> Result<Library, String> {
    let version = library_version(path)?;
    require_supported(&version)?;
    let environment = Environment::start(path)?;
    let opened = Box::new(Opened { environment, path: path.to_owned(), version });
    // One per process, and values that point into the library may outlive any owner.
    Ok(Library { opened: Box::leak(opened) })
}

/// Refuses a library that another user could have put where this one looks: the
/// search climbs from the working folder, which may be anyone's. A name without a
/// folder is left to the system's loader, which has its own rules.
fn require_trusted(path: &Path) -> Result<(), String> {
    if !path.is_absolute() {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(path);
    for place in [path, folder] {
        let Ok(data) = std::fs::metadata(place) else { return Err("no such file".to_owned()) };
        let owner = data.uid();
        if owner != 0 && owner != rustix::process::geteuid().as_raw() {
            return Err(format!("{} belongs to another user (id {owner})", place.display()));
        }
        if data.mode() & 0o002 != 0 {
            return Err(format!("anyone may write to {}", place.display()));
        }
    }
    Ok(())
}

fn require_supported(version: &str) -> Result<(), String> {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    let (major, minor) = (parts.next().flatten(), parts.next().flatten());
    match (major, minor) {
        (Some(major), Some(minor)) if major == OLDEST.0 && (major, minor) >= OLDEST => Ok(()),
        (Some(_), Some(_)) => Err(format!(
            "it is version {version}, but {}.{} or a later {}.x is needed (earlier releases have \
             known security holes)",
            OLDEST.0, OLDEST.1, OLDEST.0
        )),
        _ => Err(format!("its version '{version}' is not understood")),
    }
}

/// Where the library is looked for when nobody says, in order.
fn candidates() -> Vec<PathBuf> {
    let executable = env::current_exe().ok();
    let beside = executable.as_deref().and_then(Path::parent).map(Path::to_owned);
    let mut paths = Vec::new();
    if let Some(path) = env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) {
        paths.push(PathBuf::from(path));
    }
    for folder in beside.iter().flat_map(|folder| [folder.clone(), folder.join("lib")]) {
        paths.push(newest_in(&folder).unwrap_or_else(|| folder.join(FILE)));
    }
    // Tests and development builds run somewhere below the checkout.
    let starts = env::current_dir().into_iter().chain(beside);
    let checkouts: Vec<PathBuf> = starts
        .flat_map(|start| start.ancestors().map(Path::to_owned).collect::<Vec<_>>())
        .collect();
    let cached: Vec<PathBuf> = checkouts.iter().filter_map(|root| newest_cached(root)).collect();
    match (cached.is_empty(), checkouts.first()) {
        // Named even though it is not there, so that the error tells where it would be.
        (true, Some(here)) => paths.push(here.join(".cache/onnxruntime/<version>").join(FILE)),
        _ => paths.extend(cached),
    }
    paths.extend([PathBuf::from(FILE), PathBuf::from(format!("{FILE}.1"))]);
    paths
}

/// The newest library of `<root>/.cache/onnxruntime/<version>/`.
fn newest_cached(root: &Path) -> Option<PathBuf> {
    let mut versions: Vec<PathBuf> = entries(&root.join(".cache/onnxruntime")).collect();
    versions.sort_by_key(|path| Reverse(numbers(path)));
    versions.iter().find_map(|folder| newest_in(folder))
}

/// The newest `libonnxruntime.so*` of a folder; a longer version number is newer
/// than the bare name, which is often a link to it.
fn newest_in(folder: &Path) -> Option<PathBuf> {
    entries(folder)
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name == FILE || name.strip_prefix(FILE).is_some_and(|rest| rest.starts_with(".1"))
        })
        .max_by_key(|path| numbers(path))
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let folder = std::fs::read_dir(folder).into_iter().flatten();
    folder.filter_map(Result::ok).map(|entry| entry.path())
}

/// The numbers in a file's name, for comparing versions.
fn numbers(path: &Path) -> Vec<u32> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.split('.').filter_map(|part| part.parse().ok()).collect()
}

fn same_file(a: &Path, b: &Path) -> bool {
    let a = if a.is_dir() { newest_in(a).unwrap_or_else(|| a.to_owned()) } else { a.to_owned() };
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_foreign_versions_are_refused() {
        for good in ["1.28.0", "1.31.1", "1.100.0"] {
            assert_eq!(require_supported(good), Ok(()));
        }
        for bad in ["1.27.2", "0.99.0", "2.0.0", "", "dev"] {
            assert!(require_supported(bad).is_err(), "{bad} must be refused");
        }
        let message = require_supported("1.27.0").expect_err("too old");
        assert!(message.contains("1.27.0") && message.contains("1.28"), "{message}");
    }

    #[test]
    fn the_newest_version_of_a_folder_is_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["libonnxruntime.so", "libonnxruntime.so.1", "libonnxruntime.so.1.9.0"] {
            std::fs::write(folder.path().join(name), "").expect("a file");
        }
        std::fs::write(folder.path().join("libonnxruntime.so.1.31.1"), "").expect("a file");
        std::fs::write(folder.path().join("libonnxruntime.so.2"), "").expect("a file");
        std::fs::write(folder.path().join("libonnxruntime_providers.so"), "").expect("a file");
        let newest = newest_in(folder.path()).expect("one of them");
        assert!(newest.ends_with("libonnxruntime.so.1.31.1"), "{}", newest.display());
    }

    #[test]
    fn what_was_tried_is_listed_with_reasons_and_a_fix() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = folder.path().join(FILE);
        std::fs::write(&text, "not a library").expect("a file");
        let missing = folder.path().join("missing.so");
        let error = open_first(vec![text.clone(), missing.clone()]).expect_err("neither works");
        for part in [&text.display().to_string(), &missing.display().to_string()] {
            assert!(error.contains(part.as_str()), "{error}");
        }
        assert!(error.contains("no such file") && error.contains("make setup"), "{error}");
    }

    #[test]
    fn a_library_that_anyone_may_replace_is_not_taken() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(FILE);
        std::fs::write(&file, "").expect("a file");
        assert_eq!(require_trusted(&file), Ok(()));
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(folder.path(), open).expect("changed");
        let reason = require_trusted(&file).expect_err("the folder is open to all");
        assert!(reason.contains("anyone"), "{reason}");
    }

    #[test]
    fn an_explicit_path_that_does_not_work_is_the_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = folder.path().join("missing.so");
        let error = open_explicit(&missing).expect_err("it is missing");
        assert!(error.contains("missing.so") && error.contains("--onnxruntime"), "{error}");
        let error = open_explicit(folder.path()).expect_err("the folder is empty");
        assert!(error.contains(FILE), "{error}");
    }
}
