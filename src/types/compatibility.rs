//! Whether a version may take the place of another: inputs contravariant,
//! outputs covariant. Pure.

use thiserror::Error;

use super::{Dim, Signature, TensorSpec};

/// What the callers of the version in place would stumble over.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Incompatible {
    #[error("input '{0}' is gone")]
    InputGone(String),
    #[error("input '{0}' is new, and today's callers do not send it")]
    InputNew(String),
    #[error(
        "input was {was}, is {is}: expected the same datatype, and each size as it was or free"
    )]
    InputNarrowed { was: String, is: String },
    #[error("output '{0}' is gone")]
    OutputGone(String),
    #[error(
        "output was {was}, is {is}: expected the same datatype, and each size as it was or fixed"
    )]
    OutputWidened { was: String, is: String },
    #[error("the labels of output '{0}' changed")]
    Labels(String),
}

impl Signature {
    /// Whether whoever calls `old` can call this one: every input of `old`, and
    /// no other, is taken with at least its shapes; every output of `old` is
    /// given with at most its shapes and the same labels.
    pub fn may_replace(&self, old: &Signature) -> Result<(), Incompatible> {
        for was in &old.inputs {
            let is =
                find(&self.inputs, was).ok_or(Incompatible::InputGone(was.name.to_string()))?;
            if !fits(is, was) {
                let (was, is) = (was.to_string(), is.to_string());
                return Err(Incompatible::InputNarrowed { was, is });
            }
        }
        if let Some(new) = self.inputs.iter().find(|spec| find(&old.inputs, spec).is_none()) {
            return Err(Incompatible::InputNew(new.name.to_string()));
        }
        for was in &old.outputs {
            let is =
                find(&self.outputs, was).ok_or(Incompatible::OutputGone(was.name.to_string()))?;
            if !fits(was, is) {
                let (was, is) = (was.to_string(), is.to_string());
                return Err(Incompatible::OutputWidened { was, is });
            }
            if !was.labels.is_empty() && was.labels != is.labels {
                return Err(Incompatible::Labels(was.name.to_string()));
            }
        }
        Ok(())
    }
}

fn find<'a>(specs: &'a [TensorSpec], like: &TensorSpec) -> Option<&'a TensorSpec> {
    specs.iter().find(|spec| spec.name == like.name)
}

/// Whether every tensor of `inner` is one of `outer`.
fn fits(outer: &TensorSpec, inner: &TensorSpec) -> bool {
    let same_or_free = |(outer, inner): (&Dim, &Dim)| match (outer, inner) {
        (Dim::Free(_), _) => true,
        (Dim::Fixed(outer), Dim::Fixed(inner)) => outer == inner,
        (Dim::Fixed(_), Dim::Free(_)) => false,
    };
    outer.dtype == inner.dtype
        && outer.dims.len() == inner.dims.len()
        && outer.dims.iter().zip(&inner.dims).all(same_or_free)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::types::DType;

    fn spec(name: &str, dtype: DType, dims: &[i64], labels: &[&str]) -> TensorSpec {
        TensorSpec {
            name: Arc::from(name),
            dtype,
            dims: dims.iter().map(|dim| Dim::from(*dim)).collect(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        }
    }

    fn signature(inputs: &[TensorSpec], outputs: &[TensorSpec]) -> Signature {
        Signature { inputs: inputs.to_vec(), outputs: outputs.to_vec() }
    }

    #[test]
    fn callers_of_the_old_version_can_call_the_new_one() {
        use DType::{Fp32, Int64};
        let x = spec("x", Fp32, &[-1, 4], &[]);
        let y = spec("y", Fp32, &[-1, 2], &["no", "yes"]);
        let old = signature(std::slice::from_ref(&x), std::slice::from_ref(&y));
        let same = std::slice::from_ref(&y);
        assert_eq!(old.may_replace(&old), Ok(()));

        let wider = signature(&[spec("x", Fp32, &[-1, -1], &[])], same);
        assert_eq!(wider.may_replace(&old), Ok(()), "an input may take more");
        assert!(old.may_replace(&wider).is_err(), "and not less");

        let more = signature(std::slice::from_ref(&x), &[spec("z", Int64, &[-1], &[]), y.clone()]);
        assert_eq!(more.may_replace(&old), Ok(()), "an output may be added");
        assert_eq!(old.may_replace(&more), Err(Incompatible::OutputGone("z".to_owned())));

        for (inputs, outputs) in [
            (vec![spec("x", Int64, &[-1, 4], &[])], vec![y.clone()]),
            (vec![spec("x", Fp32, &[1, 4], &[])], vec![y.clone()]),
            (vec![spec("x", Fp32, &[-1, 5], &[])], vec![y.clone()]),
            (vec![spec("x", Fp32, &[-1, 4, 1], &[])], vec![y.clone()]),
            (vec![spec("w", Fp32, &[-1, 4], &[])], vec![y.clone()]),
            (vec![x.clone(), spec("w", Fp32, &[-1], &[])], vec![y.clone()]),
            (vec![x.clone()], vec![spec("y", Fp32, &[-1, -1], &["no", "yes"])]),
            (vec![x.clone()], vec![spec("y", Fp32, &[-1, 2], &["yes", "no"])]),
            (vec![x.clone()], vec![spec("y", Fp32, &[-1, 2], &[])]),
            (vec![x.clone()], vec![spec("y", DType::Fp64, &[-1, 2], &["no", "yes"])]),
            (vec![x.clone()], vec![]),
        ] {
            let new = signature(&inputs, &outputs);
            assert!(new.may_replace(&old).is_err(), "{new:?}");
        }
        let fixed =
            signature(std::slice::from_ref(&x), &[spec("y", Fp32, &[1, 2], &["no", "yes"])]);
        assert_eq!(fixed.may_replace(&old), Ok(()), "an output may become narrower");
    }
}
