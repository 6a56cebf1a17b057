//! Writes one tensor as its schema says: before anything reaches a file.

use super::digest;
use super::hash::Hasher;
use super::record::{self, Statistics};
use super::schema::{Column, TensorSchema, Treated};
use crate::types::{DType, Tensor};

/// A tensor beyond this is digested, whatever the policy allows.
const MOST: usize = 4 << 20;

pub(super) struct Rules<'a> {
    pub(super) schema: &'a TensorSchema,
    pub(super) hasher: &'a Hasher,
    pub(super) row_wise: bool,
    /// Of a row, where rows are told apart; else of the tensor.
    pub(super) max_bytes: usize,
}

/// Appends a tensor of place `index`. Says whether there was anything to append.
pub(super) fn put(rules: &Rules<'_>, index: u16, tensor: &Tensor, out: &mut Vec<u8>) -> bool {
    let (dtype, shape, data) = (tensor.dtype(), tensor.shape().dims(), tensor.data());
    let rows = if rules.row_wise { tensor.shape().rows().unwrap_or(1).max(1) } else { 1 };
    let is_large = data.len() > MOST || data.len() / rows > rules.max_bytes;
    let columns = &rules.schema.columns;
    match &rules.schema.whole {
        Treated::Drop if columns.is_empty() => false,
        Treated::Hash if columns.is_empty() => {
            record::put_digest(out, index, dtype, shape, &hashed(rules.hasher, data));
            true
        }
        Treated::Digest => {
            record::put_digest(out, index, dtype, shape, &digest::of(dtype, data));
            true
        }
        _ if rules.schema.is_rewritten() => {
            if columns.iter().all(|column| column.treated == Treated::Drop) {
                return false;
            }
            if is_large {
                record::put_digest(out, index, dtype, shape, &hashed(rules.hasher, data));
                return true;
            }
            let at = record::begin_rows(out, index, dtype, shape);
            rewrite(rules, tensor, out);
            record::end_data(out, at);
            true
        }
        _ if is_large => {
            record::put_digest(out, index, dtype, shape, &digest::of(dtype, data));
            true
        }
        _ => {
            record::put_raw(out, index, dtype, shape, data);
            true
        }
    }
}

/// A digest that nobody can look up, and no statistics.
fn hashed(hasher: &Hasher, data: &[u8]) -> Statistics {
    let hash = hasher.hash(data);
    let digest = hash.first_chunk().map_or(0, |eight| u64::from_le_bytes(*eight));
    let nan = f64::NAN;
    Statistics { digest, min: nan, max: nan, mean: nan, std: nan, non_finite: 0 }
}

fn rewrite(rules: &Rules<'_>, tensor: &Tensor, out: &mut Vec<u8>) {
    let columns = rules.schema.columns.iter().cycle();
    match tensor.dtype().size() {
        Some(size) => {
            for (column, element) in columns.zip(tensor.data().chunks_exact(size)) {
                put_element(rules.hasher, column, tensor.dtype(), element, out);
            }
        }
        None => {
            for (column, text) in columns.zip(tensor.strings()) {
                put_text(rules.hasher, column, text, out);
            }
        }
    }
}

fn put_element(hasher: &Hasher, column: &Column, dtype: DType, element: &[u8], out: &mut Vec<u8>) {
    match &column.treated {
        Treated::Keep => out.extend_from_slice(element),
        Treated::Hash => out.extend_from_slice(&hasher.hash(element)),
        Treated::Bin(edges) => {
            let value = digest::of(dtype, element);
            // What is not finite is above every edge.
            let value = if value.mean.is_nan() { f64::INFINITY } else { value.mean };
            let bin = edges.partition_point(|edge| *edge <= value);
            out.extend_from_slice(&u16::try_from(bin).unwrap_or(u16::MAX).to_le_bytes());
        }
        Treated::Drop | Treated::Truncate(_) | Treated::Digest => {}
    }
}

fn put_text(hasher: &Hasher, column: &Column, text: &[u8], out: &mut Vec<u8>) {
    let kept = match &column.treated {
        Treated::Keep => text,
        Treated::Truncate(characters) => first(text, *characters),
        Treated::Hash => {
            out.extend_from_slice(&hasher.hash(text));
            return;
        }
        Treated::Drop | Treated::Bin(_) | Treated::Digest => return,
    };
    // Texts came behind a length of this size.
    out.extend_from_slice(&u32::try_from(kept.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(kept);
}

/// The first characters of a text; of what is no UTF-8 as many bytes.
fn first(text: &[u8], characters: usize) -> &[u8] {
    let end = match std::str::from_utf8(text) {
        Ok(text) => text.char_indices().nth(characters).map_or(text.len(), |(at, _)| at),
        Err(_) => characters.min(text.len()),
    };
    &text[..end]
}
