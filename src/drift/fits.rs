//! Whether a profile is about the inputs and outputs that a model has.

use std::sync::Arc;

use thiserror::Error;

use super::profile::{Column, Profile};
use crate::types::{DType, Dim, Signature, TensorSpec};

/// Why a column cannot be read from a model's tensors.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Misfit {
    #[error("'{column}': the model has no {face} '{tensor}'; it has {has}")]
    NoTensor { column: Arc<str>, face: &'static str, tensor: Arc<str>, has: String },
    #[error("'{column}': expected {expected}, and the model has {has}")]
    Type { column: Arc<str>, expected: &'static str, has: String },
    #[error("'{column}': index {index:?} is no place within a row of {has}")]
    Place { column: Arc<str>, index: Vec<usize>, has: String },
}

impl Misfit {
    /// The name of the column.
    pub fn column(&self) -> &Arc<str> {
        match self {
            Misfit::NoTensor { column, .. }
            | Misfit::Type { column, .. }
            | Misfit::Place { column, .. } => column,
        }
    }
}

impl Profile {
    /// Every column that the model's tensors do not have, or have otherwise.
    /// The first dimension of a tensor is that of rows.
    pub fn misfits(&self, signature: &Signature) -> Vec<Misfit> {
        let of = |columns: &[Column], face: &'static str, specs: &[TensorSpec]| {
            columns.iter().filter_map(|column| misfit(column, face, specs)).collect::<Vec<_>>()
        };
        let mut found = of(&self.inputs, "input", &signature.inputs);
        found.extend(of(&self.outputs, "output", &signature.outputs));
        found
    }
}

fn misfit(column: &Column, face: &'static str, specs: &[TensorSpec]) -> Option<Misfit> {
    let name = || Arc::clone(&column.name);
    let Some(spec) = specs.iter().find(|spec| spec.name == column.tensor) else {
        let has: Vec<String> = specs.iter().map(ToString::to_string).collect();
        let (tensor, has) = (Arc::clone(&column.tensor), has.join(", "));
        return Some(Misfit::NoTensor { column: name(), face, tensor, has });
    };
    let reads_texts = match column.derived {
        Some(derived) => derived.is_of_text(),
        None => column.bins.counts_texts(),
    };
    if reads_texts != (spec.dtype == DType::Bytes) {
        let expected = if reads_texts { "texts (BYTES)" } else { "numbers" };
        return Some(Misfit::Type { column: name(), expected, has: spec.to_string() });
    }
    let of_probabilities = column.derived.is_some_and(|derived| !derived.is_of_text());
    (!of_probabilities && !has_place(spec, &column.index)).then(|| Misfit::Place {
        column: name(),
        index: column.index.clone(),
        has: spec.to_string(),
    })
}

/// Whether a row has a value there; no index stands for the only one.
fn has_place(spec: &TensorSpec, index: &[usize]) -> bool {
    let row = spec.dims.get(1..).unwrap_or_default();
    let within = |(dim, at): (&Dim, &usize)| match dim {
        Dim::Fixed(size) => at < size,
        Dim::Free(_) => true,
    };
    match index {
        [] => row.iter().all(|dim| dim.accepts(1)),
        _ => index.len() == row.len() && row.iter().zip(index).all(within),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(columns: &[(&str, &str, &[usize], &str)]) -> Profile {
        let document = |(name, tensor, index, kind): &(&str, &str, &[usize], &str)| match *kind {
            "texts" => serde_json::json!({
                "name": name, "tensor": tensor, "index": index, "kind": "categorical",
                "categories": ["a"], "counts": [2000],
            }),
            _ => serde_json::json!({
                "name": name, "tensor": tensor, "index": index, "kind": "values",
                "values": [1.0], "counts": [2000],
            }),
        };
        let inputs: Vec<_> = columns.iter().map(document).collect();
        let json = serde_json::json!({
            "schema": "modelgate.drift.profile/v1", "model": "m", "inputs": inputs,
        });
        Profile::parse(json.to_string().as_bytes()).expect("a profile")
    }

    fn signature() -> Signature {
        serde_json::from_value(serde_json::json!({
            "inputs": [
                {"name": "x", "datatype": "FP32", "shape": [-1, 3]},
                {"name": "plan", "datatype": "BYTES", "shape": [-1, 1]},
                {"name": "age", "datatype": "INT64", "shape": [-1]},
            ],
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}],
        }))
        .expect("a signature")
    }

    #[test]
    fn what_the_model_has_fits() {
        let columns: [(&str, &str, &[usize], &str); 4] = [
            ("a", "x", &[2], "numbers"),
            ("plan", "plan", &[], "texts"),
            ("plan_too", "plan", &[0], "texts"),
            ("age", "age", &[], "numbers"),
        ];
        assert_eq!(profile(&columns).misfits(&signature()), []);
    }

    #[test]
    fn every_misfit_is_told() {
        let columns: [(&str, &str, &[usize], &str); 6] = [
            ("a", "z", &[0], "numbers"),
            ("b", "x", &[3], "numbers"),
            ("c", "x", &[], "numbers"),
            ("d", "x", &[0, 0], "numbers"),
            ("e", "plan", &[], "numbers"),
            ("f", "age", &[], "texts"),
        ];
        let found = profile(&columns).misfits(&signature());
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        let expected = [
            "'a': the model has no input 'z'; it has 'x' FP32 [-1, 3], 'plan' BYTES [-1, 1], \
             'age' INT64 [-1]",
            "'b': index [3] is no place within a row of 'x' FP32 [-1, 3]",
            "'c': index [] is no place within a row of 'x' FP32 [-1, 3]",
            "'d': index [0, 0] is no place within a row of 'x' FP32 [-1, 3]",
            "'e': expected numbers, and the model has 'plan' BYTES [-1, 1]",
            "'f': expected texts (BYTES), and the model has 'age' INT64 [-1]",
        ];
        assert_eq!(found, expected);
    }
}
