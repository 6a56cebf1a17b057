//! One prediction through any face, so that a case is written once and sent in
//! every form of the wire.

use modelgate::api::codec::pb;
use modelgate::types::{Code, DType};
use serde_json::{Value, json};

use super::gateway::Gateway;
use super::grpc::Client;
use super::http::{Reply, Request};
use super::zoo::packed;

/// A form of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    Json,
    Binary,
    Grpc,
}

impl Face {
    pub const ALL: [Face; 3] = [Face::Json, Face::Binary, Face::Grpc];

    /// The `protocol` label of metrics.
    pub fn label(self) -> &'static str {
        match self {
            Face::Json => "http_json",
            Face::Binary => "http_binary",
            Face::Grpc => "grpc",
        }
    }
}

/// A tensor whose parts need not agree. `data` is the protocol's raw form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    pub name: String,
    pub dtype: String,
    pub shape: Vec<i64>,
    pub data: Vec<u8>,
}

pub fn tensor(name: &str, dtype: DType, shape: &[i64], data: impl Into<Vec<u8>>) -> Tensor {
    Tensor {
        name: name.to_owned(),
        dtype: dtype.name().to_owned(),
        shape: shape.to_vec(),
        data: data.into(),
    }
}

/// A request for a prediction.
#[derive(Clone, Debug, Default)]
pub struct Predict {
    pub model: String,
    /// Empty: the newest.
    pub version: String,
    pub id: String,
    pub inputs: Vec<Tensor>,
    /// Empty: every output.
    pub outputs: Vec<String>,
    pub headers: Vec<(String, String)>,
}

/// A prediction, however it came.
#[derive(Debug)]
pub struct Predicted {
    pub model: String,
    pub version: String,
    pub id: Option<String>,
    pub outputs: Vec<Tensor>,
    /// `x-request-id`, `x-model-version` and `x-variant`.
    pub described: [String; 3],
}

/// A refusal, however it came.
#[derive(Debug)]
pub struct Refused {
    face: Face,
    /// HTTP status, or gRPC's number.
    status: u16,
    pub message: String,
}

impl Refused {
    #[track_caller]
    pub fn assert_is(&self, code: Code) {
        let expected = match self.face {
            Face::Grpc => u16::from(code.grpc()),
            Face::Json | Face::Binary => code.http(),
        };
        assert_eq!(self.status, expected, "{:?}: {}", self.face, self.message);
    }
}

impl Predict {
    pub fn of(model: &str, inputs: impl IntoIterator<Item = Tensor>) -> Predict {
        let inputs = inputs.into_iter().collect();
        Predict { model: model.to_owned(), inputs, ..Predict::default() }
    }

    pub fn version(mut self, version: &str) -> Predict {
        self.version = version.to_owned();
        self
    }

    pub fn id(mut self, id: &str) -> Predict {
        self.id = id.to_owned();
        self
    }

