//! Any body as a JSON request: an answer or a refusal, and what was accepted
//! reads the same once written and read again.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use modelgate::api::codec::{AnswerView, DecodeLimits, json};
use modelgate::types::{OutputTensor, Outputs, Payload};

fuzz_target!(|body: &[u8]| {
    let limits = DecodeLimits::default();
    let body = Bytes::copy_from_slice(body);
    let Ok(request) = json::decode_infer(&body, None, &limits) else { return };
    let Payload::Inputs(inputs) = &request.payload else { unreachable!("no header was given") };
    let outputs: Outputs = inputs
        .iter()
        .map(|input| OutputTensor {
            name: input.name.as_ref().into(),
            tensor: input.tensor.clone(),
            binary: false,
        })
        .collect();
    let answer = AnswerView {
        id: &request.id,
        model_name: "m",
        model_version: "1",
        parameters: &[],
        outputs: &outputs,
    };
    let written = json::encode_infer(&answer).expect("tensors from JSON can be written as JSON");
    let text = String::from_utf8(written.json).expect("JSON is UTF-8");
    // The last key is ours: the strings before it are escaped.
    let again = Bytes::from(text.replacen(",\"outputs\":", ",\"inputs\":", 1));
    let read = json::decode_infer(&again, None, &limits).expect("what we wrote");
    let Payload::Inputs(read) = &read.payload else { unreachable!("no header was given") };
    assert_eq!(read.len(), inputs.len());
    for (read, input) in read.iter().zip(inputs) {
        assert_eq!(read.name, input.name);
        assert_eq!(read.tensor.shape(), input.tensor.shape());
        assert_eq!(read.tensor.data(), input.tensor.data());
    }
});
