//! The elements of a tensor as numbers, read where they lie.

use half::{bf16, f16};
use serde_json::Value;

use crate::types::{DType, Tensor};

/// Numbers of a tensor, whose data may stand at any alignment.
pub(in crate::shadow) struct Elements<'a> {
    dtype: DType,
    data: &'a [u8],
}

impl<'a> Elements<'a> {
    pub(in crate::shadow) fn of(tensor: &'a Tensor) -> Elements<'a> {
        Elements { dtype: tensor.dtype(), data: tensor.data() }
    }

    pub(super) fn are_floats(&self) -> bool {
        matches!(self.dtype, DType::Fp16 | DType::Bf16 | DType::Fp32 | DType::Fp64)
    }

    /// Everything but strings; truth values are 0 and 1.
    pub(super) fn are_numbers(&self) -> bool {
        self.dtype != DType::Bytes
    }

    /// The element at a place as the nearest `f64`; exact but for wide integers.
    pub(super) fn number(&self, at: usize) -> f64 {
        match self.dtype {
            DType::Fp16 => f16::from_le_bytes(self.bytes(at)).to_f64(),
            DType::Bf16 => bf16::from_le_bytes(self.bytes(at)).to_f64(),
            DType::Fp32 => f64::from(f32::from_le_bytes(self.bytes(at))),
            DType::Fp64 => f64::from_le_bytes(self.bytes(at)),
            _ => self.integer(at) as f64,
        }
    }

    /// The element at a place; 0 of floats and strings.
    fn integer(&self, at: usize) -> i128 {
        match self.dtype {
            DType::Bool => i128::from(u8::from_le_bytes(self.bytes(at)) != 0),
            DType::Uint8 => u8::from_le_bytes(self.bytes(at)).into(),
            DType::Uint16 => u16::from_le_bytes(self.bytes(at)).into(),
            DType::Uint32 => u32::from_le_bytes(self.bytes(at)).into(),
            DType::Uint64 => u64::from_le_bytes(self.bytes(at)).into(),
            DType::Int8 => i8::from_le_bytes(self.bytes(at)).into(),
            DType::Int16 => i16::from_le_bytes(self.bytes(at)).into(),
            DType::Int32 => i32::from_le_bytes(self.bytes(at)).into(),
            DType::Int64 => i64::from_le_bytes(self.bytes(at)).into(),
            DType::Fp16 | DType::Bf16 | DType::Fp32 | DType::Fp64 | DType::Bytes => 0,
        }
    }

    /// The absolute and the relative difference of `shadow`'s element from this
    /// one's; never NaN. Of wide integers it is not 0 unless they are the same.
    pub(super) fn error(&self, shadow: &Elements<'_>, at: usize) -> (f64, f64) {
        let (p, s) = (self.number(at), shadow.number(at));
        let absolute = if !self.are_floats() {
            self.integer(at).abs_diff(shadow.integer(at)) as f64
        } else if p == s || (p.is_nan() && s.is_nan()) {
            0.0
        } else {
            or_infinite((s - p).abs())
        };
        let relative = if absolute == 0.0 { 0.0 } else { or_infinite(absolute / p.abs()) };
        (absolute, relative)
    }

    /// The number at a place as JSON; what JSON has not as a word.
    pub(in crate::shadow) fn json(&self, at: usize) -> Value {
        match self.dtype {
            DType::Bool => Value::from(self.integer(at) != 0),
            DType::Uint64 => Value::from(u64::from_le_bytes(self.bytes(at))),
            _ if self.are_floats() => match self.number(at) {
                number if number.is_nan() => Value::from("NaN"),
                number if number == f64::INFINITY => Value::from("Infinity"),
                number if number == f64::NEG_INFINITY => Value::from("-Infinity"),
                number => Value::from(number),
            },
            _ => i64::try_from(self.integer(at)).map_or(Value::Null, Value::from),
        }
    }

    /// The data is as long as the shape says, so that zeros stand for nothing real.
    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        self.data.as_chunks::<N>().0.get(at).copied().unwrap_or([0; N])
    }
}

fn or_infinite(error: f64) -> f64 {
    if error.is_nan() { f64::INFINITY } else { error }
}
