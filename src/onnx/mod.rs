//! The ONNX protobuf read safely, before ONNX Runtime sees it.
//!
//! [`scan`] walks a model file field by field: it keeps no content, so a hostile file
//! costs no memory, and it refuses what is not a sound model or asks for more than its
//! own folder. [`why_incomplete`] tells cheaply whether a file has been copied to its end.
//! [`metadata`] reads one entry of a model's metadata, [`with_metadata`] puts one in.

mod error;
mod external;
mod metadata;
mod tensor;
mod walk;
mod wire;

use std::collections::BTreeSet;
use std::io::{self, Read, Seek};
use std::path::Path;

pub use error::ScanError;
pub use metadata::{digest_without, metadata, with_metadata};

use crate::types::{FileName, MODEL_FILE};
use walk::Walk;
use wire::{Value, Wire};

/// Most bytes of a model file: protobuf itself ends there. Larger models keep their
/// weights in files beside it.
pub const MOST_BYTES: u64 = i32::MAX as u64;

/// Most fields at the top level that are looked at where the rest is skipped.
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

/// Why `model`, of `bytes` bytes, cannot be a whole model yet; none if it may be one: it
/// ends where a field of its protobuf does, and has a graph and the operator sets that
/// writers put behind it. A file that is still being copied in order does not, and neither
/// does one that is no model. Reads little for each field of the top level and seeks over
/// the rest.
///
/// # Errors
/// When the file cannot be read.
pub fn why_incomplete<R: Read + Seek>(model: R, bytes: u64) -> io::Result<Option<String>> {
    const GRAPH: u32 = 7;
    const OPERATOR_SET: u32 = 8;
    let mut wire = Wire::new(model, bytes);
    let (mut has_graph, mut has_operators) = (false, false);
    for _ in 0..MOST_TOP_FIELDS {
        let next = wire.next(bytes).and_then(|field| {
            let Some(field) = field else { return Ok(None) };
            wire.skip(&field)?;
            Ok(Some(field))
        });
        match next {
            Ok(Some(field)) => {
                let is_message = matches!(field.value, Value::Bytes(_));
                has_graph |= field.number == GRAPH && is_message;
                has_operators |= field.number == OPERATOR_SET && is_message;
            }
            Ok(None) if has_graph && has_operators => return Ok(None),
            Ok(None) => {
                let missing = if has_graph { "operator sets" } else { "graph" };
                return Ok(Some(format!("the model file is no whole ONNX: it has no {missing}")));
            }
            Err(ScanError::Io(error)) => return Err(error),
            Err(error) => return Ok(Some(error.to_string())),
        }
    }
    // No model has as many, and the scan says so.
    Ok(None)
}

#[cfg(test)]
mod tests;
