//! Where the columns of a profile stand in a model's tensors, and counting
//! them there. Nothing here allocates, but for rows of more than [`FEW`]
//! probabilities, and nothing fails: what cannot be read is counted as invalid.

use smallvec::SmallVec;

use crate::drift::derive::Derived;
use crate::drift::profile::Column;
use crate::drift::tally::{Rate, Tally};
use crate::types::{DType, Tensor, TensorSpec};

/// Probabilities of a row that need no memory of their own.
const FEW: usize = 64;

/// Bytes of texts that take as long to look at as one number.
const BYTES_OF_ONE: usize = 8;

/// The columns that are read from one tensor.
#[derive(Debug)]
pub(super) struct Reader {
    /// The tensor's place in the signature.
    pub(super) tensor: usize,
    /// Places among the columns that were given.
    columns: Vec<usize>,
    has_derived: bool,
}

/// Readers of the tensors that columns are read from, which the signature has
/// ([`crate::drift::Profile::misfits`]).
pub(super) fn readers(columns: &[Column], specs: &[TensorSpec]) -> Vec<Reader> {
    let reader = |(tensor, spec): (usize, &TensorSpec)| {
        let own: Vec<usize> =
            (0..columns.len()).filter(|at| columns[*at].tensor == spec.name).collect();
        let has_derived = own.iter().any(|at| columns[*at].derived.is_some());
        (!own.is_empty()).then_some(Reader { tensor, columns: own, has_derived })
    };
    specs.iter().enumerate().filter_map(reader).collect()
}

impl Reader {
    /// How long it takes to count a tensor: as many numbers take as long.
    pub(super) fn cost(&self, tensor: &Tensor) -> usize {
        match tensor.dtype() {
            DType::Bytes => tensor.data().len() / BYTES_OF_ONE + tensor.shape().elements(),
            _ if self.has_derived => tensor.shape().elements() + rows(tensor) * self.columns.len(),
            _ => rows(tensor) * self.columns.len(),
        }
    }

    /// Counts a tensor; `columns` and `tallies` are those that the reader was made for.
    pub(super) fn count(&self, columns: &[Column], tensor: &Tensor, tallies: &mut [Tally]) {
        let (rows, width) = (rows(tensor), width(tensor));
        if tensor.dtype() == DType::Bytes {
            return self.count_texts(columns, tensor, width, tallies);
        }
        for at in &self.columns {
            let (column, tally) = (&columns[*at], &mut tallies[*at]);
            if let Some(derived) = column.derived {
                (0..rows).for_each(|row| {
                    let number = of_row(derived, tensor, row, width);
                    column.bins.count_number(number, tally);
                });
                continue;
            }
            let place = offset(tensor, &column.index);
            for row in 0..rows {
                match place.and_then(|place| tensor.number(row * width + place)) {
                    Some(number) => column.bins.count_number(number, tally),
                    None => tally.note(Rate::Invalid),
                }
            }
        }
    }

    /// In one pass, since texts have to be passed one by one.
    fn count_texts(
        &self,
        columns: &[Column],
        tensor: &Tensor,
        width: usize,
        tallies: &mut [Tally],
    ) {
        let places: SmallVec<[_; 8]> =
            self.columns.iter().map(|at| (*at, offset(tensor, &columns[*at].index))).collect();
        for (element, text) in tensor.strings().enumerate() {
            let of_row = element % width.max(1);
            for (at, _) in places.iter().filter(|(_, place)| *place == Some(of_row)) {
                count_text(&columns[*at], text, &mut tallies[*at]);
            }
        }
        for (at, _) in places.iter().filter(|(_, place)| place.is_none()) {
            (0..rows(tensor)).for_each(|_| tallies[*at].note(Rate::Invalid));
        }
    }
}

fn count_text(column: &Column, text: &[u8], tally: &mut Tally) {
    match column.derived {
        None => column.bins.count_text(text, tally),
        Some(derived) => match std::str::from_utf8(text) {
            Ok(text) => column.bins.count_number(derived.of_text(text), tally),
            Err(_) => tally.note(Rate::Invalid),
        },
    }
}

/// What is derived of one row's probabilities.
pub(super) fn of_row(derived: Derived, tensor: &Tensor, row: usize, width: usize) -> f64 {
    let row = (row * width..(row + 1) * width).map_while(|at| tensor.number(at));
    derived.of_probabilities(&row.collect::<SmallVec<[f64; FEW]>>())
}

/// Rows of a tensor; a scalar is one.
pub(super) fn rows(tensor: &Tensor) -> usize {
    tensor.shape().rows().unwrap_or(1)
}

/// Elements of one row.
pub(super) fn width(tensor: &Tensor) -> usize {
    tensor.shape().elements().checked_div(rows(tensor)).unwrap_or(0)
}

