//! Properties over every datatype: what one side writes the other reads bit
//! for bit, and bytes from anywhere never panic.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use prost::Message;

use super::super::pb::ModelInferRequest;
use super::super::pb::model_infer_request::InferInputTensor;
use super::super::{json, protobuf};
use super::{answer, inputs, limits, output, packed_strings, tensor};
use crate::types::{DType, Outputs, Tensor};

/// Turns an answer's JSON into a request with the same tensors.
fn as_request(json: &[u8]) -> String {
    let text = std::str::from_utf8(json).expect("JSON is UTF-8");
    text.replacen("\"outputs\":", "\"inputs\":", 1)
}

/// NaN has one spelling in JSON, so its bits are not kept.
fn without_odd_nan(dtype: DType, mut data: Vec<u8>) -> Vec<u8> {
    match dtype {
        DType::Bool => data.iter_mut().for_each(|byte| *byte &= 1),
        DType::Fp16 => replace_nan(&mut data, |e| u16::from_le_bytes(e) & 0x7fff > 0x7c00),
        DType::Bf16 => replace_nan(&mut data, |e| u16::from_le_bytes(e) & 0x7fff > 0x7f80),
        DType::Fp32 => replace_nan(&mut data, |e| f32::from_le_bytes(e).is_nan()),
        DType::Fp64 => replace_nan(&mut data, |e| f64::from_le_bytes(e).is_nan()),
        _ => {}
    }
    data
}

fn replace_nan<const N: usize>(data: &mut [u8], is_nan: impl Fn([u8; N]) -> bool) {
    for element in data.as_chunks_mut::<N>().0 {
        if is_nan(*element) {
            *element = [0; N];
        }
    }
}

fn any_tensor() -> impl Strategy<Value = Tensor> {
    let dims = prop::collection::vec(0i64..5, 0..4);
    (prop::sample::select(&DType::ALL[..]), dims).prop_flat_map(|(dtype, dims)| {
        let elements = usize::try_from(dims.iter().product::<i64>()).expect("small");
        let data = match dtype.size() {
            Some(size) => prop::collection::vec(any::<u8>(), elements * size).boxed(),
            None => prop::collection::vec(any::<String>(), elements)
                .prop_map(|strings| packed_strings(strings.iter().map(String::as_bytes)))
                .boxed(),
        };
        data.prop_map(move |data| tensor(dtype, &dims, without_odd_nan(dtype, data)))
    })
}

