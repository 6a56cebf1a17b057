//! Any bytes as a protobuf request: an answer or a refusal, and tensors whose
//! data agrees with their shape.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use modelgate::api::codec::pb::ModelInferRequest;
use modelgate::api::codec::{DecodeLimits, protobuf};
use modelgate::types::Payload;
use prost::Message;

fuzz_target!(|wire: &[u8]| {
    let Ok(mut message) = ModelInferRequest::decode(Bytes::copy_from_slice(wire)) else { return };
    let Ok(request) = protobuf::decode_infer(&mut message, &DecodeLimits::default()) else {
        return;
    };
    let Payload::Inputs(inputs) = &request.payload else { unreachable!("gRPC has no raw body") };
    for input in inputs {
        let elements = input.tensor.shape().elements();
        match input.tensor.dtype().size() {
            Some(size) => assert_eq!(input.tensor.data().len(), elements * size),
            None => assert_eq!(input.tensor.strings().count(), elements),
        }
    }
});
