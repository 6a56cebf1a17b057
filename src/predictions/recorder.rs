//! What is written of one version's requests: its policy, worked out against
//! its signature once.

use std::sync::Arc;

use super::features::{MAX_COLUMNS, column_names, table_width};
use super::hash::Hasher;
use super::policy::{Policy, Treatment};
use super::record::{Head, begin_list, end_list};
use super::redact;
use super::schema::{Column, Schema, SchemaId, TensorSchema, Treated};
use crate::types::{DType, Digest, ModelName, Signature, Tensor, TensorSpec, Version};

/// Writes the records of one version under one policy.
#[derive(Debug)]
pub struct Recorder {
    pub policy: Arc<Policy>,
    pub schema: Arc<Schema>,
    pub id: SchemaId,
    hasher: Hasher,
    /// Units whose hash is below are recorded.
    threshold: u64,
}

impl Recorder {
    /// Fits a policy to a version. What the policy cannot mean is said, and
    /// the values it is about are dropped rather than written.
    pub fn new(
        name: &ModelName,
        version: Version,
        digest: &Digest,
        signature: &Signature,
        policy: &Arc<Policy>,
        hasher: &Hasher,
    ) -> (Recorder, Vec<String>) {
        let mut problems = unknown_names(signature, policy);
        let row_wise = signature.may_batch();
        let mut room = MAX_COLUMNS;
        let inputs = signature.inputs.iter();
        let inputs = inputs
            .map(|spec| {
                let width =
                    if row_wise { table_width(spec).filter(|width| *width <= room) } else { None };
                room -= width.unwrap_or(0);
                let columns = width.map_or_else(Vec::new, |width| columns(spec, width, policy));
                let treatment = policy.features.get(&*spec.name);
                let texts = (spec.dtype == DType::Bytes).then_some(&policy.texts);
                tensor(spec, columns, treatment.or(texts), &mut problems)
            })
            .collect();
        let outputs = signature.outputs.iter();
        let outputs = outputs
            .map(|spec| tensor(spec, Vec::new(), policy.outputs.get(&*spec.name), &mut problems))
            .collect();
        let schema = Arc::new(Schema {
            model: name.to_string(),
            version: version.get(),
            digest: digest.to_string(),
            gateway: env!("CARGO_PKG_VERSION").to_owned(),
            provider: "cpu".to_owned(),
            row_wise,
            inputs,
            outputs,
        });
        let id = schema.id();
        let policy = Arc::clone(policy);
        let threshold = threshold(policy.sample);
        (Recorder { policy, schema, id, hasher: hasher.clone(), threshold }, problems)
    }

    /// Whether a unit is recorded. The same on every replica, for every model
    /// with the same share; units of a smaller share are among those of a larger.
    pub fn keeps(&self, unit: u64) -> bool {
        self.threshold == u64::MAX || unit < self.threshold
    }

    pub fn hash(&self, bytes: &[u8]) -> [u8; 16] {
        self.hasher.hash(bytes)
    }

    /// Appends a record of an answer. `outputs` are those at `wanted`.
    pub fn encode(
        &self,
        head: &Head<'_>,
        inputs: &[Tensor],
        wanted: &[usize],
        outputs: &[Tensor],
        payload: &mut Vec<u8>,
    ) {
        head.encode(payload);
        self.encode_tensors(inputs, wanted, outputs, payload);
    }

    /// The same behind a head that stands there already.
    pub fn encode_tensors(
        &self,
        inputs: &[Tensor],
        wanted: &[usize],
        outputs: &[Tensor],
        payload: &mut Vec<u8>,
    ) {
        let inputs = inputs.iter().enumerate();
        self.list(&self.schema.inputs, inputs, payload);
        self.list(&self.schema.outputs, wanted.iter().copied().zip(outputs), payload);
    }

    fn list<'t>(
        &self,
        schemas: &[TensorSchema],
        tensors: impl Iterator<Item = (usize, &'t Tensor)>,
        payload: &mut Vec<u8>,
    ) {
        let list = begin_list(payload);
        let mut count = 0;
        for (index, tensor) in tensors {
            let Some(schema) = schemas.get(index) else { continue };
            // A model has far fewer tensors.
            let place = u16::try_from(index).unwrap_or(u16::MAX);
            let rules = redact::Rules {
                schema,
                hasher: &self.hasher,
                row_wise: self.schema.row_wise,
                max_bytes: self.policy.max_tensor_bytes,
            };
            count += u16::from(redact::put(&rules, place, tensor, payload));
        }
        end_list(payload, list, count);
    }
}

