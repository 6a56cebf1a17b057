//! What the columns of an input are called.

use crate::types::{Dim, TensorSpec};

/// Most columns that the inputs of a model are taken apart to.
pub const MAX_COLUMNS: usize = 512;

/// Columns of a row, where a tensor is a table of `[rows]` or `[rows, fixed]`.
pub fn table_width(spec: &TensorSpec) -> Option<usize> {
    match spec.dims.as_slice() {
        [_] => Some(1),
        [_, Dim::Fixed(width)] if *width > 0 => Some(*width),
        _ => None,
    }
}

/// Names of a table's columns: those of `model.yaml` where there are as many,
/// else the tensor's, with the place behind it where there are several.
pub fn column_names(spec: &TensorSpec, width: usize, named: Option<&[String]>) -> Vec<String> {
    match named.filter(|names| names.len() == width) {
        Some(names) => names.to_vec(),
        None if width == 1 => vec![spec.name.to_string()],
        None => (0..width).map(|place| format!("{}_{place}", spec.name)).collect(),
    }
}
