//! The tensors of a prediction, and their bytes.
//!
//! Two lists, of inputs and then of outputs, stand behind a head: each behind
//! its length, each tensor behind the length of its data.

use bytes::Bytes;
use smallvec::SmallVec;

use super::field::Reader;
use crate::types::DType;

/// One tensor of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorRecord {
    /// Place in the schema's inputs or outputs.
    pub index: u16,
    pub dtype: DType,
    pub shape: SmallVec<[i64; 4]>,
    pub form: Form,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// The protocol's binary form: elements packed little-endian; texts behind a `u32` length.
    Raw(Bytes),
    /// Row by row the columns that the schema does not drop: as in `Raw`, but
    /// `Hash` is 16 bytes, and `Bin` a `u16`.
    Rows(Bytes),
    Digest(Statistics),
}

/// What is kept of a tensor that is too large.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Statistics {
    /// XXH3-64 of its bytes.
    pub digest: u64,
    /// Of its finite numbers; NaN where it has none.
    pub min: f64,
    pub max: f64,
    pub mean: f64,
    /// Of the population.
    pub std: f64,
    pub non_finite: u64,
}

/// Appends the length of a list of tensors, to be set once it is known.
pub fn begin_list(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[0; 2]);
    out.len() - 2
}

/// Sets the length of the list that begins at `at`.
pub fn end_list(out: &mut [u8], at: usize, count: u16) {
    out[at..at + 2].copy_from_slice(&count.to_le_bytes());
}

const RAW: u8 = 1;
const ROWS: u8 = 2;
const DIGEST: u8 = 3;

/// Appends what stands before the data of a tensor. Data of a length that is
/// not known yet is ended by [`end_data`] with what this returns.
fn begin_tensor(out: &mut Vec<u8>, index: u16, dtype: DType, shape: &[i64], form: u8) -> usize {
    out.extend_from_slice(&index.to_le_bytes());
    // Ranks are at most 8.
    out.extend_from_slice(&[dtype as u8, form, shape.len() as u8, 0]);
    for size in shape {
        out.extend_from_slice(&size.to_le_bytes());
    }
    out.extend_from_slice(&[0; 4]);
    out.len()
}

/// Sets the length of the data that begins at `at` and ends here.
pub fn end_data(out: &mut [u8], at: usize) {
    let length = u32::try_from(out.len() - at).unwrap_or(u32::MAX);
    out[at - 4..at].copy_from_slice(&length.to_le_bytes());
}

/// Appends a whole tensor as it came.
pub fn put_raw(out: &mut Vec<u8>, index: u16, dtype: DType, shape: &[i64], data: &[u8]) {
    let at = begin_tensor(out, index, dtype, shape, RAW);
    out.extend_from_slice(data);
    end_data(out, at);
}

/// Begins a tensor of rewritten rows; ended by [`end_data`].
pub fn begin_rows(out: &mut Vec<u8>, index: u16, dtype: DType, shape: &[i64]) -> usize {
    begin_tensor(out, index, dtype, shape, ROWS)
}

pub fn put_digest(out: &mut Vec<u8>, index: u16, dtype: DType, shape: &[i64], of: &Statistics) {
    let at = begin_tensor(out, index, dtype, shape, DIGEST);
    out.extend_from_slice(&of.digest.to_le_bytes());
    for number in [of.min, of.max, of.mean, of.std] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&of.non_finite.to_le_bytes());
    end_data(out, at);
}

/// Reads a whole list.
pub(super) fn tensors(read: &mut Reader<'_>) -> Option<Vec<TensorRecord>> {
    let count = read.u16()?;
    (0..count).map(|_| tensor(read)).collect()
}

fn tensor(read: &mut Reader<'_>) -> Option<TensorRecord> {
    let index = read.u16()?;
    let [dtype, form, rank, _] = *read.take(4)?.first_chunk()?;
    let dtype = *DType::ALL.get(usize::from(dtype))?;
    let shape = (0..rank).map(|_| read.i64()).collect::<Option<_>>()?;
    let length = read.u32()? as usize;
    let data = read.bytes(length)?;
    let form = match form {
        RAW => Form::Raw(data),
        ROWS => Form::Rows(data),
        DIGEST => Form::Digest(statistics(&data)?),
        _ => return None,
    };
    Some(TensorRecord { index, dtype, shape, form })
}

fn statistics(data: &Bytes) -> Option<Statistics> {
    let mut read = Reader::new(data);
    Some(Statistics {
        digest: read.u64()?,
        min: read.f64()?,
        max: read.f64()?,
        mean: read.f64()?,
        std: read.f64()?,
        non_finite: read.u64()?,
    })
}
