//! Whether a model answers each row by itself, so that rows of different requests
//! may share a run. No graph says so; it shows when rows change places.

use std::time::Instant;

use super::generated::{self, Generated, Variant};
use super::measure::run;
use super::{Engine, RunOutputs};
use crate::types::{DType, Tensor};

/// Whether a row's answer is the same whatever rows stand before or after it, and much
/// the same alone. The former is compared between runs of one shape, which compute
/// alike; for another number of rows, kernels add in another order, and some models
/// magnify that.
pub(super) fn rows_are_independent(
    engine: &dyn Engine,
    variant: Variant,
    seed: u64,
    deadline: Instant,
) -> bool {
    let part = |rows, seed| generated::inputs(engine.signature(), rows, variant, seed);
    let answer = |inputs: &[Generated]| run(engine, inputs, deadline).ok();
    let together = |first: &[Generated], then: &[Generated]| {
        let joined = first.iter().zip(then).map(|(first, then)| first.followed_by(then));
        answer(&joined.collect::<Vec<_>>())
    };
    let tried = || {
        let row = part(1, seed * 3)?;
        let (some, others) = (part(2, seed * 3 + 1)?, part(2, seed * 3 + 2)?);
        let alone = answer(&row)?;
        let first = [together(&row, &some)?, together(&row, &others)?];
        let last = [together(&some, &row)?, together(&others, &row)?];
        Some(is_same_row(&alone, &first, 0) && is_same_row(&alone, &last, 2))
    };
    tried().unwrap_or(false)
}

/// Whether row `at` of both runs over three rows is the row that was answered alone.
fn is_same_row(alone: &RunOutputs, runs: &[RunOutputs; 2], at: usize) -> bool {
    let outputs = alone.iter().zip(runs[0].iter().zip(&runs[1]));
    outputs.into_iter().all(|(alone, (one, other))| {
        let rows = (row_of(alone, 1, 0), row_of(one, 3, at), row_of(other, 3, at));
        let (Some(alone), Some(one), Some(other)) = rows else { return false };
        alone.agrees(&one, Closeness::Loose) && one.agrees(&other, Closeness::Tight)
    })
}

/// One row of an output.
struct Row<'a> {
    dtype: DType,
    dims: &'a [i64],
    /// Packed elements.
    data: Vec<&'a [u8]>,
}

/// Row `at` of a tensor that has exactly `rows`.
fn row_of(tensor: &Tensor, rows: usize, at: usize) -> Option<Row<'_>> {
    let (first, dims) = tensor.shape().dims().split_first()?;
    if usize::try_from(*first) != Ok(rows) {
        return None;
    }
    let elements = tensor.shape().elements() / rows;
    let data: Vec<&[u8]> = match tensor.dtype().size() {
        Some(size) => tensor.data().chunks_exact(size).skip(at * elements).take(elements).collect(),
        None => tensor.strings().skip(at * elements).take(elements).collect(),
    };
    Some(Row { dtype: tensor.dtype(), dims, data })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Closeness {
    /// Floats may differ by rounding.
    Tight,
    /// Floats may differ by rounding that the model magnifies.
    Loose,
}

impl Row<'_> {
    /// Whether both rows say the same: floats nearly, all else exactly.
    fn agrees(&self, other: &Row<'_>, closeness: Closeness) -> bool {
        if self.dtype != other.dtype || self.dims != other.dims {
            return false;
        }
        let read = |row: &Row<'_>| -> Option<Vec<f64>> {
            row.data.iter().map(|element| float(row.dtype, element)).collect()
        };
        let (Some(a), Some(b)) = (read(self), read(other)) else {
            return self.data == other.data;
        };
        let largest = a
            .iter()
            .chain(&b)
            .copied()
            .filter(|x| x.is_finite())
            .fold(0.0, |largest, x| f64::max(largest, x.abs()));
        let (relative, absolute) = match (self.dtype, closeness) {
            (DType::Fp16 | DType::Bf16, Closeness::Tight) => (0.02, 0.02 * largest),
            (_, Closeness::Tight) => (1e-3, 1e-4_f64.min(1e-3 * largest)),
            (_, Closeness::Loose) => (0.05, 0.05 * largest),
        };
        a.iter().zip(&b).all(|(a, b)| {
            a == b
                || (a.is_nan() && b.is_nan())
                || (a - b).abs() <= f64::max(absolute, relative * a.abs().max(b.abs()))
        })
    }
}

/// The value of a packed float; `None` for other types.
pub(super) fn float(dtype: DType, element: &[u8]) -> Option<f64> {
    match dtype {
        DType::Fp32 => element.try_into().ok().map(|bytes| f32::from_le_bytes(bytes).into()),
        DType::Fp64 => element.try_into().ok().map(f64::from_le_bytes),
        DType::Fp16 => element.try_into().ok().map(|bytes| half(u16::from_le_bytes(bytes))),
        DType::Bf16 => element
            .try_into()
            .ok()
            .map(|bytes| f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16).into()),
        _ => None,
    }
}

/// The value of an IEEE half.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let digits = f64::from(bits & 0x3ff);
    match (bits >> 10) & 0x1f {
        0 => sign * digits * 2f64.powi(-24),
        31 if digits == 0.0 => sign * f64::INFINITY,
        31 => f64::NAN,
        exponent => sign * (1.0 + digits / 1024.0) * 2f64.powi(i32::from(exponent) - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Shape;

    #[test]
    fn halves_are_read() {
        for (bits, value) in
            [(0x3c00, 1.0), (0xc000, -2.0), (0x3800, 0.5), (0x0001, 2f64.powi(-24))]
        {
            assert_eq!(half(bits), value);
        }
        assert_eq!(half(0x7c00), f64::INFINITY);
        assert!(half(0x7e00).is_nan());
    }

    #[test]
    fn floats_are_near_and_all_else_is_equal() {
        let tensor = |dtype, data: Vec<u8>| {
            Tensor::new(dtype, Shape::new([1, 1]).expect("a shape"), data.into()).expect("a tensor")
        };
        let agrees = |a: &Tensor, b: &Tensor, closeness| {
            let rows = row_of(a, 1, 0).zip(row_of(b, 1, 0)).expect("one row each");
            rows.0.agrees(&rows.1, closeness)
        };
        let float = |value: f32| tensor(DType::Fp32, value.to_le_bytes().to_vec());
        assert!(agrees(&float(1.0), &float(1.0005), Closeness::Tight));
        assert!(!agrees(&float(1.0), &float(1.01), Closeness::Tight));
        assert!(agrees(&float(1.0), &float(1.01), Closeness::Loose));
        assert!(!agrees(&float(1.0), &float(1.2), Closeness::Loose));
        assert!(!agrees(&float(1e-7), &float(2e-7), Closeness::Tight), "small is not near");
        assert!(agrees(&float(f32::NAN), &float(f32::NAN), Closeness::Tight));
        let whole = |value: i32| tensor(DType::Int32, value.to_le_bytes().to_vec());
        assert!(!agrees(&whole(100), &whole(101), Closeness::Loose));
    }
}
