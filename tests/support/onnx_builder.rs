//! Writes small ONNX models, so that tests need no Python and no files.

use modelgate::types::DType;
use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<Opset>,
    #[prost(message, repeated, tag = "20")]
    training: Vec<Training>,
    #[prost(message, repeated, tag = "25")]
    functions: Vec<Function>,
}

#[derive(Clone, PartialEq, Message)]
struct Training {
    #[prost(message, optional, tag = "1")]
    initialization: Option<Graph>,
    #[prost(message, optional, tag = "2")]
    algorithm: Option<Graph>,
}

/// A function that a model defines.
#[derive(Clone, PartialEq, Message)]
pub struct Function {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, repeated, tag = "4")]
    inputs: Vec<String>,
    #[prost(string, repeated, tag = "5")]
    outputs: Vec<String>,
    #[prost(message, repeated, tag = "7")]
    nodes: Vec<Node>,
    #[prost(message, repeated, tag = "9")]
    opset_import: Vec<Opset>,
    #[prost(string, tag = "10")]
    domain: String,
    #[prost(message, repeated, tag = "11")]
    defaults: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Opset {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(int64, tag = "2")]
    version: i64,
}

/// A graph, built up by its methods.
#[derive(Clone, PartialEq, Message)]
pub struct Graph {
    #[prost(message, repeated, tag = "1")]
    nodes: Vec<Node>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "5")]
    initializers: Vec<Constant>,
    #[prost(message, repeated, tag = "11")]
    inputs: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    outputs: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "15")]
    sparse_initializers: Vec<Sparse>,
}

/// A sparse constant: some values and where they stand.
#[derive(Clone, PartialEq, Message)]
pub struct Sparse {
    #[prost(message, optional, tag = "1")]
    values: Option<Constant>,
    #[prost(message, optional, tag = "2")]
    indices: Option<Constant>,
    #[prost(int64, repeated, packed = "false", tag = "3")]
    dims: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Node {
    #[prost(string, repeated, tag = "1")]
    inputs: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    outputs: Vec<String>,
    #[prost(string, tag = "4")]
    op: String,
    #[prost(message, repeated, tag = "5")]
    attributes: Vec<Attribute>,
    #[prost(string, tag = "7")]
    domain: String,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int64, optional, tag = "3")]
    int: Option<i64>,
    #[prost(bytes = "vec", optional, tag = "4")]
    text: Option<Vec<u8>>,
    #[prost(message, optional, tag = "5")]
    tensor: Option<Constant>,
    #[prost(message, optional, tag = "6")]
    graph: Option<Graph>,
    #[prost(int64, repeated, packed = "false", tag = "8")]
    ints: Vec<i64>,
    #[prost(bytes = "vec", repeated, tag = "9")]
    strings: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "10")]
    tensors: Vec<Constant>,
    #[prost(message, repeated, tag = "11")]
    graphs: Vec<Graph>,
    #[prost(int32, tag = "20")]
    kind: i32,
    #[prost(message, optional, tag = "22")]
    sparse: Option<Sparse>,
    #[prost(message, repeated, tag = "23")]
    sparses: Vec<Sparse>,
}

/// A constant tensor.
#[derive(Clone, PartialEq, Message)]
pub struct Constant {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    element: i32,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "vec", optional, tag = "9")]
    raw: Option<Vec<u8>>,
    #[prost(message, repeated, tag = "13")]
    external: Vec<Entry>,
    #[prost(int32, tag = "14")]
    location: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct ValueInfo {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    kind: Option<Kind>,
}

