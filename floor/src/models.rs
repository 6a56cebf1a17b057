//! Models to measure with, written as ONNX: multi-layer perceptrons with
//! made-up weights, because only their cost matters here.

use std::fs;
use std::path::{Path, PathBuf};

use loadtest::plan::splitmix64;
use prost::Message;

use crate::Result;

/// A stack of dense layers with ReLU between them, `x` [batch, first] to `y` [batch, last].
#[derive(Clone, Copy, Debug)]
pub struct Mlp {
    pub name: &'static str,
    pub widths: &'static [usize],
}

/// Cheaper than the wire.
pub const TINY: Mlp = Mlp { name: "tiny", widths: &[30, 2] };
/// About 8 us for a row on a 2024 server core.
pub const MLP_256: Mlp = Mlp { name: "mlp256", widths: &[256, 256, 256] };
/// About 60 us.
pub const MLP_60_US: Mlp = Mlp { name: "mlp60us", widths: &[1024, 1024, 512] };
/// About 2 ms.
pub const SLOW_2_MS: Mlp = Mlp { name: "slow2ms", widths: &[1024, 2048, 2048, 2048, 2048, 512] };
/// About 4 to 5 ms.
pub const SLOW_5_MS: Mlp = Mlp {
    name: "slow5ms",
    widths: &[1024, 2048, 2048, 2048, 2048, 2048, 2048, 2048, 2048, 2048, 512],
};

impl Mlp {
    /// Writes the model as version 1 below `folder` unless it is there, with
    /// `options` as its `model.yaml`.
    pub fn place(self, folder: &Path, options: Option<&str>) -> Result<()> {
        let version: PathBuf = folder.join(self.name).join("1");
        fs::create_dir_all(&version)?;
        let path = version.join("model.onnx");
        if !path.exists() {
            // By rename: a run that is cut short leaves no half model behind.
            let part = version.join(".model.onnx.part");
            fs::write(&part, self.onnx().encode_to_vec())?;
            fs::rename(part, path)?;
        }
        if let Some(options) = options {
            fs::write(folder.join(self.name).join("model.yaml"), options)?;
        }
        Ok(())
    }

    fn onnx(self) -> ModelProto {
        let layers: Vec<_> = self.widths.windows(2).collect();
        let mut graph = GraphProto {
            name: self.name.into(),
            input: vec![rows_of("x", self.widths[0])],
            output: vec![rows_of("y", self.widths[self.widths.len() - 1])],
            ..GraphProto::default()
        };
        let mut from = "x".to_owned();
        for (index, widths) in layers.iter().enumerate() {
            let last = index + 1 == layers.len();
            let (weights, bias) = (format!("w{index}"), format!("b{index}"));
            let sum = if last { "y".to_owned() } else { format!("sum{index}") };
            graph.initializer.push(tensor(&weights, &[widths[0], widths[1]], index));
            graph.initializer.push(tensor(&bias, &[widths[1]], index));
            graph.node.push(node("Gemm", &[&from, &weights, &bias], &sum));
            if !last {
                from = format!("layer{index}");
                graph.node.push(node("Relu", &[&sum], &from));
            }
        }
        model(graph)
    }
}

/// A logistic regression, `x` [batch, 30] to `y` [batch, 1], whose answers tell
/// which version gave them: they lie between `version` and `version + 1`.
pub fn telling(version: u64) -> Vec<u8> {
    let constant = TensorProto {
        dims: vec![1],
        data_type: FLOAT,
        name: "version".into(),
        raw_data: (version as f32).to_le_bytes().to_vec(),
    };
    let graph = GraphProto {
        name: "telling".into(),
        node: vec![
            node("Gemm", &["x", "w", "b"], "sum"),
            node("Sigmoid", &["sum"], "probability"),
            node("Add", &["probability", "version"], "y"),
        ],
        initializer: vec![tensor("w", &[30, 1], 1), tensor("b", &[1], 2), constant],
        input: vec![rows_of("x", 30)],
        output: vec![rows_of("y", 1)],
    };
    model(graph).encode_to_vec()
}

fn model(graph: GraphProto) -> ModelProto {
    let opset = OperatorSetIdProto { version: 17, ..OperatorSetIdProto::default() };
    ModelProto { ir_version: 8, graph: Some(graph), opset_import: vec![opset] }
}

/// Weights around zero, small enough that layers neither die out nor overflow.
fn tensor(name: &str, shape: &[usize], seed: usize) -> TensorProto {
    let count: usize = shape.iter().product();
    let scale = 2.0 / (shape[0] as f32).sqrt();
    let weight = |index: usize| {
        let bits = splitmix64((seed << 40 | index) as u64);
        ((bits >> 40) as f32 / (1u64 << 24) as f32 - 0.5) * scale
    };
    TensorProto {
        dims: shape.iter().map(|dim| *dim as i64).collect(),
        data_type: FLOAT,
        name: name.into(),
        raw_data: (0..count).flat_map(|index| weight(index).to_le_bytes()).collect(),
    }
}

fn node(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        input: inputs.iter().map(|name| (*name).to_owned()).collect(),
        output: vec![output.to_owned()],
        op_type: operator.into(),
    }
}

fn rows_of(name: &str, width: usize) -> ValueInfoProto {
    let rows = Dimension { dim_value: None, dim_param: Some("batch".into()) };
    let width = Dimension { dim_value: Some(width as i64), dim_param: None };
    let shape = TensorShapeProto { dim: vec![rows, width] };
    let tensor = TensorTypeProto { elem_type: FLOAT, shape: Some(shape) };
    ValueInfoProto { name: name.into(), r#type: Some(TypeProto { tensor_type: Some(tensor) }) }
}

/// `TensorProto.DataType.FLOAT`.
const FLOAT: i32 = 1;

// The part of ONNX's messages that these models need.

#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OperatorSetIdProto>,
}

#[derive(Clone, PartialEq, Message)]
struct OperatorSetIdProto {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Clone, PartialEq, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfoProto>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "4")]
    op_type: String,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ValueInfoProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    r#type: Option<TypeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeProto {
    #[prost(message, optional, tag = "1")]
    tensor_type: Option<TensorTypeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorTypeProto {
    #[prost(int32, tag = "1")]
    elem_type: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<TensorShapeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorShapeProto {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<Dimension>,
}

/// One of the two is set.
#[derive(Clone, PartialEq, Message)]
struct Dimension {
    #[prost(int64, optional, tag = "1")]
    dim_value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    dim_param: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_chained_from_x_to_y() {
        let graph = MLP_256.onnx().graph.unwrap();
        let edges: Vec<_> =
            graph.node.iter().map(|n| (&n.input[0][..], &n.output[0][..])).collect();
        assert_eq!(edges, [("x", "sum0"), ("sum0", "layer0"), ("layer0", "y")]);
        assert_eq!(graph.initializer[0].raw_data.len(), 256 * 256 * 4);
    }
}
