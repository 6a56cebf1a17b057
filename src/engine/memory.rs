//! How much memory a loaded model holds, as well as it can be known.

use std::fs;
use std::path::Path;

/// Bytes of memory this process holds; 0 where that cannot be read.
pub(super) fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|number| number.trim().parse::<u64>().ok());
    kilobytes.unwrap_or(0).saturating_mul(1024)
}

/// Bytes of the model's file and of the weights beside it. Everything in the folder
/// counts as weights but what is known to be something else.
pub(super) fn file_bytes(model: &Path) -> u64 {
    const OTHER: [&str; 6] = ["onnx", "json", "yaml", "yml", "md", "txt"];
    let is_weights = |path: &Path| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        path != model && !extension.is_some_and(|extension| OTHER.contains(&extension))
    };
    let beside = model.parent().and_then(|folder| fs::read_dir(folder).ok());
    let weights = beside
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter(|entry| is_weights(&entry.path()))
        .filter_map(|entry| entry.metadata().ok())
        .filter(fs::Metadata::is_file)
        .map(|data| data.len());
    let own = fs::metadata(model).map_or(0, |data| data.len());
    weights.fold(own, u64::saturating_add)
}
