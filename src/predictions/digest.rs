//! What is kept of tensors that are too large to keep.

use half::{bf16, f16};
use twox_hash::XxHash3_64;

use super::record::Statistics;
use crate::types::DType;

/// Digest and statistics of a tensor's bytes. Texts and truth values have no
/// statistics: theirs are NaN.
pub fn of(dtype: DType, data: &[u8]) -> Statistics {
    let digest = XxHash3_64::oneshot(data);
    let numbers = match dtype {
        DType::Bool | DType::Bytes => Running::default(),
        DType::Uint8 => numbers(data, |[byte]: [u8; 1]| f64::from(byte)),
        DType::Int8 => numbers(data, |bytes| f64::from(i8::from_le_bytes(bytes))),
        DType::Uint16 => numbers(data, |bytes| f64::from(u16::from_le_bytes(bytes))),
        DType::Int16 => numbers(data, |bytes| f64::from(i16::from_le_bytes(bytes))),
        DType::Uint32 => numbers(data, |bytes| f64::from(u32::from_le_bytes(bytes))),
        DType::Int32 => numbers(data, |bytes| f64::from(i32::from_le_bytes(bytes))),
        DType::Uint64 => numbers(data, |bytes| u64::from_le_bytes(bytes) as f64),
        DType::Int64 => numbers(data, |bytes| i64::from_le_bytes(bytes) as f64),
        DType::Fp16 => numbers(data, |bytes| f16::from_le_bytes(bytes).to_f64()),
        DType::Bf16 => numbers(data, |bytes| bf16::from_le_bytes(bytes).to_f64()),
        DType::Fp32 => numbers(data, |bytes| f64::from(f32::from_le_bytes(bytes))),
        DType::Fp64 => numbers(data, f64::from_le_bytes),
    };
    numbers.statistics(digest)
}

struct Running {
    count: u64,
    non_finite: u64,
    min: f64,
    max: f64,
    /// The first finite number: sums are of differences from it, so that a
    /// small spread about a large mean is not lost to rounding.
    origin: f64,
    sum: f64,
    squares: f64,
}

impl Default for Running {
    fn default() -> Running {
        Running {
            count: 0,
            non_finite: 0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            origin: 0.0,
            sum: 0.0,
            squares: 0.0,
        }
    }
}

fn numbers<const N: usize>(data: &[u8], read: impl Fn([u8; N]) -> f64) -> Running {
    let mut running = Running::default();
    for bytes in data.as_chunks::<N>().0 {
        let number = read(*bytes);
        if !number.is_finite() {
            running.non_finite += 1;
            continue;
        }
        if running.count == 0 {
            running.origin = number;
        }
        running.count += 1;
        running.min = running.min.min(number);
        running.max = running.max.max(number);
        let difference = number - running.origin;
        running.sum += difference;
        running.squares += difference * difference;
    }
    running
}

impl Running {
    fn statistics(&self, digest: u64) -> Statistics {
        let non_finite = self.non_finite;
        if self.count == 0 {
            let nan = f64::NAN;
            return Statistics { digest, min: nan, max: nan, mean: nan, std: nan, non_finite };
        }
        let count = self.count as f64;
        let shift = self.sum / count;
        let variance = (self.squares / count - shift * shift).max(0.0);
        let (min, max) = (self.min, self.max);
        let mean = self.origin + shift;
        Statistics { digest, min, max, mean, std: variance.sqrt(), non_finite }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_of_the_finite_numbers() {
        let data: Vec<u8> =
            [1.0f32, 2.0, f32::NAN, 6.0].iter().flat_map(|number| number.to_le_bytes()).collect();
        let found = of(DType::Fp32, &data);
        assert_eq!((found.min, found.max, found.mean, found.non_finite), (1.0, 6.0, 3.0, 1));
        assert!((found.std - (14.0f64 / 3.0).sqrt()).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn a_small_spread_about_a_large_mean_is_seen() {
        let data: Vec<u8> =
            [1e9f64, 1e9 + 1.0].iter().flat_map(|number| number.to_le_bytes()).collect();
        assert_eq!(of(DType::Fp64, &data).std, 0.5);
    }

    #[test]
    fn texts_have_a_digest_only() {
        let found = of(DType::Bytes, b"\x01\0\0\0a");
        assert!(found.mean.is_nan());
        assert_ne!(found.digest, of(DType::Bytes, b"\x01\0\0\0b").digest);
    }
}
