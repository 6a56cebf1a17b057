//! Whether a version made numbers that are none out of numbers. Pure.

use crate::types::{DType, Tensor};

/// Elements of one tensor that are looked at, so that the look costs next to nothing.
const LOOK_AT: usize = 1_024;

/// Whether an output holds NaN although every input is finite, as far as the
/// first elements tell. FP32 and FP64; other types count as sound.
pub fn is_nonsense<'a>(
    inputs: impl Iterator<Item = &'a Tensor>,
    mut outputs: impl Iterator<Item = &'a Tensor>,
) -> bool {
    outputs.any(|output| has(output, f32::is_nan, f64::is_nan))
        && !inputs
            .into_iter()
            .any(|input| has(input, |element| !element.is_finite(), |element| !element.is_finite()))
}

fn has(tensor: &Tensor, single: impl Fn(f32) -> bool, double: impl Fn(f64) -> bool) -> bool {
    let data = tensor.data();
    match tensor.dtype() {
        DType::Fp32 => {
            data.as_chunks().0.iter().take(LOOK_AT).any(|b| single(f32::from_le_bytes(*b)))
        }
        DType::Fp64 => {
            data.as_chunks().0.iter().take(LOOK_AT).any(|b| double(f64::from_le_bytes(*b)))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::types::Shape;

    fn tensor(values: &[f32]) -> Tensor {
        let shape = Shape::new([values.len() as i64]).expect("a shape");
        let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Tensor::new(DType::Fp32, shape, Bytes::from(data)).expect("a tensor")
    }

    #[test]
    fn only_numbers_that_became_none_are_nonsense() {
        let (sound, nan) = (tensor(&[1.0, -2.0]), tensor(&[1.0, f32::NAN]));
        let infinite = tensor(&[f32::INFINITY]);
        for (input, output, expected) in [
            (&sound, &sound, false),
            (&sound, &nan, true),
            (&nan, &nan, false),
            (&infinite, &nan, false),
            (&sound, &infinite, false),
        ] {
            assert_eq!(is_nonsense([input].into_iter(), [output].into_iter()), expected);
        }
    }
}
