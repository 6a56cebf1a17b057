//! FP16 and BF16 from wider numbers, rounded as if in one step.

use half::{bf16, f16};

/// The nearest FP16, ties to even.
pub(super) fn to_f16(value: f64) -> f16 {
    f16::from_f32(round_to_odd(value))
}

/// The nearest BF16, ties to even.
pub(super) fn to_bf16(value: f64) -> bf16 {
    bf16::from_f32(round_to_odd(value))
}

/// Narrows to FP32 so that a second, nearest rounding to a format of at most
/// 22 bits gives what one rounding would: an inexact result takes the
/// neighbour whose last bit is set, which keeps it off the ties.
fn round_to_odd(value: f64) -> f32 {
    let nearest = value as f32;
    let wide = f64::from(nearest);
    if wide == value || value.is_nan() || nearest.to_bits() & 1 == 1 {
        return nearest;
    }
    if wide < value { nearest.next_up() } else { nearest.next_down() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hair_beside_a_tie_is_not_a_tie() {
        // 1 + 2^-11 lies between the FP16 values 1 and 1 + 2^-10.
        let tie = 1.0 + 2f64.powi(-11);
        assert_eq!(to_f16(tie).to_bits(), 0x3c00);
        assert_eq!(to_f16(tie + 2f64.powi(-40)).to_bits(), 0x3c01);
        assert_eq!(to_f16(tie - 2f64.powi(-40)).to_bits(), 0x3c00);
        let tie = 1.0 + 2f64.powi(-8);
        assert_eq!(to_bf16(tie).to_bits(), 0x3f80);
        assert_eq!(to_bf16(tie + 2f64.powi(-40)).to_bits(), 0x3f81);
    }

    #[test]
    fn the_ends_of_the_range_round_as_the_standard_says() {
        assert_eq!(to_f16(65_504.0).to_bits(), 0x7bff);
        assert_eq!(to_f16(65_519.999_999_999).to_bits(), 0x7bff);
        assert!(to_f16(65_520.0).is_infinite());
        assert!(to_bf16(1e300).is_infinite());
        assert_eq!(to_f16(2f64.powi(-25)).to_bits(), 0);
        assert_eq!(to_f16(2f64.powi(-25) * 1.000_000_000_1).to_bits(), 1);
        assert!(to_f16(f64::NAN).is_nan());
    }

    #[test]
    fn every_small_float_survives() {
        for bits in 0..=u16::MAX {
            let (half, brain) = (f16::from_bits(bits), bf16::from_bits(bits));
            if !half.is_nan() {
                assert_eq!(to_f16(half.to_f64()).to_bits(), bits);
            }
            if !brain.is_nan() {
                assert_eq!(to_bf16(brain.to_f64()).to_bits(), bits);
            }
        }
    }
}