/// The type of a value.
#[derive(Clone, PartialEq, Message)]
pub struct Kind {
    #[prost(message, optional, tag = "1")]
    tensor: Option<TensorKind>,
    #[prost(message, optional, boxed, tag = "4")]
    sequence: Option<Box<Wrapped>>,
    #[prost(message, optional, boxed, tag = "5")]
    map: Option<Box<MapKind>>,
    #[prost(message, optional, boxed, tag = "9")]
    optional: Option<Box<Wrapped>>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorKind {
    #[prost(int32, tag = "1")]
    element: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<Dims>,
}

#[derive(Clone, PartialEq, Message)]
struct Dims {
    #[prost(message, repeated, tag = "1")]
    dims: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
struct Dimension {
    #[prost(int64, optional, tag = "1")]
    size: Option<i64>,
    #[prost(string, optional, tag = "2")]
    symbol: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Wrapped {
    #[prost(message, optional, boxed, tag = "1")]
    element: Option<Box<Kind>>,
}

#[derive(Clone, PartialEq, Message)]
struct MapKind {
    #[prost(int32, tag = "1")]
    key: i32,
    #[prost(message, optional, boxed, tag = "2")]
    value: Option<Box<Kind>>,
}

/// ONNX's number of an element type.
pub fn element(dtype: DType) -> i32 {
    match dtype {
        DType::Fp32 => 1,
        DType::Uint8 => 2,
        DType::Int8 => 3,
        DType::Uint16 => 4,
        DType::Int16 => 5,
        DType::Int32 => 6,
        DType::Int64 => 7,
        DType::Bytes => 8,
        DType::Bool => 9,
        DType::Fp16 => 10,
        DType::Fp64 => 11,
        DType::Uint32 => 12,
        DType::Uint64 => 13,
        DType::Bf16 => 16,
    }
}

/// A tensor type; a dimension is a number, a symbol, or `?` for neither.
pub fn tensor(element: i32, dims: &[&str]) -> Kind {
    let dims = dims.iter().map(|dim| match dim.parse() {
        Ok(size) => Dimension { size: Some(size), symbol: None },
        Err(_) => Dimension { size: None, symbol: (*dim != "?").then(|| (*dim).to_owned()) },
    });
    let shape = Some(Dims { dims: dims.collect() });
    Kind { tensor: Some(TensorKind { element, shape }), ..Kind::default() }
}

/// A tensor type that does not even say how many dimensions it has.
pub fn tensor_of_any_rank(element: i32) -> Kind {
    Kind { tensor: Some(TensorKind { element, shape: None }), ..Kind::default() }
}

pub fn sequence(element: Kind) -> Kind {
    let wrapped = Wrapped { element: Some(Box::new(element)) };
    Kind { sequence: Some(Box::new(wrapped)), ..Kind::default() }
}

pub fn optional(element: Kind) -> Kind {
    let wrapped = Wrapped { element: Some(Box::new(element)) };
    Kind { optional: Some(Box::new(wrapped)), ..Kind::default() }
}

pub fn map(key: i32, value: Kind) -> Kind {
    let map = MapKind { key, value: Some(Box::new(value)) };
    Kind { map: Some(Box::new(map)), ..Kind::default() }
}

pub fn constant(name: &str, dtype: DType, dims: &[i64], raw: Vec<u8>) -> Constant {
    Constant {
        dims: dims.to_vec(),
        element: element(dtype),
        name: name.to_owned(),
        raw: Some(raw),
        ..Constant::default()
    }
}

/// A constant whose data lies in a file beside the model.
pub fn external(name: &str, dtype: DType, dims: &[i64], file: &str) -> Constant {
    let entry = Entry { key: "location".to_owned(), value: file.to_owned() };
    Constant {
        raw: None,
        external: vec![entry],
        location: 1,
        ..constant(name, dtype, dims, Vec::new())
    }
}

impl Constant {
    /// One more entry of where the data lies.
    pub fn entry(mut self, key: &str, value: &str) -> Constant {
        self.external.push(Entry { key: key.to_owned(), value: value.to_owned() });
        self
    }
}

pub fn sparse(values: Constant, indices: Constant, dims: &[i64]) -> Sparse {
    Sparse { values: Some(values), indices: Some(indices), dims: dims.to_vec() }
}

/// A function of one node, from `x` to `y`.
pub fn function(domain: &str, name: &str, node: Node) -> Function {
    Function {
        name: name.to_owned(),
        inputs: vec!["x".to_owned()],
        outputs: vec!["y".to_owned()],
        nodes: vec![node],
        opset_import: vec![Opset { domain: String::new(), version: 21 }],
        domain: domain.to_owned(),
        defaults: Vec::new(),
    }
}

impl Function {
    /// An attribute of the function with a tensor as its default.
    pub fn default(mut self, name: &str, tensor: Constant) -> Function {
        let attribute = Attribute { tensor: Some(tensor), kind: 4, ..Attribute::named(name) };
        self.defaults.push(attribute);
        self
    }
}

pub fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> Node {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Node { inputs: owned(inputs), outputs: owned(outputs), op: op.to_owned(), ..Node::default() }
}

impl Node {
    pub fn domain(mut self, domain: &str) -> Node {
        self.domain = domain.to_owned();
        self
    }

