//! From what a graph declares to what the protocol can say.

use std::sync::Arc;

use super::ffi::{Port, PortKind};
use crate::types::{DType, Dim, MAX_RANK, Signature, TensorSpec};

/// How an output of the graph becomes one tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Tensor,
    /// A sequence of tensors of one shape, stacked along a new first dimension.
    Stack,
    /// A map, whose values in the order of its keys are one row.
    Map {
        key: DType,
    },
    /// A sequence of maps with the same keys: a row for each.
    Maps {
        key: DType,
    },
}

/// The signature, and each output's form. Says what cannot be served and why.
pub(super) fn from_ports(
    inputs: &[Port],
    outputs: &[Port],
) -> Result<(Signature, Vec<Form>), String> {
    let inputs = inputs.iter().map(input).collect::<Result<_, _>>()?;
    let outputs: Vec<(TensorSpec, Form)> = outputs.iter().map(output).collect::<Result<_, _>>()?;
    let (outputs, forms) = outputs.into_iter().unzip();
    Ok((Signature { inputs, outputs }, forms))
}

fn input(port: &Port) -> Result<TensorSpec, String> {
    match &port.kind {
        PortKind::Tensor { dtype, dims: Some(dims) } => spec(port, *dtype, dims.clone()),
        PortKind::Tensor { dims: None, .. } => Err(format!(
            "input '{}' does not declare how many dimensions it has; export the model with a \
             shape for it (-1 or a name for sizes that vary)",
            port.name
        )),
        PortKind::Sequence(_) | PortKind::Map { .. } => Err(format!(
            "input '{}' is a {}; the protocol carries only tensors in",
            port.name,
            name_of(&port.kind)
        )),
    }
}

fn output(port: &Port) -> Result<(TensorSpec, Form), String> {
    let (form, dtype, dims) = match &port.kind {
        // The rank is learnt from the first run, where one succeeds.
        PortKind::Tensor { dtype, dims } => {
            (Form::Tensor, *dtype, dims.clone().unwrap_or_else(|| vec![Dim::Free(None)]))
        }
        PortKind::Sequence(element) => match element.as_ref() {
            PortKind::Tensor { dtype, dims } => {
                let element = dims.clone().unwrap_or_default();
                let stacked = std::iter::once(Dim::Free(None)).chain(element).collect();
                (Form::Stack, *dtype, stacked)
            }
            PortKind::Map { key, value } => (
                Form::Maps { key: *key },
                value_type(port, value)?,
                vec![Dim::Free(None), Dim::Free(None)],
            ),
            PortKind::Sequence(_) => return Err(nested(port)),
        },
        PortKind::Map { key, value } => {
            (Form::Map { key: *key }, value_type(port, value)?, vec![Dim::Free(None)])
        }
    };
    Ok((spec(port, dtype, dims)?, form))
}

fn value_type(port: &Port, value: &PortKind) -> Result<DType, String> {
    match value {
        PortKind::Tensor { dtype, .. } => Ok(*dtype),
        PortKind::Sequence(_) | PortKind::Map { .. } => Err(nested(port)),
    }
}

fn nested(port: &Port) -> String {
    format!("output '{}' is a {}, which has no tensor form", port.name, name_of(&port.kind))
}

fn name_of(kind: &PortKind) -> String {
    match kind {
        PortKind::Tensor { .. } => "tensor".to_owned(),
        PortKind::Sequence(element) => format!("sequence of {}s", name_of(element)),
        PortKind::Map { value, .. } => format!("map of {}s", name_of(value)),
    }
}

fn spec(port: &Port, dtype: DType, dims: Vec<Dim>) -> Result<TensorSpec, String> {
    if dims.len() > MAX_RANK {
        return Err(format!(
            "'{}' has {} dimensions, at most {MAX_RANK} are served",
            port.name,
            dims.len()
        ));
    }
    Ok(TensorSpec { name: Arc::clone(&port.name), dtype, dims, labels: Arc::from([]) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(kind: PortKind) -> Port {
        Port { name: "p".into(), kind }
    }

    fn tensor(dims: Option<Vec<Dim>>) -> PortKind {
        PortKind::Tensor { dtype: DType::Fp32, dims }
    }

    #[test]
    fn only_tensors_go_in() {
        let sequence = port(PortKind::Sequence(Box::new(tensor(None))));
        let map = port(PortKind::Map { key: DType::Int64, value: Box::new(tensor(None)) });
        for refused in
            [sequence, map, port(tensor(None)), port(tensor(Some(vec![Dim::Fixed(1); 17])))]
        {
            let error = from_ports(std::slice::from_ref(&refused), &[]).expect_err("refused");
            assert!(error.contains("'p'"), "{error}");
        }
        assert!(from_ports(&[port(tensor(Some(vec![])))], &[]).is_ok());
    }

    #[test]
    fn sequences_and_maps_out_have_a_tensor_form() {
        let map = || PortKind::Map { key: DType::Int64, value: Box::new(tensor(Some(vec![]))) };
        let sequence = |element| PortKind::Sequence(Box::new(element));
        for (kind, form, dims) in [
            (map(), Form::Map { key: DType::Int64 }, vec![-1]),
            (sequence(map()), Form::Maps { key: DType::Int64 }, vec![-1, -1]),
            (sequence(tensor(Some(vec![Dim::Fixed(3)]))), Form::Stack, vec![-1, 3]),
            (tensor(None), Form::Tensor, vec![-1]),
        ] {
            let (signature, forms) = from_ports(&[], &[port(kind)]).expect("served");
            assert_eq!((forms[0], signature.outputs[0].wire_dims()), (form, dims));
        }
        let nested = port(sequence(sequence(map())));
        assert!(from_ports(&[], &[nested]).expect_err("refused").contains("no tensor form"));
    }
}
