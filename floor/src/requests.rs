//! One infer request of a model in every wire form, and the server's answers to it.

use std::net::SocketAddr;

use bytes::{BufMut, Bytes};
use loadtest::args::{ModelArg, Protocol};
use loadtest::client::Target;
use loadtest::inputs::{InputSpec, ModelSpec, Sizes};
use loadtest::pb::grpc_inference_service_client::GrpcInferenceServiceClient;
use loadtest::tensor::Tensor;
use loadtest::wire::{self, Prepared};
use prost::Message;
use tonic::transport::Endpoint;

use crate::Result;
use crate::probe::{Answer, Probe};

#[derive(Clone, Debug)]
pub struct Requests {
    model: ModelArg,
    inputs: Vec<Tensor>,
}

#[derive(Clone, Debug)]
pub struct HttpBody {
    pub bytes: Vec<u8>,
    pub content_type: &'static str,
    /// Of the JSON before binary tensors.
    pub header_length: Option<usize>,
}

impl Requests {
    /// Asks a server about the model and makes up one row of its inputs.
    pub fn of_model(server: SocketAddr, name: &str, version: Option<&str>) -> Result<Self> {
        let model = model(name, version);
        let target = Target { authority: server.to_string(), protocol: Protocol::HttpJson };
        let spec = runtime()?.block_on(target.metadata(&model))?;
        Self::of_spec(model, &spec)
    }

    /// A row of 30 floats, where no server is there to ask.
    pub fn of_nobody() -> Result<Self> {
        let input =
            InputSpec { name: "input".into(), datatype: "FP32".into(), shape: vec![-1, 30] };
        Self::of_spec(model("nobody", None), &ModelSpec { inputs: vec![input] })
    }

    fn of_spec(model: ModelArg, spec: &ModelSpec) -> Result<Self> {
        let inputs = spec.make_inputs(Sizes { rows: 1, dims: &[] }, 1)?;
        Ok(Self { model, inputs })
    }

    pub fn path(&self) -> String {
        format!("{}/infer", wire::model_path(&self.model))
    }

    pub fn json(&self) -> Result<HttpBody> {
        let bytes = wire::json_body(&self.inputs)?;
        Ok(HttpBody { bytes, content_type: "application/json", header_length: None })
    }

    pub fn binary(&self) -> HttpBody {
        let (header_length, bytes) = wire::binary_body(&self.inputs);
        let content_type = "application/octet-stream";
        HttpBody { bytes, content_type, header_length: Some(header_length) }
    }

    /// The message behind its five bytes of flag and length.
    pub fn grpc_frame(&self) -> Vec<u8> {
        let message = self.grpc_message();
        let mut frame = vec![0];
        frame.put_u32(u32::try_from(message.len()).expect("one row is small"));
        frame.extend_from_slice(&message);
        frame
    }

    pub fn prepared(&self, protocol: Protocol, authority: &str) -> Result<Prepared> {
        Ok(Prepared::new(protocol, authority, &self.model, &self.inputs)?)
    }

    /// A server's answer over HTTP; fails unless it is OK.
    pub fn ask_http(&self, server: SocketAddr, body: &HttpBody) -> Result<Answer> {
        let mut headers = vec![("content-type", body.content_type.to_owned())];
        let length = body.header_length.map(|length| length.to_string());
        headers.extend(length.map(|length| ("inference-header-content-length", length)));
        let answer = Probe::connect(server)?.post(&self.path(), &headers, &body.bytes)?;
        if answer.status != 200 {
            let body = String::from_utf8_lossy(&answer.body);
            return Err(format!("{}: {}: {body}", self.path(), answer.status).into());
        }
        Ok(answer)
    }

    /// A server's answer over gRPC, encoded; fails unless its status is 0.
    pub fn ask_grpc(&self, server: SocketAddr) -> Result<Vec<u8>> {
        let request = loadtest::pb::ModelInferRequest::decode(self.grpc_message())?;
        runtime()?.block_on(async {
            let channel = Endpoint::try_from(format!("http://{server}"))?.connect().await?;
            let answer = GrpcInferenceServiceClient::new(channel).model_infer(request).await?;
            Ok(answer.into_inner().encode_to_vec())
        })
    }

    fn grpc_message(&self) -> Bytes {
        wire::grpc_message(&self.model, &self.inputs)
    }
}

fn model(name: &str, version: Option<&str>) -> ModelArg {
    ModelArg { name: name.into(), version: version.map(str::to_owned), weight: 1 }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_says_its_length() {
        let frame = Requests::of_nobody().unwrap().grpc_frame();
        assert_eq!(frame[0], 0);
        assert_eq!(u32::from_be_bytes(frame[1..5].try_into().unwrap()) as usize, frame.len() - 5);
    }
}
