//! What of a model is learnt from its traffic where no profile came along.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::drift::build::ColumnSpec;
use crate::drift::live::Subjects;
use crate::drift::{Derived, Kind, MAX_BINS};
use crate::predictions::features::{MAX_COLUMNS, column_names, table_width};
use crate::types::{DType, Digest, ModelName, Signature, TensorSpec, Version};

/// What is kept of texts: nobody's words, as nobody chose to have them kept.
const OF_TEXTS: [Derived; 3] = [Derived::Chars, Derived::Words, Derived::NonAsciiRatio];

/// What is looked at of scores of more classes than there can be bins.
const OF_MANY: [(Derived, Kind); 3] = [
    (Derived::Argmax, Kind::Class),
    (Derived::Margin, Kind::Numeric),
    (Derived::Entropy, Kind::Numeric),
];

/// Characters of a column's name, as profiles have them.
const MAX_NAME: usize = 128;

/// Where a learnt profile is kept, within the folder of all of them.
pub(super) fn file(folder: &Path, model: &ModelName, version: Version, digest: &Digest) -> PathBuf {
    folder.join(model.as_str()).join(format!("{version}-{}.json", digest.hex()))
}

/// The columns of a model's tables; none where no input is one of at most
/// [`MAX_COLUMNS`] columns. `features` names the columns of inputs.
pub(super) fn subjects(
    signature: &Signature,
    features: &BTreeMap<String, Vec<String>>,
) -> Option<Subjects> {
    let mut names = HashSet::new();
    let mut room = MAX_COLUMNS;
    let mut inputs = Vec::new();
    for spec in &signature.inputs {
        let Some(width) = table_width(spec).filter(|width| *width <= room) else { continue };
        room -= width;
        let named = features.get(&*spec.name).map(Vec::as_slice);
        for (place, name) in column_names(spec, width, named).into_iter().enumerate() {
            inputs.extend(of_input(spec, width, place, &name));
        }
    }
    inputs.truncate(MAX_COLUMNS);
    let mut outputs: Vec<ColumnSpec> = signature.outputs.iter().flat_map(of_output).collect();
    outputs.truncate(MAX_COLUMNS);
    let mut is_new = |column: &mut ColumnSpec| {
        if names.contains(&column.name) {
            column.name = Arc::from(format!("{}_output", column.name));
        }
        column.name.chars().count() <= MAX_NAME && names.insert(Arc::clone(&column.name))
    };
    inputs.retain_mut(&mut is_new);
    outputs.retain_mut(&mut is_new);
    (!inputs.is_empty()).then_some(Subjects { inputs, outputs })
}

fn of_input(spec: &TensorSpec, width: usize, place: usize, name: &str) -> Vec<ColumnSpec> {
    let column = column(spec, width, place, name, Kind::Numeric);
    if spec.dtype != DType::Bytes {
        return vec![column];
    }
    let derived = |derived: Derived| ColumnSpec {
        name: Arc::from(format!("{name}_{}", derived.label())),
        derived: Some(derived),
        ..column.clone()
    };
    OF_TEXTS.map(derived).to_vec()
}

fn of_output(spec: &TensorSpec) -> Vec<ColumnSpec> {
    let is_float = is_single(spec.dtype) || spec.dtype == DType::Fp64;
    let kind = if is_float { Kind::Numeric } else { Kind::Class };
    match table_width(spec) {
        Some(width) if width <= MAX_BINS => {
            let names = column_names(spec, width, None).into_iter().enumerate();
            names.map(|(place, name)| column(spec, width, place, &name, kind)).collect()
        }
        Some(_) if is_float => {
            let derived = |(derived, kind): (Derived, Kind)| ColumnSpec {
                derived: Some(derived),
                ..ColumnSpec::new(&format!("{}_{}", spec.name, derived.label()), &spec.name, kind)
            };
            OF_MANY.map(derived).to_vec()
        }
        _ => Vec::new(),
    }
}

fn column(spec: &TensorSpec, width: usize, place: usize, name: &str, kind: Kind) -> ColumnSpec {
    ColumnSpec {
        index: if width == 1 { Vec::new() } else { vec![place] },
        is_single: is_single(spec.dtype),
        ..ColumnSpec::new(name, &spec.name, kind)
    }
}

/// Of tensors that hold no more than 32-bit floats.
fn is_single(dtype: DType) -> bool {
    matches!(dtype, DType::Fp16 | DType::Bf16 | DType::Fp32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(inputs: serde_json::Value, outputs: serde_json::Value) -> Signature {
        serde_json::from_value(serde_json::json!({"inputs": inputs, "outputs": outputs}))
            .expect("a signature")
    }

    fn names(columns: &[ColumnSpec]) -> Vec<&str> {
        columns.iter().map(|column| &*column.name).collect()
    }

    #[test]
    fn tables_are_taken_apart_and_the_rest_is_left_out() {
        let signature = signature(
            serde_json::json!([
                {"name": "x", "datatype": "FP32", "shape": [-1, 2]},
                {"name": "image", "datatype": "FP32", "shape": [-1, 8, 8]},
                {"name": "note", "datatype": "BYTES", "shape": [-1, 1]},
                {"name": "wide", "datatype": "FP32", "shape": [-1, 600]},
            ]),
            serde_json::json!([
                {"name": "label", "datatype": "BYTES", "shape": [-1]},
                {"name": "p", "datatype": "FP32", "shape": [-1, 2]},
                {"name": "many", "datatype": "FP32", "shape": [-1, 1000]},
                {"name": "age", "datatype": "INT64", "shape": [-1]},
            ]),
        );
        let features = BTreeMap::from([("x".to_owned(), vec!["age".to_owned(), "b".to_owned()])]);
        let found = subjects(&signature, &features).expect("a table");
        assert_eq!(
            names(&found.inputs),
            ["age", "b", "note_chars", "note_words", "note_non_ascii_ratio"]
        );
        let outputs =
            ["label", "p_0", "p_1", "many_argmax", "many_margin", "many_entropy", "age_output"];
        assert_eq!(names(&found.outputs), outputs);
        assert_eq!((found.inputs[1].index.as_slice(), found.inputs[1].is_single), (&[1][..], true));
        assert!(found.outputs[0].kind == Kind::Class && found.outputs[0].index.is_empty());
    }

    #[test]
    fn of_no_table_nothing_is_learnt() {
        let image = serde_json::json!([{"name": "x", "datatype": "FP32", "shape": [-1, 3, 8, 8]}]);
        let output = serde_json::json!([{"name": "y", "datatype": "FP32", "shape": [-1]}]);
        assert_eq!(subjects(&signature(image, output), &BTreeMap::new()), None);
    }
}
