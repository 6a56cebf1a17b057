//! Concrete shapes, whose arithmetic is checked once when they are made.

use std::fmt;

use smallvec::SmallVec;
use thiserror::Error;

/// The highest rank a request may have.
pub const MAX_RANK: usize = 16;

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ShapeError {
    #[error("shape has {0} dimensions, at most {MAX_RANK} are accepted")]
    Rank(usize),
    #[error("shape {0:?} has a negative dimension; every dimension of a request must be given")]
    Negative(Vec<i64>),
    #[error("shape {0:?} has more elements than this machine can count")]
    Overflow(Vec<i64>),
}

/// The dimensions of one tensor. Rank 0 is a scalar with one element; any
/// dimension of 0 makes an empty tensor. `i64`, as ONNX Runtime and the wire
/// have them; never negative.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Shape {
    dims: SmallVec<[i64; 4]>,
    elements: usize,
}

impl Shape {
    pub fn new(dims: impl IntoIterator<Item = i64>) -> Result<Shape, ShapeError> {
        let dims: SmallVec<[i64; 4]> = dims.into_iter().take(MAX_RANK + 1).collect();
        if dims.len() > MAX_RANK {
            return Err(ShapeError::Rank(dims.len()));
        }
        if dims.iter().any(|dim| *dim < 0) {
            return Err(ShapeError::Negative(dims.to_vec()));
        }
        let elements = dims
            .iter()
            .try_fold(1usize, |product, dim| usize::try_from(*dim).ok()?.checked_mul(product))
            .filter(|elements| isize::try_from(*elements).is_ok());
        match elements {
            Some(elements) => Ok(Shape { dims, elements }),
            None => Err(ShapeError::Overflow(dims.to_vec())),
        }
    }

    pub fn dims(&self) -> &[i64] {
        &self.dims
    }

    pub fn rank(&self) -> usize {
        self.dims.len()
    }

    /// Product of the dimensions; 1 for a scalar.
    pub fn elements(&self) -> usize {
        self.elements
    }

    /// The first dimension, which counts rows where a model batches.
    pub fn rows(&self) -> Option<usize> {
        self.dims.first().map(|rows| *rows as usize)
    }

    /// The same shape with another first dimension.
    pub fn with_rows(&self, rows: usize) -> Result<Shape, ShapeError> {
        let first = i64::try_from(rows).map_err(|_| ShapeError::Overflow(self.dims.to_vec()))?;
        Shape::new(std::iter::once(first).chain(self.dims.iter().skip(1).copied()))
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, dim) in self.dims.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{dim}")?;
        }
        f.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn elements_agree_with_wide_arithmetic(dims in prop::collection::vec(-2i64..=i64::MAX, 0..18)) {
            let exact = dims.iter().try_fold(1u128, |product, dim| {
                // A product past 2^100 that meets no zero later can only be refused.
                u128::try_from(*dim).ok().map(|dim| product.saturating_mul(dim))
            });
            match Shape::new(dims.iter().copied()) {
                Ok(shape) => prop_assert_eq!(Some(shape.elements() as u128), exact),
                Err(ShapeError::Rank(_)) => prop_assert!(dims.len() > MAX_RANK),
                Err(ShapeError::Negative(_)) => prop_assert!(dims.iter().any(|dim| *dim < 0)),
                Err(ShapeError::Overflow(_)) => prop_assert!(
                    dims.contains(&0) || exact.is_some_and(|exact| exact > isize::MAX as u128)
                ),
            }
        }
    }

    #[test]
    fn a_scalar_has_one_element_and_a_zero_dimension_none() {
        assert_eq!(Shape::new([]).expect("scalar").elements(), 1);
        assert_eq!(Shape::new([0, 4]).expect("empty").elements(), 0);
    }

    #[test]
    fn products_that_do_not_fit_are_refused() {
        assert!(matches!(Shape::new([1 << 32, 1 << 32]), Err(ShapeError::Overflow(_))));
        assert!(matches!(Shape::new([2, -1]), Err(ShapeError::Negative(_))));
        assert!(matches!(Shape::new([1; 17]), Err(ShapeError::Rank(17))));
    }
}