/// The place of an index within a row; no index stands for the only element.
/// `None` where a row has no such place: dimensions may differ from request to
/// request.
pub(super) fn offset(tensor: &Tensor, index: &[usize]) -> Option<usize> {
    let dims = tensor.shape().dims().get(1..).unwrap_or_default();
    if index.is_empty() {
        return (width(tensor) == 1).then_some(0);
    }
    if index.len() != dims.len() {
        return None;
    }
    index.iter().zip(dims).try_fold(0, |place, (at, size)| {
        let size = usize::try_from(*size).ok()?;
        (*at < size).then_some(place * size + at)
    })
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, Bytes, BytesMut};

    use super::*;
    use crate::drift::Profile;
    use crate::types::Shape;

    fn tensor(dtype: DType, dims: &[i64], data: impl Into<Bytes>) -> Tensor {
        let shape = Shape::new(dims.iter().copied()).expect("a shape");
        Tensor::new(dtype, shape, data.into()).expect("a tensor")
    }

    fn floats(dims: &[i64], values: &[f32]) -> Tensor {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        tensor(DType::Fp32, dims, bytes)
    }

    fn texts(dims: &[i64], values: &[&[u8]]) -> Tensor {
        let mut packed = BytesMut::new();
        for value in values {
            packed.put_u32_le(u32::try_from(value.len()).expect("short"));
            packed.put_slice(value);
        }
        tensor(DType::Bytes, dims, packed.freeze())
    }

    /// Columns of tensors `x` (numbers) and `t` (texts).
    fn columns(documents: serde_json::Value) -> Vec<Column> {
        let profile = serde_json::json!({
            "schema": "modelgate.drift.profile/v1", "model": "m", "inputs": documents,
        });
        Profile::parse(profile.to_string().as_bytes()).expect("a profile").inputs
    }

    fn numeric(name: &str, index: &[usize]) -> serde_json::Value {
        serde_json::json!({
            "name": name, "tensor": "x", "index": index, "kind": "numeric", "edges": [10.0],
            "counts": [1000, 1000], "min": 0, "max": 100, "p001": 0, "p999": 100, "mean": 9,
            "std": 9,
        })
    }

    fn counted(columns: &[Column], tensor: &Tensor) -> Vec<Tally> {
        let name = if tensor.dtype() == DType::Bytes { "t" } else { "x" };
        let spec = serde_json::json!({"name": name, "datatype": tensor.dtype(), "shape": [-1]});
        let specs: Vec<TensorSpec> = vec![serde_json::from_value(spec).expect("a tensor")];
        let readers = readers(columns, &specs);
        let mut tallies: Vec<_> = columns.iter().map(Column::tally).collect();
        readers.iter().for_each(|reader| reader.count(columns, tensor, &mut tallies));
        tallies
    }

    #[test]
    fn each_column_is_read_at_its_place() {
        let columns = columns(serde_json::json!([numeric("a", &[0]), numeric("c", &[2])]));
        let x = floats(&[2, 3], &[1.0, 50.0, 20.0, 30.0, 50.0, f32::NAN]);
        let tallies = counted(&columns, &x);
        assert_eq!(tallies[0].bins(), [1, 1]);
        assert_eq!((tallies[1].bins(), tallies[1].rate(Rate::Missing)), (&[0, 1][..], 1));
    }

    #[test]
    fn rows_may_have_more_than_one_dimension_or_none() {
        let deep = columns(serde_json::json!([numeric("a", &[1, 0])]));
        let x = floats(&[2, 2, 2], &[1.0, 1.0, 50.0, 1.0, 1.0, 1.0, 2.0, 1.0]);
        assert_eq!(counted(&deep, &x)[0].bins(), [1, 1]);
        let flat = columns(serde_json::json!([numeric("a", &[])]));
        assert_eq!(counted(&flat, &floats(&[3], &[1.0, 2.0, 30.0]))[0].bins(), [2, 1]);
        assert_eq!(counted(&flat, &floats(&[2, 1], &[1.0, 30.0]))[0].bins(), [1, 1]);
        assert_eq!(counted(&flat, &floats(&[], &[30.0]))[0].bins(), [0, 1]);
        assert_eq!(counted(&flat, &floats(&[0], &[]))[0].seen(), 0);
    }

    /// Free dimensions differ from request to request.
    #[test]
    fn a_row_without_the_place_is_invalid() {
        let columns = columns(serde_json::json!([numeric("a", &[2]), numeric("b", &[0])]));
        let tallies = counted(&columns, &floats(&[2, 2], &[1.0, 2.0, 3.0, 4.0]));
        assert_eq!((tallies[0].binned(), tallies[0].rate(Rate::Invalid)), (0, 2));
        assert_eq!(tallies[1].bins(), [2, 0]);
    }

    #[test]
    fn texts_are_counted_and_measured() {
        let columns = columns(serde_json::json!([
            {"name": "plan", "tensor": "t", "index": [1], "kind": "categorical",
             "categories": ["a"], "counts": [1000], "other": 9, "dictionary": ["b"]},
            {"name": "length", "tensor": "t", "index": [0], "kind": "numeric", "derived": "chars",
             "edges": [3.0], "counts": [1000, 1000], "min": 0, "max": 100, "p001": 0, "p999": 100,
             "mean": 9, "std": 9},
        ]));
        let t = texts(&[4, 2], &[b"xy", b"a", b"wxyz", b"b", b"\xff", b"new", b"", b""]);
        let tallies = counted(&columns, &t);
        assert_eq!(tallies[0].bins(), [1, 2]);
        assert_eq!((tallies[0].rate(Rate::Unseen), tallies[0].rate(Rate::Missing)), (1, 1));
        assert_eq!(tallies[1].bins(), [1, 1]);
        assert_eq!((tallies[1].rate(Rate::Invalid), tallies[1].rate(Rate::Missing)), (1, 1));
        let narrow = texts(&[2, 1], &[b"a", b"a"]);
        assert_eq!(counted(&columns, &narrow)[0].rate(Rate::Invalid), 2);
    }

    #[test]
    fn probabilities_are_taken_row_by_row() {
        let columns = columns(serde_json::json!([
            {"name": "class", "tensor": "x", "kind": "class", "derived": "argmax",
             "values": [0, 1], "counts": [1000, 1000]},
        ]));
        let x = floats(&[3, 2], &[0.9, 0.1, 0.2, 0.8, 0.3, f32::NAN]);
        let tallies = counted(&columns, &x);
        assert_eq!((tallies[0].bins(), tallies[0].rate(Rate::Missing)), (&[1, 1, 0][..], 1));
    }
}
