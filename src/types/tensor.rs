//! A tensor as the wire carries it: packed little-endian elements in one slice.

use bytes::Bytes;
use half::{bf16, f16};
use thiserror::Error;

use super::{DType, Shape};

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TensorError {
    #[error("expected {expected} bytes for {dtype} {shape}, got {got}")]
    Size { dtype: DType, shape: Shape, expected: usize, got: usize },
    #[error("{dtype} {shape} needs more bytes than this machine can count")]
    Overflow { dtype: DType, shape: Shape },
    #[error("expected {expected} string elements for shape {shape}, got {got}")]
    Count { shape: Shape, expected: usize, got: usize },
    #[error("string element {index} claims {claims} bytes, {left} are left")]
    Truncated { index: usize, claims: usize, left: usize },
}

/// Shape, type and data that agree with each other. The data is the protocol's
/// binary form: fixed-size elements packed little-endian without padding (at
/// any alignment), `BYTES` elements each behind a `u32` length.
#[derive(Clone, Debug)]
pub struct Tensor {
    dtype: DType,
    shape: Shape,
    data: Bytes,
}

impl Tensor {
    /// Takes `data` as it came from the wire and checks that it holds exactly
    /// the elements that `shape` declares.
    pub fn new(dtype: DType, shape: Shape, data: Bytes) -> Result<Tensor, TensorError> {
        match dtype.size() {
            Some(size) => {
                let Some(expected) = shape.elements().checked_mul(size) else {
                    return Err(TensorError::Overflow { dtype, shape });
                };
                if data.len() != expected {
                    return Err(TensorError::Size { dtype, shape, expected, got: data.len() });
                }
            }
            None => check_strings(&shape, &data)?,
        }
        Ok(Tensor { dtype, shape, data })
    }

    pub fn dtype(&self) -> DType {
        self.dtype
    }

    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    pub fn data(&self) -> &Bytes {
        &self.data
    }

    pub fn into_data(self) -> Bytes {
        self.data
    }

    /// The element at a place, row by row; `None` of texts and beyond the last.
    pub fn number(&self, at: usize) -> Option<f64> {
        number(self.dtype, &self.data, at)
    }

    /// The elements of a `BYTES` tensor, without their length prefixes. Empty
    /// for every other type.
    pub fn strings(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest: &[u8] = if self.dtype == DType::Bytes { &self.data } else { &[] };
        std::iter::from_fn(move || {
            let (element, after) = split_string(rest)?;
            rest = after;
            Some(element)
        })
    }
}

/// An element of packed numbers. Whole numbers beyond 2^53 are rounded.
pub fn number(dtype: DType, packed: &[u8], at: usize) -> Option<f64> {
    fn element<const N: usize>(packed: &[u8], at: usize) -> Option<[u8; N]> {
        packed.as_chunks::<N>().0.get(at).copied()
    }
    Some(match dtype {
        DType::Bool | DType::Uint8 => f64::from(*packed.get(at)?),
        DType::Int8 => f64::from(i8::from_le_bytes(element(packed, at)?)),
        DType::Uint16 => f64::from(u16::from_le_bytes(element(packed, at)?)),
        DType::Int16 => f64::from(i16::from_le_bytes(element(packed, at)?)),
        DType::Uint32 => f64::from(u32::from_le_bytes(element(packed, at)?)),
        DType::Int32 => f64::from(i32::from_le_bytes(element(packed, at)?)),
        DType::Uint64 => u64::from_le_bytes(element(packed, at)?) as f64,
        DType::Int64 => i64::from_le_bytes(element(packed, at)?) as f64,
        DType::Fp16 => f64::from(f16::from_le_bytes(element(packed, at)?)),
        DType::Bf16 => f64::from(bf16::from_le_bytes(element(packed, at)?)),
        DType::Fp32 => f64::from(f32::from_le_bytes(element(packed, at)?)),
        DType::Fp64 => f64::from_le_bytes(element(packed, at)?),
        DType::Bytes => return None,
    })
}

/// The first element of packed strings and what follows it; `None` at the end
/// or where the length prefix lies.
fn split_string(packed: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = packed.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

fn check_strings(shape: &Shape, data: &[u8]) -> Result<(), TensorError> {
    let mut rest = data;
    let mut got = 0;
    while !rest.is_empty() {
        match split_string(rest) {
            Some((_, after)) => rest = after,
            None => {
                let claims = rest
                    .first_chunk::<4>()
                    .map_or(4, |length| u32::from_le_bytes(*length) as usize);
                let left = rest.len().saturating_sub(4);
                return Err(TensorError::Truncated { index: got, claims, left });
            }
        }
        got += 1;
    }
    if got != shape.elements() {
        return Err(TensorError::Count { shape: shape.clone(), expected: shape.elements(), got });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(dims: &[i64]) -> Shape {
        Shape::new(dims.iter().copied()).expect("a legal shape")
    }

    #[test]
    fn declared_and_real_sizes_must_agree() {
        let short = Tensor::new(DType::Fp32, shape(&[2]), Bytes::from_static(&[0; 7]));
        assert!(matches!(short, Err(TensorError::Size { expected: 8, got: 7, .. })));
        let huge = Tensor::new(DType::Fp64, shape(&[i64::MAX]), Bytes::new());
        assert!(matches!(huge, Err(TensorError::Overflow { .. })));
    }

    #[test]
    fn strings_are_counted_and_bounded() {
        let packed = Bytes::from_static(b"\x02\0\0\0ab\0\0\0\0\x01\0\0\0\0");
        let tensor = Tensor::new(DType::Bytes, shape(&[3]), packed.clone()).expect("three");
        assert_eq!(tensor.strings().collect::<Vec<_>>(), [&b"ab"[..], b"", b"\0"]);
        assert!(matches!(
            Tensor::new(DType::Bytes, shape(&[2]), packed.clone()),
            Err(TensorError::Count { expected: 2, got: 3, .. })
        ));
        assert!(matches!(
            Tensor::new(DType::Bytes, shape(&[3]), packed.slice(..14)),
            Err(TensorError::Truncated { index: 2, claims: 1, left: 0 })
        ));
    }
}
