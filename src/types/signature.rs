//! What a model takes and gives.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::DType;

/// One dimension of a model's input or output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "i64", into = "i64")]
pub enum Dim {
    Fixed(usize),
    /// Any size; the graph's symbol for it where there is one.
    Free(Option<Arc<str>>),
}

impl Dim {
    /// The protocol's form: the size, or -1.
    pub fn wire(&self) -> i64 {
        match self {
            Dim::Fixed(size) => i64::try_from(*size).unwrap_or(i64::MAX),
            Dim::Free(_) => -1,
        }
    }

    pub fn accepts(&self, size: i64) -> bool {
        match self {
            Dim::Fixed(fixed) => i64::try_from(*fixed) == Ok(size),
            Dim::Free(_) => size >= 0,
        }
    }
}

impl From<i64> for Dim {
    fn from(wire: i64) -> Dim {
        usize::try_from(wire).map_or(Dim::Free(None), Dim::Fixed)
    }
}

impl From<Dim> for i64 {
    fn from(dim: Dim) -> i64 {
        dim.wire()
    }
}

/// Name, type and dimensions of one input or output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorSpec {
    pub name: Arc<str>,
    #[serde(rename = "datatype")]
    pub dtype: DType,
    #[serde(rename = "shape")]
    pub dims: Vec<Dim>,
    /// What the columns of an output stand for, such as class names; empty where unknown.
    #[serde(default, skip_serializing_if = "no_labels")]
    pub labels: Arc<[String]>,
}

impl TensorSpec {
    pub fn accepts(&self, shape: &[i64]) -> bool {
        self.dims.len() == shape.len()
            && self.dims.iter().zip(shape).all(|(dim, size)| dim.accepts(*size))
    }

    pub fn has_free_first_dim(&self) -> bool {
        matches!(self.dims.first(), Some(Dim::Free(_)))
    }

    /// Dimensions in the protocol's form, for messages and metadata.
    pub fn wire_dims(&self) -> Vec<i64> {
        self.dims.iter().map(Dim::wire).collect()
    }
}

impl fmt::Display for TensorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' {} {:?}", self.name, self.dtype, self.wire_dims())
    }
}

fn no_labels(labels: &Arc<[String]>) -> bool {
    labels.is_empty()
}

/// Inputs and outputs of a model, in the graph's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    pub inputs: Vec<TensorSpec>,
    pub outputs: Vec<TensorSpec>,
}

impl Signature {
    /// Whether every input and output leaves its first dimension free, so that
    /// the first dimension may be a batch. Only a run can tell whether it is.
    pub fn may_batch(&self) -> bool {
        !self.inputs.is_empty()
            && self.inputs.iter().chain(&self.outputs).all(TensorSpec::has_free_first_dim)
    }
}