    pub fn int(self, name: &str, int: i64) -> Node {
        self.attribute(Attribute { int: Some(int), kind: 2, ..Attribute::named(name) })
    }

    pub fn ints(self, name: &str, ints: &[i64]) -> Node {
        self.attribute(Attribute { ints: ints.to_vec(), kind: 7, ..Attribute::named(name) })
    }

    pub fn text(self, name: &str, text: &str) -> Node {
        let text = Some(text.as_bytes().to_vec());
        self.attribute(Attribute { text, kind: 3, ..Attribute::named(name) })
    }

    pub fn strings(self, name: &str, strings: &[&str]) -> Node {
        let strings = strings.iter().map(|string| string.as_bytes().to_vec()).collect();
        self.attribute(Attribute { strings, kind: 8, ..Attribute::named(name) })
    }

    pub fn graph(self, name: &str, graph: Graph) -> Node {
        self.attribute(Attribute { graph: Some(graph), kind: 5, ..Attribute::named(name) })
    }

    pub fn graphs(self, name: &str, graphs: Vec<Graph>) -> Node {
        self.attribute(Attribute { graphs, kind: 10, ..Attribute::named(name) })
    }

    pub fn tensor(self, name: &str, tensor: Constant) -> Node {
        self.attribute(Attribute { tensor: Some(tensor), kind: 4, ..Attribute::named(name) })
    }

    pub fn tensors(self, name: &str, tensors: Vec<Constant>) -> Node {
        self.attribute(Attribute { tensors, kind: 9, ..Attribute::named(name) })
    }

    pub fn sparse(self, name: &str, sparse: Sparse) -> Node {
        self.attribute(Attribute { sparse: Some(sparse), kind: 11, ..Attribute::named(name) })
    }

    pub fn sparses(self, name: &str, sparses: Vec<Sparse>) -> Node {
        self.attribute(Attribute { sparses, kind: 12, ..Attribute::named(name) })
    }

    fn attribute(mut self, attribute: Attribute) -> Node {
        self.attributes.push(attribute);
        self
    }
}

impl Attribute {
    fn named(name: &str) -> Attribute {
        Attribute { name: name.to_owned(), ..Attribute::default() }
    }
}

pub fn graph() -> Graph {
    Graph { name: "g".to_owned(), ..Graph::default() }
}

impl Graph {
    pub fn input(mut self, name: &str, kind: Kind) -> Graph {
        self.inputs.push(ValueInfo { name: name.to_owned(), kind: Some(kind) });
        self
    }

    pub fn output(mut self, name: &str, kind: Kind) -> Graph {
        self.outputs.push(ValueInfo { name: name.to_owned(), kind: Some(kind) });
        self
    }

    pub fn node(mut self, node: Node) -> Graph {
        self.nodes.push(node);
        self
    }

    pub fn constant(mut self, constant: Constant) -> Graph {
        self.initializers.push(constant);
        self
    }

    pub fn sparse_constant(mut self, constant: Sparse) -> Graph {
        self.sparse_initializers.push(constant);
        self
    }

    /// The bytes of a model file.
    pub fn model(self) -> Vec<u8> {
        self.proto().encode_to_vec()
    }

    /// The bytes of a model file that defines functions of its own.
    pub fn model_with(self, functions: Vec<Function>) -> Vec<u8> {
        let mut proto = self.proto();
        for function in &functions {
            let opset = Opset { domain: function.domain.clone(), version: 1 };
            proto.opset_import.push(opset);
        }
        ModelProto { functions, ..proto }.encode_to_vec()
    }

    /// The bytes of a model file that says how it is trained.
    pub fn model_trained_by(self, initialization: Graph, algorithm: Graph) -> Vec<u8> {
        let (initialization, algorithm) = (Some(initialization), Some(algorithm));
        let training = vec![Training { initialization, algorithm }];
        ModelProto { training, ..self.proto() }.encode_to_vec()
    }

    fn proto(self) -> ModelProto {
        let opset = |domain: &str, version| Opset { domain: domain.to_owned(), version };
        let opset_import = vec![opset("", 21), opset("ai.onnx.ml", 3)];
        ModelProto { ir_version: 9, graph: Some(self), opset_import, ..ModelProto::default() }
    }
}
