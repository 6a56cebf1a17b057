//! The ONNX protobuf read safely, before ONNX Runtime sees it.
//!
//! [`scan`] walks a model file field by field: it keeps no content, so a hostile file
//! costs no memory, and it refuses what is not a sound model or asks for more than its
//! own folder. [`is_complete`] tells cheaply whether a file has been copied to its end.

mod error;
mod external;
mod tensor;
mod walk;
mod wire;

use std::collections::BTreeSet;
use std::io::{self, Read, Seek};
use std::path::Path;

pub use error::ScanError;

use crate::types::{FileName, MODEL_FILE};
use walk::Walk;
use wire::{Value, Wire};

/// Most bytes of a model file: protobuf itself ends there. Larger models keep their
/// weights in files beside it.
pub const MOST_BYTES: u64 = i32::MAX as u64;

/// Most fields at the top level that [`is_complete`] looks at.
const MOST_TOP_FIELDS: u64 = 1 << 20;

/// What a model may ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanRules {
    /// Operator domains that are allowed beside `ai.onnx` and `ai.onnx.ml`.
    pub allowed_domains: BTreeSet<String>,
}

/// What a sound model holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Nodes of all graphs and functions.
    pub nodes: u64,
    /// Tensors that the model brings with it: weights and constants.
    pub tensors: u64,
    /// Files beside the model that hold its weights.
    pub external: BTreeSet<FileName>,
}

/// Checks `model.onnx` of `folder`, and that every file of weights it names is a plain
/// file of that folder which holds what the model takes from it.
///
/// # Errors
/// Says what is wrong with the model; names files, but no folder.
pub fn scan(folder: &Path, rules: &ScanRules) -> Result<Scan, ScanError> {
    scan_file(&folder.join(MODEL_FILE), rules)
}

/// As [`scan`], for a model file of any name; its weights lie beside it.
///
/// # Errors
/// As [`scan`].
pub fn scan_file(model: &Path, rules: &ScanRules) -> Result<Scan, ScanError> {
    let (file, bytes) = external::open_plain(model)
        .map_err(|reason| ScanError::Unreadable(format!("the model file {reason}")))?;
    let folder = model.parent().unwrap_or(Path::new(""));
    scan_reader(file, bytes, rules, &|name| external::plain_size(folder, name))
}

/// As [`scan`], for `bytes` bytes of `model` that come from anywhere. `beside` tells the
/// size of a file of weights, or why it is not one.
///
/// # Errors
/// As [`scan`].
pub fn scan_reader<R: Read + Seek>(
    model: R,
    bytes: u64,
    rules: &ScanRules,
    beside: &dyn Fn(&FileName) -> Result<u64, String>,
) -> Result<Scan, ScanError> {
    if bytes == 0 {
        return Err(ScanError::Malformed("the model file is empty".to_owned()));
    }
    if bytes > MOST_BYTES {
        return Err(ScanError::Limit { what: "bytes of the model file", most: MOST_BYTES });
    }
    Walk::new(Wire::new(model, bytes), rules, beside).model()
}

/// Whether the file at `path` ends where a field of its protobuf does, and has a graph and
/// the operator sets that writers put behind it: a file that is still being copied in
/// order does not, and neither does one that is no model. Reads a few bytes for each
/// field of the top level and seeks over the rest.
///
/// # Errors
/// When the file cannot be read.
pub fn is_complete(path: &Path) -> io::Result<bool> {
    const GRAPH: u32 = 7;
    const OPERATOR_SET: u32 = 8;
    let file = external::open(path)?;
    let data = file.metadata()?;
    if !data.is_file() {
        return Ok(false);
    }
    let bytes = data.len();
    let mut wire = Wire::new(file, bytes);
    let (mut has_graph, mut has_operators) = (false, false);
    for _ in 0..MOST_TOP_FIELDS {
        match wire.next(bytes) {
            Ok(Some(field)) => {
                let is_message = matches!(field.value, Value::Bytes(_));
                has_graph |= field.number == GRAPH && is_message;
                has_operators |= field.number == OPERATOR_SET && is_message;
                if wire.skip(&field).is_err() {
                    return Ok(false);
                }
            }
            Ok(None) => return Ok(has_graph && has_operators),
            Err(ScanError::Io(error)) => return Err(error),
            Err(_) => return Ok(false),
        }
    }
    // No model has as many, and the scan says so.
    Ok(true)
}

#[cfg(test)]
mod tests;
