//! The classification extension: the best classes of an output as strings.

use std::cmp::Ordering;
use std::fmt::Write;

use bytes::Bytes;
use half::{bf16, f16};

use crate::types::{DType, InferError, Shape, Tensor};

/// What to make of one output.
#[derive(Clone, Copy, Debug)]
pub struct Classification<'a> {
    /// Classes wanted; more than there are means all.
    pub top: u32,
    /// Names by class; may be shorter than the classes are many, or empty.
    pub labels: &'a [String],
    /// Whether the first dimension counts rows, which are then classified one by one.
    pub batched: bool,
}

/// Turns scores into the [`BYTES`](DType::Bytes) tensor of their best classes,
/// each as `value:index` or `value:index:label`, best first. Of equal values
/// the lower index comes first; NaN comes last. The shape is `[classes]`, or
/// `[rows, classes]` where batched.
pub fn classify(tensor: &Tensor, how: Classification<'_>) -> Result<Tensor, InferError> {
    let data: &[u8] = tensor.data();
    match tensor.dtype() {
        DType::Uint8 => scores(tensor, data.to_vec(), how),
        DType::Int8 => scores(tensor, data.iter().map(|byte| *byte as i8).collect(), how),
        DType::Uint16 => scores(tensor, unpack(data, u16::from_le_bytes), how),
        DType::Int16 => scores(tensor, unpack(data, i16::from_le_bytes), how),
        DType::Uint32 => scores(tensor, unpack(data, u32::from_le_bytes), how),
        DType::Int32 => scores(tensor, unpack(data, i32::from_le_bytes), how),
        DType::Uint64 => scores(tensor, unpack(data, u64::from_le_bytes), how),
        DType::Int64 => scores(tensor, unpack(data, i64::from_le_bytes), how),
        DType::Fp16 => scores(tensor, unpack(data, |e| f16::from_le_bytes(e).to_f64()), how),
        DType::Bf16 => scores(tensor, unpack(data, |e| bf16::from_le_bytes(e).to_f64()), how),
        DType::Fp32 => scores(tensor, unpack(data, |e| f64::from(f32::from_le_bytes(e))), how),
        DType::Fp64 => scores(tensor, unpack(data, f64::from_le_bytes), how),
        unfit @ (DType::Bool | DType::Bytes) => Err(InferError::invalid(format!(
            "classification needs numbers, but the output is {unfit}"
        ))),
    }
}

fn unpack<T, const N: usize>(data: &[u8], decode: impl Fn([u8; N]) -> T) -> Vec<T> {
    data.as_chunks::<N>().0.iter().map(|element| decode(*element)).collect()
}

/// A number that classes are ranked by.
trait Score: Copy {
    /// Highest first, NaN last.
    fn rank(self, other: Self) -> Ordering;
    fn write(self, text: &mut String);
}

macro_rules! integer_scores {
    ($($int:ty)*) => {$(
        impl Score for $int {
            fn rank(self, other: Self) -> Ordering {
                other.cmp(&self)
            }
            fn write(self, text: &mut String) {
                text.push_str(itoa::Buffer::new().format(self));
            }
        }
    )*};
}

integer_scores!(u8 u16 u32 u64 i8 i16 i32 i64);

impl Score for f64 {
    fn rank(self, other: Self) -> Ordering {
        match (self.is_nan(), other.is_nan()) {
            (false, false) => other.partial_cmp(&self).unwrap_or(Ordering::Equal),
            (mine, theirs) => mine.cmp(&theirs),
        }
    }
    fn write(self, text: &mut String) {
        // Six decimals and C's words, as Triton's clients know them.
        let written = match self {
            nan if nan.is_nan() => write!(text, "nan"),
            number => write!(text, "{number:.6}"),
        };
        written.expect("a string takes every write");
    }
}

