//! Versions in registries, for tests of the registry alone.

use std::fs;
use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant};

use modelgate::registry::{FileName, Progress, SourceError};
use modelgate::registry::{Listed, ListedFile, Listing, Manifest, Source, file_digest};
use modelgate::types::{DType, ModelName, Version};

use super::onnx_builder::constant;
use super::zoo;

/// Far beyond what listing takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A sound model of a little more than `bytes` bytes; another seed, another content.
pub fn model(seed: u8, bytes: usize) -> Vec<u8> {
    let weights = constant("w", DType::Uint8, &[bytes as i64], vec![seed; bytes]);
    zoo::unary("Neg", DType::Fp32, &["n"]).constant(weights).model()
}

pub fn name(text: &str) -> ModelName {
    ModelName::parse(text).expect("a model's name")
}

pub fn version(number: u64) -> Version {
    Version::parse(&number.to_string()).expect("a version")
}

/// Writes a file and the folders above it.
pub fn write(root: &Path, path: &str, bytes: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
    fs::write(path, bytes).expect("a file");
}

/// A manifest of the files in `folder`.
pub fn manifest(folder: &Path) -> Manifest {
    let files = fs::read_dir(folder).expect("a folder").flatten().map(|entry| ListedFile {
        name: FileName::parse(&entry.file_name().to_string_lossy()).expect("a name"),
        bytes: entry.metadata().expect("a file").len(),
        sha256: file_digest(&entry.path()).expect("a digest"),
    });
    Manifest::new(files.collect(), None)
}

/// The version's entry in a listing.
pub fn find<'a>(listing: &'a Listing, model: &str, number: u64) -> Option<&'a Listed> {
    listing.models.get(model)?.versions.get(&version(number))
}

/// Why the version is unfinished.
pub fn unfinished<'a>(listing: &'a Listing, model: &str, number: u64) -> Option<&'a str> {
    let found = listing
        .unfinished
        .iter()
        .find(|entry| entry.model.as_str() == model && entry.version == version(number));
    found.map(|entry| entry.reason.as_str())
}

/// Lists until what `wanted` looks for is there.
pub async fn list_until<T>(source: &dyn Source, wanted: impl Fn(&Listing) -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        let listing = source.list().await.expect("a listing");
        if let Some(found) = wanted(&listing) {
            return found;
        }
        assert!(Instant::now() < until, "it never came: {listing:#?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The version, once it is whole.
pub async fn listed(source: &dyn Source, model: &str, number: u64) -> Listed {
    list_until(source, |listing| find(listing, model, number).cloned()).await
}

/// Fetches a version into a folder of its own, and gives its files by name.
pub async fn fetch(
    source: &dyn Source,
    listed: &Listed,
) -> Result<Vec<(String, Vec<u8>)>, SourceError> {
    let into = tempfile::tempdir().expect("a folder");
    let progress = Progress::default();
    source.fetch(listed, into.path(), &progress).await?;
    assert_eq!(progress.bytes(), listed.bytes(), "progress tells of every byte once");
    Ok(files(into.path()))
}

/// All files of a folder, hidden ones too, by name.
pub fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    let mut files: Vec<_> = entries
        .map(|entry| {
            let bytes = fs::read(entry.path()).expect("a plain file");
            (entry.file_name().to_string_lossy().into_owned(), bytes)
        })
        .collect();
    files.sort();
    files
}

/// Runs a test's future to its end.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(work)
}
