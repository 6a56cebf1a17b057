use std::collections::BTreeMap;

use bytes::Bytes;

use super::super::pb::infer_parameter::ParameterChoice;
use super::super::pb::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use super::super::pb::{InferParameter, InferTensorContents, ModelInferRequest};
use super::super::protobuf::{decode_infer, encode_infer};
use super::{answer, inputs, le, limits, output, packed_strings, tensor};
use crate::types::{Code, DType, Outputs, Parameter};

fn input(dtype: &str, shape: &[i64], contents: Option<InferTensorContents>) -> InferInputTensor {
    InferInputTensor {
        name: "x".into(),
        datatype: dtype.into(),
        shape: shape.to_vec(),
        parameters: BTreeMap::new(),
        contents,
    }
}

fn request(inputs: Vec<InferInputTensor>, raw: &[&'static [u8]]) -> ModelInferRequest {
    ModelInferRequest {
        inputs,
        raw_input_contents: raw.iter().map(|raw| Bytes::from_static(raw)).collect(),
        ..ModelInferRequest::default()
    }
}

fn parameter(choice: ParameterChoice) -> InferParameter {
    InferParameter { parameter_choice: Some(choice) }
}

fn refusal(mut message: ModelInferRequest) -> String {
    let error = decode_infer(&mut message, &limits()).expect_err("must be refused");
    assert_eq!(error.code, Code::InvalidArgument);
    error.message.into_owned()
}

type Contents = InferTensorContents;

#[test]
fn typed_contents_are_packed() {
    let empty = Contents::default;
    let ints = || Contents { int_contents: vec![-1, 2], ..empty() };
    let uints = || Contents { uint_contents: vec![1, 2], ..empty() };
    let cases: [(&str, Contents, Vec<u8>); 12] = [
        ("BOOL", Contents { bool_contents: vec![true, false], ..empty() }, vec![1, 0]),
        ("INT8", ints(), vec![255, 2]),
        ("INT16", ints(), le([-1i16, 2].map(i16::to_le_bytes))),
        ("INT32", ints(), le([-1i32, 2].map(i32::to_le_bytes))),
        (
            "INT64",
            Contents { int64_contents: vec![i64::MIN, 2], ..empty() },
            le([i64::MIN, 2].map(i64::to_le_bytes)),
        ),
        ("UINT8", uints(), vec![1, 2]),
        ("UINT16", uints(), le([1u16, 2].map(u16::to_le_bytes))),
        ("UINT32", uints(), le([1u32, 2].map(u32::to_le_bytes))),
        (
            "UINT64",
            Contents { uint64_contents: vec![u64::MAX, 2], ..empty() },
            le([u64::MAX, 2].map(u64::to_le_bytes)),
        ),
        (
            "FP32",
            Contents { fp32_contents: vec![0.1, f32::NAN], ..empty() },
            le([0.1, f32::NAN].map(f32::to_le_bytes)),
        ),
        (
            "FP64",
            Contents { fp64_contents: vec![0.1, -0.0], ..empty() },
            le([0.1, -0.0].map(f64::to_le_bytes)),
        ),
        (
            "BYTES",
            Contents {
                bytes_contents: vec![Bytes::from_static(b"a\0\xff"), Bytes::new()],
                ..empty()
            },
            packed_strings([&b"a\0\xff"[..], b""]),
        ),
    ];
    for (dtype, contents, packed) in cases {
        let mut message = request(vec![input(dtype, &[2], Some(contents))], &[]);
        let decoded = decode_infer(&mut message, &limits()).expect(dtype);
        assert_eq!(inputs(&decoded)[0].tensor.data(), &packed, "{dtype}");
    }
}

#[test]
fn raw_contents_are_not_copied() {
    let raw = Bytes::from(vec![1, 2, 3, 4]);
    let mut message = request(vec![input("FP16", &[2], None)], &[]);
    message.raw_input_contents = vec![raw.clone()];
    let decoded = decode_infer(&mut message, &limits()).expect("a good request");
    assert_eq!(inputs(&decoded)[0].tensor.data().as_ptr(), raw.as_ptr());
}

#[test]
fn an_input_without_elements_needs_no_data() {
    let mut message = request(vec![input("FP32", &[0, 4], None)], &[]);
    assert!(decode_infer(&mut message, &limits()).is_ok());
    let mut message = request(vec![input("FP32", &[0, 4], None)], &[b""]);
    assert!(decode_infer(&mut message, &limits()).is_ok());
}

#[test]
fn broken_requests_are_told_what_is_wrong() {
    let floats = || Some(Contents { fp32_contents: vec![1.0], ..Contents::default() });
    let ints = |value| Some(Contents { int_contents: vec![value], ..Contents::default() });
    let uints = |value| Some(Contents { uint_contents: vec![value], ..Contents::default() });
    let mut shared = request(vec![input("FP32", &[1], floats())], &[]);
    let region = parameter(ParameterChoice::StringParam("r".into()));
    shared.inputs[0].parameters.insert("shared_memory_region".into(), region);
    let mut unset = request(vec![], &[]);
    unset.parameters.insert("a".into(), InferParameter { parameter_choice: None });
    let mut reserved = request(vec![], &[]);
    reserved.parameters.insert("triton_x".into(), parameter(ParameterChoice::BoolParam(true)));
    let mut long = request(vec![], &[]);
    long.id = "i".repeat(1025);
    let mut named = input("FP32", &[1], floats());
    named.name = "y".into();
    let cases = [
        (
            request(vec![input("FP32", &[1], floats())], &[b"1234"]),
            "contents must not be set in a request with raw_input_contents",
        ),
        (
            request(vec![input("FP32", &[1], None), named.clone()], &[b"1234"]),
            "contents must not be set",
        ),
        (
            request(vec![input("FP32", &[1], None)], &[b"1234", b"1234"]),
            "expected 1 raw_input_contents, one for each input, got 2",
        ),
        (request(vec![input("FP32", &[1], None)], &[]), "got neither"),
        (
            request(vec![input("FP32", &[1], None)], &[b"123"]),
            "expected 4 bytes for FP32 [1], got 3",
        ),
        (
            request(vec![input("INT64", &[1], floats())], &[]),
            "unexpected explicit tensor data: INT64 belongs in int64_contents, got fp32_contents",
        ),
        (
            request(vec![input("FP32", &[2], floats())], &[]),
            "expected 2 elements for shape [2], got 1",
        ),
        (request(vec![input("INT8", &[1], ints(128))], &[]), "128 is outside the range of INT8"),
        (request(vec![input("UINT8", &[1], uints(300))], &[]), "300 is outside the range of UINT8"),
        (request(vec![input("FP16", &[1], floats())], &[]), "must be sent in raw_input_contents"),
        (request(vec![input("BF16", &[1], floats())], &[]), "must be sent in raw_input_contents"),
        (request(vec![input("FP31", &[1], floats())], &[]), r#"got "FP31""#),
        (request(vec![input("FP32", &[-1], floats())], &[]), "negative dimension"),
        (request(vec![input("FP32", &[1; 17], floats())], &[]), "17 dimensions"),
        (
            request(vec![input("FP32", &[1], floats()), input("FP32", &[1], floats())], &[]),
            r#"input "x" is given twice"#,
        ),
        (
            request(vec![input("BYTES", &[1], None)], &[b"\x05\0\0\0ab"]),
            "claims 5 bytes, 2 are left",
        ),
        (shared, "shared_memory_region is not supported"),
        (unset, r#"parameter "a" has no value"#),
        (reserved, "triton_ are reserved"),
        (long, "id has 1025 bytes"),
    ];
    for (message, expected) in cases {
        let got = refusal(message);
        assert!(got.contains(expected), "expected {expected}: {got}");
    }
}

#[test]
fn ids_parameters_and_outputs_are_read() {
    let mut message = request(vec![input("INT8", &[1], None)], &[b"\x01"]);
    message.id = "i".into();
    // KServe's client leaves this from its REST form.
    message.inputs[0]
        .parameters
        .insert("binary_data_size".into(), parameter(ParameterChoice::Int64Param(1)));
    message.parameters = BTreeMap::from([
        ("a".into(), parameter(ParameterChoice::Int64Param(i64::MIN))),
        ("b".into(), parameter(ParameterChoice::Uint64Param(u64::MAX))),
        ("binary_data_output".into(), parameter(ParameterChoice::BoolParam(true))),
        ("c".into(), parameter(ParameterChoice::DoubleParam(0.5))),
    ]);
    let classification = parameter(ParameterChoice::Int64Param(2));
    message.outputs = vec![InferRequestedOutputTensor {
        name: "y".into(),
        parameters: BTreeMap::from([("classification".into(), classification)]),
    }];
    let decoded = decode_infer(&mut message, &limits()).expect("a good request");
    assert_eq!(decoded.id, "i");
    assert_eq!(decoded.outputs[0].classification, 2);
    let parameters: Vec<_> = decoded.parameters.iter().map(|(k, v)| (&**k, v.clone())).collect();
    assert_eq!(
        parameters,
        [
            ("a", Parameter::Int(i64::MIN)),
            ("b", Parameter::Uint(u64::MAX)),
            ("c", Parameter::Double(0.5))
        ]
    );
}

#[test]
fn answers_have_one_raw_entry_per_output() {
    let outputs = Outputs::from_iter([
        output("a", tensor(DType::Int8, &[1, 2], vec![1, 2]), true),
        output("b", tensor(DType::Fp32, &[0], vec![]), false),
    ]);
    let message = encode_infer(&answer(&outputs, "i", &[("p", Parameter::Bool(true))]));
    assert_eq!((&*message.model_name, &*message.model_version, &*message.id), ("m", "3", "i"));
    assert_eq!(message.raw_output_contents, [Bytes::from_static(&[1, 2]), Bytes::new()]);
    assert_eq!(message.outputs[0].shape, [1, 2]);
    assert_eq!(message.outputs[1].datatype, "FP32");
    assert!(message.outputs.iter().all(|output| output.contents.is_none()));
    assert_eq!(message.parameters["p"], parameter(ParameterChoice::BoolParam(true)));
}