fn assert_same(decoded: &Tensor, original: &Tensor) -> Result<(), TestCaseError> {
    prop_assert_eq!(decoded.dtype(), original.dtype());
    prop_assert_eq!(decoded.shape(), original.shape());
    prop_assert_eq!(decoded.data(), original.data());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn json_and_binary_keep_every_bit(
        tensors in prop::collection::vec((any_tensor(), any::<bool>()), 0..4),
        name in any::<String>(),
    ) {
        let outputs: Outputs = tensors
            .iter()
            .enumerate()
            .map(|(i, (tensor, binary))| output(&format!("{name}{i}"), tensor.clone(), *binary))
            .collect();
        let encoded = json::encode_infer(&answer(&outputs, "", &[])).expect("UTF-8 strings");
        let text = as_request(&encoded.json);
        let mut body = BytesMut::from(text.as_bytes());
        encoded.binary.iter().for_each(|part| body.extend_from_slice(part));
        let body = body.freeze();
        let header = (encoded.binary_len > 0).then_some(text.len());
        let request = json::decode_infer(&body, header, &limits()).expect("what we wrote");
        prop_assert_eq!(inputs(&request).len(), tensors.len());
        for (i, (input, (tensor, _))) in inputs(&request).iter().zip(&tensors).enumerate() {
            prop_assert_eq!(&*input.name, format!("{name}{i}"));
            assert_same(&input.tensor, tensor)?;
        }
    }

    #[test]
    fn protobuf_keeps_every_bit(tensors in prop::collection::vec(any_tensor(), 0..4)) {
        let outputs: Outputs = tensors
            .iter()
            .enumerate()
            .map(|(i, tensor)| output(&i.to_string(), tensor.clone(), true))
            .collect();
        let written = protobuf::encode_infer(&answer(&outputs, "id", &[]));
        let request = ModelInferRequest {
            inputs: written
                .outputs
                .into_iter()
                .map(|output| InferInputTensor {
                    name: output.name,
                    datatype: output.datatype,
                    shape: output.shape,
                    ..InferInputTensor::default()
                })
                .collect(),
            raw_input_contents: written.raw_output_contents,
            ..ModelInferRequest::default()
        };
        let wire = Bytes::from(request.encode_to_vec());
        let mut message = ModelInferRequest::decode(wire).expect("what we wrote");
        let decoded = protobuf::decode_infer(&mut message, &limits()).expect("what we wrote");
        for (input, tensor) in inputs(&decoded).iter().zip(&tensors) {
            assert_same(&input.tensor, tensor)?;
        }
    }

    #[test]
    fn numbers_from_decimals_are_the_nearest(number in any::<f64>(), digits in 0usize..30) {
        let decimal = format!("{number:.digits$e}");
        let body = Bytes::from(format!(
            r#"{{"inputs":[{{"name":"x","shape":[1],"datatype":"FP64","data":[{decimal}]}},
                {{"name":"y","shape":[1],"datatype":"FP32","data":[{decimal}]}}]}}"#
        ));
        let narrow: f32 = decimal.parse().expect("a number");
        match json::decode_infer(&body, None, &limits()) {
            Ok(request) => {
                let wide: f64 = decimal.parse().expect("a number");
                prop_assert_eq!(&inputs(&request)[0].tensor.data()[..], &wide.to_le_bytes());
                prop_assert_eq!(&inputs(&request)[1].tensor.data()[..], &narrow.to_le_bytes());
            }
            Err(error) => prop_assert!(narrow.is_infinite(), "{}", error),
        }
    }

    #[test]
    fn any_bytes_are_answered(body in prop::collection::vec(any::<u8>(), 0..200), header in 0usize..220) {
        let body = Bytes::from(body);
        let _ = json::decode_infer(&body, None, &limits());
        let _ = json::decode_infer(&body, Some(header), &limits());
        if let Ok(mut message) = ModelInferRequest::decode(body) {
            let _ = protobuf::decode_infer(&mut message, &limits());
        }
    }

    #[test]
    fn any_json_like_text_is_answered(
        tokens in prop::collection::vec(prop::sample::select(&TOKENS[..]), 0..60),
        early in any::<bool>(),
    ) {
        let (before, after) = if early {
            (r#""shape":[2],"datatype":"FP32","data":"#, "")
        } else {
            (r#""data":"#, r#","datatype":"BYTES","shape":[3]"#)
        };
        let text = tokens.concat();
        let whole = Bytes::from(text.clone());
        let _ = json::decode_infer(&whole, None, &limits());
        let inside = Bytes::from(format!(r#"{{"inputs":[{{"name":"x",{before}{text}{after}}}]}}"#));
        let _ = json::decode_infer(&inside, Some(inside.len()), &limits());
    }
}

const TOKENS: [&str; 34] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    " ",
    "\n",
    "\"",
    "\\",
    "\\u",
    "\\ud83d",
    "\"a\"",
    "\"é\"",
    "1",
    "-",
    "0",
    ".",
    "e",
    "5",
    "true",
    "null",
    "NaN",
    "-Infinity",
    "1e999",
    "\"inputs\"",
    "\"outputs\"",
    "\"parameters\"",
    "\"name\"",
    "\"shape\"",
    "\"data\"",
    "\"datatype\"",
    "\"binary_data_size\"",
    "99999999999999999999",
];
