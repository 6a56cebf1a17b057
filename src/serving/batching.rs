//! Rows of several requests as one batch, and back. Pure.

use bytes::Bytes;

use super::job::Work;
use crate::types::{DType, Shape, Tensor};

/// Whether two requests may share a run: rows on every input, and the same
/// dimensions behind them.
pub fn may_share(a: &Work, b: &Work) -> bool {
    a.is_even()
        && b.is_even()
        && a.inputs.len() == b.inputs.len()
        && a.inputs.iter().zip(&b.inputs).all(|(a, b)| {
            let (a, b) = (a.shape().dims(), b.shape().dims());
            a.len() == b.len() && a.iter().skip(1).eq(b.iter().skip(1))
        })
}

/// Appends the elements of one input of every member to `batch`, in order.
/// Packed strings append like any other bytes.
pub fn gather<'a>(members: impl Iterator<Item = &'a Tensor>, batch: &mut Vec<u8>) {
    for member in members {
        batch.extend_from_slice(member.data());
    }
}

/// The output of a batch of `rows` rows cannot be given back to its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotRows;

/// Cuts one output of a batch into its members' rows, handing each to `give`.
/// The parts share the batch's memory.
pub fn scatter(
    output: &Tensor,
    rows: impl Iterator<Item = usize> + Clone,
    mut give: impl FnMut(Tensor),
) -> Result<(), NotRows> {
    let total = output.shape().rows().ok_or(NotRows)?;
    if total != rows.clone().sum::<usize>() {
        return Err(NotRows);
    }
    let data = output.data();
    let per_row = output.shape().elements().checked_div(total).unwrap_or(0);
    let mut from = 0;
    for rows in rows {
        let upto = match output.dtype().size() {
            Some(size) => from + rows * per_row * size,
            None => end_of_strings(data, from, rows * per_row),
        };
        let part = output.shape().with_rows(rows).map_err(|_| NotRows)?;
        let part = slice(output.dtype(), part, data, from, upto).ok_or(NotRows)?;
        give(part);
        from = upto;
    }
    Ok(())
}

fn slice(dtype: DType, shape: Shape, data: &Bytes, from: usize, upto: usize) -> Option<Tensor> {
    if upto > data.len() {
        return None;
    }
    Tensor::new(dtype, shape, data.slice(from..upto)).ok()
}

/// Where `count` packed strings that begin at `from` end.
fn end_of_strings(data: &[u8], mut from: usize, count: usize) -> usize {
    for _ in 0..count {
        let Some(length) = data.get(from..).and_then(<[u8]>::first_chunk::<4>) else { break };
        from += 4 + u32::from_le_bytes(*length) as usize;
    }
    from
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pack(strings: &[Vec<u8>]) -> Vec<u8> {
        let mut packed = Vec::new();
        for string in strings {
            packed.extend_from_slice(&(string.len() as u32).to_le_bytes());
            packed.extend_from_slice(string);
        }
        packed
    }

    fn tensor(dtype: DType, dims: &[i64], data: Vec<u8>) -> Tensor {
        let shape = Shape::new(dims.iter().copied()).expect("a legal shape");
        Tensor::new(dtype, shape, Bytes::from(data)).expect("a legal tensor")
    }

    proptest! {
        #[test]
        fn scatter_gives_back_what_gather_took(
            rows in prop::collection::vec(0usize..5, 1..8), columns in 0usize..4, strings: bool, seed: u64,
        ) {
            let mut next = seed;
            let members: Vec<Tensor> = rows.iter().map(|rows| {
                let dims = [*rows as i64, columns as i64];
                let elements = rows * columns;
                let mut draw = || {
                    next = next.wrapping_mul(6364136223846793005).wrapping_add(1);
                    (next >> 56) as u8
                };
                if strings {
                    let strings: Vec<Vec<u8>> = (0..elements)
                        .map(|_| (0..draw() % 6).map(|_| draw()).collect())
                        .collect();
                    tensor(DType::Bytes, &dims, pack(&strings))
                } else {
                    tensor(DType::Int32, &dims, (0..elements * 4).map(|_| draw()).collect())
                }
            }).collect();

            let mut data = Vec::new();
            gather(members.iter(), &mut data);
            let total: usize = rows.iter().sum();
            let batch = tensor(members[0].dtype(), &[total as i64, columns as i64], data);
            let mut parts = Vec::new();
            scatter(&batch, rows.iter().copied(), |part| parts.push(part)).expect("rows agree");

            prop_assert_eq!(parts.len(), members.len());
            for (part, member) in parts.iter().zip(&members) {
                prop_assert_eq!(part.shape(), member.shape());
                prop_assert_eq!(part.data(), member.data());
            }
        }
    }

    #[test]
    fn an_output_without_the_batchs_rows_is_refused() {
        let output = tensor(DType::Uint8, &[3], vec![1, 2, 3]);
        assert_eq!(scatter(&output, [1, 1].into_iter(), |_| ()), Err(NotRows));
        let scalar = tensor(DType::Uint8, &[], vec![1]);
        assert_eq!(scatter(&scalar, [1].into_iter(), |_| ()), Err(NotRows));
    }

    #[test]
    fn only_equal_rows_share_a_run() {
        let work = |dims: &[i64]| Work {
            inputs: [tensor(DType::Uint8, dims, vec![0; dims.iter().product::<i64>() as usize])]
                .into_iter()
                .collect(),
            wanted: [0].into_iter().collect(),
            deadline: std::time::Instant::now(),
            priority: crate::types::Priority::Normal,
            variant: None,
        };
        let (narrow, wide, more) = (work(&[2, 1]), work(&[2, 3]), work(&[5, 1]));
        assert!(may_share(&narrow, &more));
        assert!(!may_share(&narrow, &wide));
    }
}