fn scores<S: Score>(
    tensor: &Tensor,
    scores: Vec<S>,
    how: Classification<'_>,
) -> Result<Tensor, InferError> {
    let dims = tensor.shape().dims();
    let (rows, classes) = match dims.split_first() {
        // Only where there are no rows can the rest be more than fits.
        Some((rows, rest)) if how.batched => (
            *rows as usize,
            rest.iter().fold(1usize, |classes, dim| classes.saturating_mul(*dim as usize)),
        ),
        _ => (1, scores.len()),
    };
    let top = classes.min(how.top as usize);
    let mut packed = Vec::new();
    let mut order: Vec<usize> = Vec::new();
    let mut text = String::new();
    for row in scores.chunks_exact(classes.max(1)) {
        order.clear();
        order.extend(0..row.len());
        let best = |a: &usize, b: &usize| row[*a].rank(row[*b]).then(a.cmp(b));
        if top < order.len() {
            order.select_nth_unstable_by(top, best);
            order.truncate(top);
        }
        order.sort_unstable_by(best);
        for class in &order {
            text.clear();
            row[*class].write(&mut text);
            text.push(':');
            text.push_str(itoa::Buffer::new().format(*class));
            if let Some(label) = how.labels.get(*class) {
                text.push(':');
                text.push_str(label);
            }
            let length = u32::try_from(text.len())
                .map_err(|_| InferError::internal("a label is longer than 4 GiB"))?;
            packed.extend_from_slice(&length.to_le_bytes());
            packed.extend_from_slice(text.as_bytes());
        }
    }
    let dim = |size: usize| i64::try_from(size).unwrap_or(i64::MAX);
    let shape = if how.batched && !dims.is_empty() {
        Shape::new([dim(rows), dim(top)])
    } else {
        Shape::new([dim(top)])
    };
    let shape = shape.map_err(|error| InferError::internal(error.to_string()))?;
    Tensor::new(DType::Bytes, shape, Bytes::from(packed))
        .map_err(|error| InferError::internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(
        dtype: DType,
        dims: &[i64],
        data: Vec<u8>,
        how: Classification<'_>,
    ) -> (Vec<i64>, Vec<String>) {
        let shape = Shape::new(dims.iter().copied()).expect("a legal shape");
        let tensor = Tensor::new(dtype, shape, Bytes::from(data)).expect("data that fits");
        let classes = classify(&tensor, how).expect("numbers");
        let strings = classes.strings().map(|s| String::from_utf8_lossy(s).into_owned());
        (classes.shape().dims().to_vec(), strings.collect())
    }

    fn floats<const N: usize>(values: [f32; N]) -> Vec<u8> {
        values.into_iter().flat_map(f32::to_le_bytes).collect()
    }

    fn top(top: u32, batched: bool) -> Classification<'static> {
        Classification { top, labels: &[], batched }
    }

    #[test]
    fn the_best_classes_come_first_with_their_labels() {
        let labels = ["cat".to_owned(), "dog".to_owned()];
        let how = Classification { top: 3, labels: &labels, batched: true };
        let data = floats([0.25, 3.3, 1.0, 9.0, -1.5, 0.0]);
        let (shape, classes) = strings(DType::Fp32, &[2, 3], data, how);
        assert_eq!(shape, [2, 3]);
        assert_eq!(
            classes,
            [
                "3.300000:1:dog",
                "1.000000:2",
                "0.250000:0:cat",
                "9.000000:0:cat",
                "0.000000:2",
                "-1.500000:1:dog"
            ]
        );
    }

    #[test]
    fn equal_values_keep_their_order_and_nan_comes_last() {
        let data = floats([f32::NAN, 1.0, f32::INFINITY, 1.0, f32::NEG_INFINITY]);
        let (_, classes) = strings(DType::Fp32, &[5], data.clone(), top(9, false));
        assert_eq!(classes, ["inf:2", "1.000000:1", "1.000000:3", "-inf:4", "nan:0"]);
        let (shape, classes) = strings(DType::Fp32, &[5], data, top(2, false));
        assert_eq!((shape, classes), (vec![2], vec!["inf:2".to_owned(), "1.000000:1".to_owned()]));
    }

    #[test]
    fn integers_are_written_plainly() {
        let data = [5i64, i64::MAX].into_iter().flat_map(i64::to_le_bytes).collect();
        let (_, classes) = strings(DType::Int64, &[2], data, top(1, false));
        assert_eq!(classes, ["9223372036854775807:1"]);
        let (_, classes) = strings(DType::Int8, &[2], vec![0xff, 0], top(2, false));
        assert_eq!(classes, ["0:1", "-1:0"]);
    }

    #[test]
    fn shapes_follow_rows_and_classes() {
        let cases: [(&[i64], bool, &[i64]); 6] = [
            (&[2, 2], true, &[2, 2]),
            (&[2, 2], false, &[3]),
            (&[4], true, &[4, 1]),
            (&[1, 2, 2], true, &[1, 3]),
            (&[0, 4], true, &[0, 3]),
            (&[2, 0], true, &[2, 0]),
        ];
        for (dims, batched, expected) in cases {
            let elements = usize::try_from(dims.iter().product::<i64>()).expect("small");
            let (shape, _) = strings(DType::Uint8, dims, vec![1; elements], top(3, batched));
            assert_eq!(shape, expected, "{dims:?}");
        }
        let scalar = strings(DType::Uint8, &[], vec![7], top(3, true));
        assert_eq!(scalar, (vec![1], vec!["7:0".to_owned()]));
    }

    #[test]
    fn only_numbers_are_classified() {
        let shape = Shape::new([1]).expect("a legal shape");
        let flags = Tensor::new(DType::Bool, shape, Bytes::from_static(&[1])).expect("one");
        assert!(classify(&flags, top(1, false)).is_err());
    }
}
