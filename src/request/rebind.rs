//! A request that was fitted to one version, fitted to another. Pure.

use smallvec::SmallVec;

use crate::serving::{Wanted, Work};
use crate::types::{Signature, TensorSpec};

/// Puts inputs and wanted outputs into the order of `to`. `None` where `to`
/// lacks one of them, or takes another input as well.
pub fn rebind(work: Work, from: &Signature, to: &Signature) -> Option<Work> {
    if from.inputs.len() != to.inputs.len() {
        return None;
    }
    let inputs: Option<SmallVec<_>> = to
        .inputs
        .iter()
        .map(|spec| {
            let tensor = work.inputs.get(position(&from.inputs, &spec.name)?)?;
            let fits = tensor.dtype() == spec.dtype && spec.accepts(tensor.shape().dims());
            fits.then(|| tensor.clone())
        })
        .collect();
    let wanted: Option<Wanted> = work
        .wanted
        .iter()
        .map(|index| position(&to.outputs, &from.outputs.get(*index)?.name))
        .collect();
    Some(Work { inputs: inputs?, wanted: wanted?, ..work })
}

fn position(specs: &[TensorSpec], name: &str) -> Option<usize> {
    specs.iter().position(|spec| *spec.name == *name)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use bytes::Bytes;

    use super::*;
    use crate::types::{DType, Dim, Priority, Shape, Tensor};

    fn spec(name: &str) -> TensorSpec {
        let dims = vec![Dim::Free(None), Dim::Fixed(1)];
        TensorSpec { name: Arc::from(name), dtype: DType::Uint8, dims, labels: Arc::from([]) }
    }

    fn signature(inputs: &[&str], outputs: &[&str]) -> Signature {
        let specs = |names: &[&str]| names.iter().map(|name| spec(name)).collect();
        Signature { inputs: specs(inputs), outputs: specs(outputs) }
    }

    fn work(values: &[u8], wanted: &[usize]) -> Work {
        let tensor = |value: &u8| {
            let shape = Shape::new([1, 1]).expect("a shape");
            Tensor::new(DType::Uint8, shape, Bytes::copy_from_slice(&[*value])).expect("a tensor")
        };
        Work {
            inputs: values.iter().map(tensor).collect(),
            wanted: wanted.iter().copied().collect(),
            deadline: Instant::now(),
            priority: Priority::Normal,
            variant: None,
        }
    }

    #[test]
    fn names_decide_where_tensors_go() {
        let (from, to) =
            (signature(&["a", "b"], &["p", "q"]), signature(&["b", "a"], &["r", "q", "p"]));
        let moved = rebind(work(&[1, 2], &[1, 0]), &from, &to).expect("it fits");
        let values: Vec<u8> = moved.inputs.iter().map(|tensor| tensor.data()[0]).collect();
        assert_eq!(values, [2, 1]);
        assert_eq!(moved.wanted.as_slice(), [1, 2]);
    }

    #[test]
    fn what_the_other_lacks_does_not_fit() {
        let from = signature(&["a"], &["p"]);
        for to in
            [signature(&["b"], &["p"]), signature(&["a", "b"], &["p"]), signature(&["a"], &["q"])]
        {
            assert!(rebind(work(&[1], &[0]), &from, &to).is_none(), "{to:?}");
        }
    }
}