/// Appends a record that has no tensors.
pub fn encode_bare(head: &Head<'_>, payload: &mut Vec<u8>) {
    head.encode(payload);
    for _ in 0..2 {
        begin_list(payload);
    }
}

fn threshold(sample: f64) -> u64 {
    // Saturates: 1 is all of them.
    (sample * 2f64.powi(64)) as u64
}

fn columns(spec: &TensorSpec, width: usize, policy: &Policy) -> Vec<Column> {
    let named = policy.names.get(&*spec.name).map(Vec::as_slice);
    let own = policy.features.get(&*spec.name);
    let texts = (spec.dtype == DType::Bytes).then_some(&policy.texts);
    column_names(spec, width, named)
        .into_iter()
        .map(|name| {
            let treatment = policy.features.get(&name).or(own).or(texts);
            let treated = treatment.map_or(Treated::Keep, treated);
            Column { name, treated }
        })
        .collect()
}

fn tensor(
    spec: &TensorSpec,
    mut columns: Vec<Column>,
    treatment: Option<&Treatment>,
    problems: &mut Vec<String>,
) -> TensorSchema {
    let is_text = spec.dtype == DType::Bytes;
    for column in &mut columns {
        let fits = match &column.treated {
            Treated::Bin(_) => !is_text && spec.dtype != DType::Bool,
            Treated::Truncate(_) => is_text,
            _ => true,
        };
        if !fits {
            let (name, treatment) = (&column.name, &column.treated);
            problems.push(format!(
                "feature '{name}' is {}, for which {treatment:?} means nothing: it is dropped",
                spec.dtype
            ));
            column.treated = Treated::Drop;
        }
    }
    // One that asks for a digest asks for it of the whole.
    let digested = columns.iter().any(|column| column.treated == Treated::Digest);
    let whole = match treatment.map(treated) {
        _ if digested => Treated::Digest,
        Some(Treated::Bin(_) | Treated::Truncate(_)) if columns.is_empty() => {
            problems
                .push(format!("'{}' has no columns to bin or truncate: it is dropped", spec.name));
            Treated::Drop
        }
        Some(Treated::Bin(_) | Treated::Truncate(_)) | None => Treated::Keep,
        Some(treated) => treated,
    };
    if digested {
        columns.clear();
    }
    let (name, shape) = (spec.name.to_string(), spec.wire_dims());
    TensorSchema { name, datatype: spec.dtype, shape, columns, whole }
}

fn treated(treatment: &Treatment) -> Treated {
    match treatment {
        Treatment::Keep => Treated::Keep,
        Treatment::Drop => Treated::Drop,
        Treatment::Hash => Treated::Hash,
        Treatment::Bin(edges) => Treated::Bin(edges.clone()),
        Treatment::Truncate(characters) => Treated::Truncate(*characters),
        Treatment::Digest => Treated::Digest,
    }
}

/// Names in the policy that the model does not have: what they were meant for
/// is written as if nothing was said.
fn unknown_names(signature: &Signature, policy: &Policy) -> Vec<String> {
    let inputs = || signature.inputs.iter().map(|spec| spec.name.as_ref());
    let columns = signature.inputs.iter().filter_map(|spec| {
        let width = table_width(spec)?;
        Some(columns(spec, width, policy).into_iter().map(|column| column.name))
    });
    let columns: Vec<String> = columns.flatten().collect();
    let mut problems = Vec::new();
    for name in policy.features.keys() {
        if !inputs().any(|input| input == name) && !columns.contains(name) {
            problems.push(format!("the model has no feature or input '{name}'"));
        }
    }
    for name in policy.outputs.keys() {
        if !signature.outputs.iter().any(|spec| *spec.name == **name) {
            problems.push(format!("the model has no output '{name}'"));
        }
    }
    for (name, names) in &policy.names {
        match signature.inputs.iter().find(|spec| *spec.name == **name).map(table_width) {
            None => problems.push(format!("the model has no input '{name}'")),
            Some(None) => problems.push(format!("input '{name}' has no columns to name")),
            Some(Some(width)) if width != names.len() => problems.push(format!(
                "input '{name}' has {width} columns, and {} names are given",
                names.len()
            )),
            Some(Some(_)) => {}
        }
    }
    problems
}

#[cfg(test)]
#[path = "recorder_tests.rs"]
mod tests;
