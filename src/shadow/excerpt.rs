//! What is kept of a mismatch to be looked at.

use serde_json::Value;

use super::compare::Elements;
use super::report::Excerpt;
use crate::types::{DType, Tensor};

/// Elements that are shown of a tensor, and bytes of a string.
const MOST_ELEMENTS: usize = 32;
const MOST_STRING: usize = 256;

/// Bytes that the values of one mismatch may take as JSON.
pub(super) const MOST_BYTES: usize = 64 << 10;

/// Takes excerpts until there are bytes left for no more.
pub(super) struct Excerpts {
    left: usize,
}

impl Excerpts {
    pub(super) fn new() -> Excerpts {
        Excerpts { left: MOST_BYTES }
    }

    /// The tensor's first elements, as many as there is space for.
    pub(super) fn take(&mut self, name: &str, tensor: &Tensor) -> Excerpt {
        let dims = tensor.shape().dims().to_vec();
        // Of the fields and their punctuation.
        self.left = self.left.saturating_sub(128 + name.len() + dims.len() * 8);
        let values: &mut dyn Iterator<Item = Value> = match tensor.dtype() {
            DType::Bytes => &mut tensor.strings().map(text),
            _ => {
                let elements = Elements::of(tensor);
                &mut (0..tensor.shape().elements()).map(move |at| elements.json(at))
            }
        };
        let values = values
            .take(MOST_ELEMENTS)
            .take_while(|value| {
                let length = serde_json::to_string(value).map_or(usize::MAX, |text| text.len() + 1);
                let fits = length <= self.left;
                self.left = if fits { self.left - length } else { 0 };
                fits
            })
            .collect();
        let elements = tensor.shape().elements();
        Excerpt { name: name.to_owned(), datatype: tensor.dtype(), shape: dims, values, elements }
    }

    /// Bytes that were taken so far, about.
    pub(super) fn taken(&self) -> usize {
        MOST_BYTES - self.left
    }

    pub(super) fn is_full(&self) -> bool {
        self.left == 0
    }
}

fn text(string: &[u8]) -> Value {
    Value::from(String::from_utf8_lossy(&string[..string.len().min(MOST_STRING)]).into_owned())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::types::Shape;

    fn tensor(dtype: DType, count: usize, data: Vec<u8>) -> Tensor {
        let shape = Shape::new([count as i64]).expect("a shape");
        Tensor::new(dtype, shape, Bytes::from(data)).expect("data of that shape")
    }

    #[test]
    fn an_excerpt_shows_the_first_elements() {
        let numbers = [1.5, f32::NAN, f32::NEG_INFINITY, 0.1].map(f32::to_le_bytes).concat();
        let excerpt = Excerpts::new().take("x", &tensor(DType::Fp32, 4, numbers));
        assert_eq!(excerpt.values[..3], [json!(1.5), json!("NaN"), json!("-Infinity")]);
        assert_eq!((excerpt.elements, excerpt.shape), (4, vec![4]));
        let many = tensor(DType::Int64, 100, [7i64; 100].map(i64::to_le_bytes).concat());
        let excerpt = Excerpts::new().take("x", &many);
        assert_eq!((excerpt.values.len(), &excerpt.values[31]), (32, &json!(7)));
        let wide = tensor(DType::Uint64, 1, u64::MAX.to_le_bytes().to_vec());
        assert_eq!(Excerpts::new().take("x", &wide).values, [json!(u64::MAX)]);
        let truth = tensor(DType::Bool, 2, vec![1, 0]);
        assert_eq!(Excerpts::new().take("x", &truth).values, [json!(true), json!(false)]);
    }

    #[test]
    fn one_mismatch_is_bounded() {
        // As JSON, each byte of these takes six.
        let string = [&1000u32.to_le_bytes()[..], &[1; 1000]].concat();
        let tensor = tensor(DType::Bytes, 32, string.repeat(32));
        let mut excerpts = Excerpts::new();
        let taken: Vec<Excerpt> = (0..9).map(|_| excerpts.take("x", &tensor)).collect();
        let length = serde_json::to_string(&taken).expect("JSON").len();
        assert!((MOST_BYTES / 2..=MOST_BYTES + 4096).contains(&length), "{length}");
        assert!(excerpts.is_full() && taken[8].values.is_empty());
    }
}