    pub fn wanting(mut self, outputs: &[&str]) -> Predict {
        self.outputs = outputs.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// A header, or metadata.
    pub fn header(mut self, name: &str, value: &str) -> Predict {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Asks over a connection of its own.
    #[track_caller]
    pub fn ask(&self, gateway: &Gateway, face: Face) -> Result<Predicted, Refused> {
        match face {
            Face::Grpc => self.ask_grpc(&mut Client::connect(gateway.grpc)),
            Face::Json => read_reply(face, self.json_request().send(gateway.http)),
            Face::Binary => read_reply(face, self.binary_request().send(gateway.http)),
        }
    }

    pub fn path(&self) -> String {
        match self.version.as_str() {
            "" => format!("/v2/models/{}/infer", self.model),
            version => format!("/v2/models/{}/versions/{version}/infer", self.model),
        }
    }

    fn request(&self, body: Vec<u8>) -> Request {
        let headers = self.headers.clone();
        Request { headers, ..Request::post(&self.path(), body) }
    }

    pub fn json_request(&self) -> Request {
        let input = |input: &Tensor| {
            json!({
                "name": input.name, "datatype": input.dtype, "shape": input.shape,
                "data": json_elements(input),
            })
        };
        let mut document = json!({"inputs": self.inputs.iter().map(input).collect::<Vec<_>>()});
        self.complete(&mut document, false);
        let text = document.to_string().replace("\"#", "").replace("#\"", "");
        self.request(text.into_bytes())
    }

    pub fn binary_request(&self) -> Request {
        let input = |input: &Tensor| {
            json!({
                "name": input.name, "datatype": input.dtype, "shape": input.shape,
                "parameters": {"binary_data_size": input.data.len()},
            })
        };
        let mut document = json!({"inputs": self.inputs.iter().map(input).collect::<Vec<_>>()});
        self.complete(&mut document, true);
        let mut body = document.to_string().into_bytes();
        let length = body.len();
        self.inputs.iter().for_each(|input| body.extend_from_slice(&input.data));
        self.request(body).header("inference-header-content-length", length)
    }

    fn complete(&self, document: &mut Value, binary: bool) {
        if !self.id.is_empty() {
            document["id"] = json!(self.id);
        }
        if !self.outputs.is_empty() {
            let output =
                |name: &String| json!({"name": name, "parameters": {"binary_data": binary}});
            document["outputs"] = self.outputs.iter().map(output).collect();
        } else if binary {
            document["parameters"] = json!({"binary_data_output": true});
        }
    }

    pub fn message(&self) -> pb::ModelInferRequest {
        let input = |input: &Tensor| pb::model_infer_request::InferInputTensor {
            name: input.name.clone(),
            datatype: input.dtype.clone(),
            shape: input.shape.clone(),
            ..Default::default()
        };
        let output = |name: &String| pb::model_infer_request::InferRequestedOutputTensor {
            name: name.clone(),
            ..Default::default()
        };
        pb::ModelInferRequest {
            model_name: self.model.clone(),
            model_version: self.version.clone(),
            id: self.id.clone(),
            inputs: self.inputs.iter().map(input).collect(),
            outputs: self.outputs.iter().map(output).collect(),
            raw_input_contents: self.inputs.iter().map(|input| input.data.clone().into()).collect(),
            ..Default::default()
        }
    }

    #[track_caller]
    pub fn ask_grpc(&self, client: &mut Client) -> Result<Predicted, Refused> {
        let metadata: Vec<(&str, &str)> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let called = client.unary_with("ModelInfer", &metadata, &self.message());
        let (answer, headers): (pb::ModelInferResponse, _) = called.map_err(|called| Refused {
            face: Face::Grpc,
            status: u16::try_from(called.code).expect("a small number"),
            message: called.message,
        })?;
        let raw = &answer.raw_output_contents;
        assert_eq!(raw.len(), answer.outputs.len(), "one raw entry for each output");
        let outputs = answer.outputs.iter().zip(raw).map(|(output, data)| {
            assert!(output.contents.is_none(), "outputs are always raw");
            Tensor {
                name: output.name.clone(),
                dtype: output.datatype.clone(),
                shape: output.shape.clone(),
                data: data.to_vec(),
            }
        });
        let header = |name: &str| {
            let value = headers.get(name).unwrap_or_else(|| panic!("no {name}"));
            value.to_str().expect("text").to_owned()
        };
        Ok(Predicted {
            outputs: outputs.collect(),
            model: answer.model_name,
            version: answer.model_version,
            id: Some(answer.id).filter(|id| !id.is_empty()),
            described: ["x-request-id", "x-model-version", "x-variant"].map(header),
        })
    }
}

/// Reads an answer of either HTTP form.
#[track_caller]
pub fn read_reply(face: Face, reply: Reply) -> Result<Predicted, Refused> {
    if reply.status != 200 {
        return Err(Refused { face, status: reply.status, message: reply.error() });
    }
    let json_length = reply.header("inference-header-content-length");
    let json_length = json_length.map(|length| length.parse::<usize>().expect("a length"));
    let media = reply.header("content-type");
    let expected =
        if json_length.is_some() { "application/octet-stream" } else { "application/json" };
    assert_eq!(media, Some(expected));
    let (document, mut binary) = reply.body.split_at(json_length.unwrap_or(reply.body.len()));
    let document = std::str::from_utf8(document).expect("JSON is UTF-8");
    let parsed: Value = serde_json::from_str(&words_as_strings(document)).expect("JSON");
    // serde_json may round a float's last digit: elements are read from the text.
    let mut texts = document.split("\"data\":[").skip(1);
    let outputs = parsed["outputs"].as_array().expect("outputs").iter().map(|output| {
        let text = |field: &str| output[field].as_str().expect(field).to_owned();
        let dtype = text("datatype");
        let data = match (&output["data"], output["parameters"]["binary_data_size"].as_u64()) {
            (Value::Array(items), None) => {
                let elements = texts.next().expect("data").split(']').next().unwrap_or_default();
                raw_elements(&dtype, items, elements)
            }
            (Value::Null, Some(size)) => {
                let (data, rest) = binary.split_at(size as usize);
                binary = rest;
                data.to_vec()
            }
            (data, size) => panic!("data {data} beside binary_data_size {size:?}"),
        };
        let shape = output["shape"].as_array().expect("a shape").iter();
        let shape = shape.map(|dim| dim.as_i64().expect("a dimension")).collect();
        Tensor { name: text("name"), dtype, shape, data }
    });
    let outputs: Vec<Tensor> = outputs.collect();
    assert!(binary.is_empty(), "{} bytes follow the last output", binary.len());
    let header = |name: &str| reply.header(name).unwrap_or_else(|| panic!("no {name}")).to_owned();
    Ok(Predicted {
        outputs,
        model: parsed["model_name"].as_str().expect("model_name").to_owned(),
        version: parsed["model_version"].as_str().expect("a string").to_owned(),
        id: parsed.get("id").map(|id| id.as_str().expect("a string").to_owned()),
        described: ["x-request-id", "x-model-version", "x-variant"].map(header),
    })
}

/// The protocol's bare words, which JSON does not have.
fn words_as_strings(document: &str) -> String {
    let mut text = document.to_owned();
    for (word, mark) in [("-Infinity", "\"-I\""), ("Infinity", "\"I\""), ("NaN", "\"N\"")] {
        text = text.replace(word, mark);
    }
    text
}

/// Elements of raw data as JSON values. Those JSON cannot hold as numbers, and
/// floats, whose digits matter, are strings between `#`.
fn json_elements(tensor: &Tensor) -> Value {
    fn all<const N: usize>(data: &[u8], element: impl Fn([u8; N]) -> Value) -> Value {
        data.as_chunks::<N>().0.iter().map(|bytes| element(*bytes)).collect()
    }
    let float = |text: String| json!(format!("#{}#", text.replace("inf", "Infinity")));
    let data = &tensor.data;
    match DType::parse(&tensor.dtype) {
        Some(DType::Bool) => all(data, |[byte]| json!(byte != 0)),
        Some(DType::Uint8) | None => all(data, |[byte]| json!(byte)),
        Some(DType::Int8) => all(data, |bytes| json!(i8::from_le_bytes(bytes))),
        Some(DType::Uint16) => all(data, |bytes| json!(u16::from_le_bytes(bytes))),
        Some(DType::Int16) => all(data, |bytes| json!(i16::from_le_bytes(bytes))),
        Some(DType::Uint32) => all(data, |bytes| json!(u32::from_le_bytes(bytes))),
        Some(DType::Int32) => all(data, |bytes| json!(i32::from_le_bytes(bytes))),
        Some(DType::Uint64) => all(data, |bytes| json!(u64::from_le_bytes(bytes))),
        Some(DType::Int64) => all(data, |bytes| json!(i64::from_le_bytes(bytes))),
        Some(DType::Fp32) => all(data, |bytes| float(format!("{:?}", f32::from_le_bytes(bytes)))),
        Some(DType::Fp64) => all(data, |bytes| float(format!("{:?}", f64::from_le_bytes(bytes)))),
        Some(DType::Fp16) => {
            all(data, |bytes| float(half::f16::from_le_bytes(bytes).to_f32().to_string()))
        }
        Some(DType::Bf16) => {
            all(data, |bytes| float(half::bf16::from_le_bytes(bytes).to_f32().to_string()))
        }
        Some(DType::Bytes) => strings(data).into_iter().map(Value::String).collect(),
    }
}

fn strings(mut data: &[u8]) -> Vec<String> {
    let mut strings = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk::<4>() {
        let Some((string, rest)) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)
        else {
            break;
        };
        strings.push(String::from_utf8_lossy(string).into_owned());
        data = rest;
    }
    strings
}

/// JSON elements as raw data.
#[track_caller]
fn raw_elements(dtype: &str, items: &[Value], text: &str) -> Vec<u8> {
    let dtype = DType::parse(dtype).expect("a datatype");
    if dtype == DType::Bytes {
        let strings: Vec<&str> =
            items.iter().map(|item| item.as_str().expect("a string")).collect();
        return packed(&strings);
    }
    if dtype == DType::Bool {
        return items.iter().map(|item| u8::from(item.as_bool().expect("a bool"))).collect();
    }
    fn parse<T: std::str::FromStr>(token: &str) -> T {
        token.parse().unwrap_or_else(|_| panic!("{token:?} is no such number"))
    }
    let tokens = text.split(',').map(str::trim).filter(|token| !token.is_empty());
    let bytes = |token: &str| match dtype {
        DType::Uint8 => parse::<u8>(token).to_le_bytes().to_vec(),
        DType::Int8 => parse::<i8>(token).to_le_bytes().to_vec(),
        DType::Uint16 => parse::<u16>(token).to_le_bytes().to_vec(),
        DType::Int16 => parse::<i16>(token).to_le_bytes().to_vec(),
        DType::Uint32 => parse::<u32>(token).to_le_bytes().to_vec(),
        DType::Int32 => parse::<i32>(token).to_le_bytes().to_vec(),
        DType::Uint64 => parse::<u64>(token).to_le_bytes().to_vec(),
        DType::Int64 => parse::<i64>(token).to_le_bytes().to_vec(),
        DType::Fp32 => parse::<f32>(token).to_le_bytes().to_vec(),
        DType::Fp64 => parse::<f64>(token).to_le_bytes().to_vec(),
        DType::Fp16 => half::f16::from_f32(parse(token)).to_le_bytes().to_vec(),
        DType::Bf16 => half::bf16::from_f32(parse(token)).to_le_bytes().to_vec(),
        DType::Bool | DType::Bytes => unreachable!("handled above"),
    };
    tokens.flat_map(bytes).collect()
}
