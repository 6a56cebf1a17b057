//! Infer requests in their three wire forms, built once and sent many times.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderName, Method, Request};
use http_body_util::Full;
use prost::Message;
use serde_json::{Value, json};

use crate::Error;
use crate::args::{ModelArg, Protocol};
use crate::pb;
use crate::tensor::Tensor;

/// Length of the JSON before the binary tensors of a body.
pub const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// One request, ready to send.
#[derive(Clone, Debug)]
pub enum Prepared {
    Http(Box<Request<Full<Bytes>>>),
    /// An encoded `ModelInferRequest`.
    Grpc(Bytes),
}

impl Prepared {
    /// Builds the request for `model` at `authority` in the form of `protocol`.
    pub fn new(
        protocol: Protocol,
        authority: &str,
        model: &ModelArg,
        tensors: &[Tensor],
    ) -> Result<Self, Error> {
        match protocol {
            Protocol::HttpJson => {
                Self::from_json(authority, model, json_body(tensors).map_err(Error::Usage)?)
            }
            Protocol::HttpBinary => {
                let (header_length, body) = binary_body(tensors);
                let request = infer_request(authority, model)
                    .header(CONTENT_TYPE, "application/octet-stream")
                    .header(HEADER_LENGTH, header_length);
                finish(request, body)
            }
            Protocol::Grpc => Ok(Self::Grpc(grpc_message(model, tensors))),
        }
    }

    /// Builds the HTTP request that carries a JSON body as it is.
    pub fn from_json(authority: &str, model: &ModelArg, body: Vec<u8>) -> Result<Self, Error> {
        finish(infer_request(authority, model).header(CONTENT_TYPE, "application/json"), body)
    }
}

fn infer_request(authority: &str, model: &ModelArg) -> http::request::Builder {
    let path = format!("{}/infer", model_path(model));
    Request::builder().method(Method::POST).uri(path).header(HOST, authority)
}

fn finish(request: http::request::Builder, body: Vec<u8>) -> Result<Prepared, Error> {
    let request = request.body(Full::from(body));
    request
        .map(Box::new)
        .map(Prepared::Http)
        .map_err(|error| Error::Usage(format!("no such request: {error}")))
}

/// Path of a model's metadata, and before `/infer` and `/ready`.
pub fn model_path(model: &ModelArg) -> String {
    match &model.version {
        Some(version) => format!("/v2/models/{}/versions/{version}", model.name),
        None => format!("/v2/models/{}", model.name),
    }
}

/// Writes a JSON body; fails on datatypes without a JSON form.
pub fn json_body(tensors: &[Tensor]) -> Result<Vec<u8>, String> {
    let inputs = tensors.iter().map(|tensor| {
        let name = Value::from(tensor.name.as_str());
        let datatype = tensor.datatype.name();
        let shape = Value::from(tensor.shape.as_slice());
        let data = tensor.json_data()?;
        Ok(format!(r#"{{"name":{name},"shape":{shape},"datatype":"{datatype}","data":{data}}}"#))
    });
    let inputs = inputs.collect::<Result<Vec<_>, String>>()?;
    Ok(format!(r#"{{"inputs":[{}]}}"#, inputs.join(",")).into_bytes())
}

/// Writes a body of JSON and then binary tensors, and returns the length of the
/// JSON beside it. The answer's outputs are asked for in binary too.
pub fn binary_body(tensors: &[Tensor]) -> (usize, Vec<u8>) {
    let input = |tensor: &Tensor| {
        json!({
            "name": tensor.name,
            "shape": tensor.shape,
            "datatype": tensor.datatype.name(),
            "parameters": { "binary_data_size": tensor.data.len() },
        })
    };
    let inputs: Vec<_> = tensors.iter().map(input).collect();
    let header = json!({ "inputs": inputs, "parameters": { "binary_data_output": true } });
    let mut body = header.to_string().into_bytes();
    let header_length = body.len();
    body.extend(tensors.iter().flat_map(|tensor| &tensor.data));
    (header_length, body)
}

/// Encodes a `ModelInferRequest` with raw contents.
pub fn grpc_message(model: &ModelArg, tensors: &[Tensor]) -> Bytes {
    let input = |tensor: &Tensor| pb::model_infer_request::InferInputTensor {
        name: tensor.name.clone(),
        datatype: tensor.datatype.name().to_owned(),
        shape: tensor.shape.iter().map(|dim| i64::try_from(*dim).unwrap_or(i64::MAX)).collect(),
        ..Default::default()
    };
    let message = pb::ModelInferRequest {
        model_name: model.name.clone(),
        model_version: model.version.clone().unwrap_or_default(),
        inputs: tensors.iter().map(input).collect(),
        raw_input_contents: tensors.iter().map(|tensor| tensor.data.clone().into()).collect(),
        ..Default::default()
    };
    message.encode_to_vec().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Datatype;

    fn tensor() -> Tensor {
        let data = [1.5f32, -2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        Tensor { name: "x".into(), datatype: Datatype::Fp32, shape: vec![1, 2], data }
    }

    fn model() -> ModelArg {
        ModelArg { name: "m".into(), version: Some("3".into()), weight: 1 }
    }

    #[test]
    fn json_body_is_an_infer_request() {
        let body: Value = serde_json::from_slice(&json_body(&[tensor()]).unwrap()).unwrap();
        let input = json!({"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.5, -2.0]});
        assert_eq!(body, json!({ "inputs": [input] }));
    }

    #[test]
    fn binary_body_announces_every_byte() {
        let (header_length, body) = binary_body(&[tensor()]);
        let header: Value = serde_json::from_slice(&body[..header_length]).unwrap();
        assert_eq!(header["inputs"][0]["parameters"]["binary_data_size"], 8);
        assert_eq!(body[header_length..], tensor().data);
    }

    #[test]
    fn version_goes_into_path_and_message() {
        let Prepared::Http(request) =
            Prepared::new(Protocol::HttpJson, "host:1", &model(), &[tensor()]).unwrap()
        else {
            panic!("an HTTP request");
        };
        assert_eq!(request.uri(), "/v2/models/m/versions/3/infer");
        let message = pb::ModelInferRequest::decode(grpc_message(&model(), &[tensor()])).unwrap();
        assert_eq!((message.model_name.as_str(), message.model_version.as_str()), ("m", "3"));
        assert_eq!(message.raw_input_contents, [tensor().data]);
    }
}
