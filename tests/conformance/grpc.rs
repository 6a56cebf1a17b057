//! What only gRPC has: typed contents, framing, streams, health and reflection.

use std::collections::BTreeMap;

use modelgate::api::codec::pb;
use modelgate::types::DType;
use pb::infer_parameter::ParameterChoice;
use prost::Message;

use crate::gateway;
use crate::support::grpc::{Called, Client, frame};
use crate::support::predict::{Predict, tensor};
use crate::support::zoo::{floats, longs, packed};

const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";
const STREAM: &str = "/inference.GRPCInferenceService/ModelStreamInfer";

const INVALID_ARGUMENT: i32 = 3;
const NOT_FOUND: i32 = 5;
const UNIMPLEMENTED: i32 = 12;

fn client() -> Client {
    Client::connect(gateway().grpc)
}

fn square(values: &[f32]) -> pb::ModelInferRequest {
    let shape = [1, values.len() as i64];
    Predict::of("square", [tensor("x", DType::Fp32, &shape, floats(values))]).message()
}

/// A request for `id-<dtype>` of one row with typed contents.
fn typed(dtype: &str, columns: i64, contents: pb::InferTensorContents) -> pb::ModelInferRequest {
    pb::ModelInferRequest {
        model_name: format!("id-{}", dtype.to_lowercase()),
        inputs: vec![pb::model_infer_request::InferInputTensor {
            name: "x".to_owned(),
            datatype: dtype.to_owned(),
            shape: vec![1, columns],
            contents: Some(contents),
            ..Default::default()
        }],
        ..Default::default()
    }
}

#[test]
fn typed_contents_are_taken_and_answered_raw() {
    type Contents = pb::InferTensorContents;
    let none = Contents::default;
    let table: [(&str, Contents, Vec<u8>); 12] = [
        ("BOOL", Contents { bool_contents: vec![true, false], ..none() }, vec![1, 0]),
        ("INT8", Contents { int_contents: vec![-128, 127], ..none() }, vec![0x80, 0x7f]),
        ("INT16", Contents { int_contents: vec![-2, 2], ..none() }, vec![0xfe, 0xff, 2, 0]),
        (
            "INT32",
            Contents { int_contents: vec![-2, 2], ..none() },
            [-2i32, 2].map(i32::to_le_bytes).concat(),
        ),
        ("INT64", Contents { int64_contents: vec![i64::MIN, 2], ..none() }, longs(&[i64::MIN, 2])),
        ("UINT8", Contents { uint_contents: vec![0, 255], ..none() }, vec![0, 255]),
        ("UINT16", Contents { uint_contents: vec![1, 65535], ..none() }, vec![1, 0, 255, 255]),
        (
            "UINT32",
            Contents { uint_contents: vec![1, u32::MAX], ..none() },
            [1, u32::MAX].map(u32::to_le_bytes).concat(),
        ),
        (
            "UINT64",
            Contents { uint64_contents: vec![1, u64::MAX], ..none() },
            [1, u64::MAX].map(u64::to_le_bytes).concat(),
        ),
        (
            "FP32",
            Contents { fp32_contents: vec![0.1, f32::INFINITY], ..none() },
            floats(&[0.1, f32::INFINITY]),
        ),
        (
            "FP64",
            Contents { fp64_contents: vec![0.1, -0.0], ..none() },
            [0.1f64, -0.0].map(f64::to_le_bytes).concat(),
        ),
        (
            "BYTES",
            Contents { bytes_contents: vec!["a\0b".into(), vec![0xff].into()], ..none() },
            packed(&[&b"a\0b"[..], &[0xff]]),
        ),
    ];
    let mut client = client();
    for (dtype, contents, expected) in table {
        let answer = client.infer(&typed(dtype, 2, contents));
        let answer = answer.unwrap_or_else(|error| panic!("{dtype}: {error:?}"));
        assert_eq!(answer.raw_output_contents, [expected], "{dtype}");
        assert!(answer.outputs[0].contents.is_none(), "{dtype}: always raw");
    }
}

#[test]
fn contents_that_do_not_fit_are_refused() {
    type Contents = pb::InferTensorContents;
    let none = Contents::default;
    let ints = |values: &[i32]| Contents { int_contents: values.to_vec(), ..none() };
    let good = square(&[1.0, 2.0]);
    let raw = |raw: Vec<Vec<u8>>| pb::ModelInferRequest {
        raw_input_contents: raw.into_iter().map(Into::into).collect(),
        ..good.clone()
    };
    let mut both = good.clone();
    both.inputs[0].contents = Some(Contents { fp32_contents: vec![1.0, 2.0], ..none() });
    let mut reserved = good.clone();
    let value = pb::InferParameter { parameter_choice: Some(ParameterChoice::BoolParam(true)) };
    reserved.parameters = BTreeMap::from([("triton_x".to_owned(), value)]);
    let mut valueless = good.clone();
    valueless.parameters = BTreeMap::from([("p".to_owned(), pb::InferParameter::default())]);
    let table: [(&str, pb::ModelInferRequest, &str); 14] = [
        ("raw and typed together", both, "contents must not be set"),
        ("raw for nobody", raw(vec![floats(&[1.0, 2.0]), vec![]]), "expected 1"),
        ("neither raw nor typed", raw(vec![]), "neither"),
        ("raw cut short", raw(vec![vec![0; 7]]), "expected 8 bytes"),
        ("raw too long", raw(vec![vec![0; 9]]), "expected 8 bytes"),
        ("the wrong field", typed("FP32", 2, ints(&[1, 2])), "int_contents"),
        ("too few", typed("INT32", 3, ints(&[1, 2])), "expected 3 elements"),
        ("too many", typed("INT32", 1, ints(&[1, 2])), "expected 1 elements"),
        ("out of range", typed("INT8", 2, ints(&[1, 128])), "128"),
        (
            "FP16 has no field",
            typed("FP16", 2, Contents { fp32_contents: vec![1.0, 2.0], ..none() }),
            "FP16",
        ),
        ("BF16 has no field", typed("BF16", 2, none()), "BF16"),
        ("negative dimension", typed("INT32", -1, ints(&[1])), "negative"),
        ("reserved parameter", reserved, "triton_"),
        ("parameter without a value", valueless, "no value"),
    ];
    let mut client = client();
    for (what, request, fragment) in table {
        let error = client.infer(&request).expect_err(what);
        assert_eq!(error.code, INVALID_ARGUMENT, "{what}: {}", error.message);
        assert!(error.message.contains(fragment), "{what}: {}", error.message);
    }
    assert!(client.infer(&good).is_ok(), "the connection still serves");
}

#[test]
fn a_message_of_64_mb_passes() {
    // As near to the limit as the message around the tensor leaves.
    let columns = ((64 << 20) - 1024) / 4;
    let data = vec![0x3f; columns * 4];
    let request =
        Predict::of("id-fp32", [tensor("x", DType::Fp32, &[1, columns as i64], data.clone())]);
    let answer = client().infer(&request.message()).expect("64 MB");
    assert!(answer.raw_output_contents[0] == data, "the data came back changed");
}

#[test]
fn broken_frames_fail_their_call_only() {
    let mut client = client();
    let good = square(&[2.0]).encode_to_vec();
    let framed = frame(&good);
    let mut longer = framed.clone();
    longer[4] += 1;
    let mut flagged = framed.clone();
    flagged[0] = 1;
    let mut reserved = framed.clone();
    reserved[0] = 7;
    let mut huge = framed.clone();
    huge[1..5].copy_from_slice(&u32::MAX.to_be_bytes());
    for (what, body) in [
        ("no message", Vec::new()),
        ("half a frame's head", framed[..3].to_vec()),
        ("a frame cut short", framed[..framed.len() - 1].to_vec()),
        ("a frame that claims more", longer),
        ("a frame that claims 4 GiB", huge),
        ("two messages", [framed.clone(), framed.clone()].concat()),
        ("compressed, as nobody said", flagged),
        ("a flag that does not exist", reserved),
        ("no message of this type", frame(&[0xff; 16])),
        ("an endless number", frame(&[0x80; 64])),
    ] {
        for path in [INFER, STREAM] {
            let called = client.call_framed(path, &[], body.clone());
            let streams = path == STREAM && ["no message", "two messages"].contains(&what);
            assert_eq!(called.code == 0, streams, "{what} on {path}: {called:?}");
        }
        assert_eq!(client.call_framed(INFER, &[], framed.clone()).code, 0, "after {what}");
    }
}

#[test]
fn unknown_methods_and_services_are_unimplemented() {
    let mut client = client();
    for path in [
        "/inference.GRPCInferenceService/NoSuchMethod",
        "/inference.GRPCInferenceService/SystemSharedMemoryRegister",
        "/inference.GRPCInferenceService/LogSettings",
        "/other.Service/Method",
        "/",
    ] {
        let called = client.call_framed(path, &[], frame(&[]));
        assert_eq!(called.code, UNIMPLEMENTED, "{path}: {}", called.message);
    }
}

fn stream_answers(called: &Called) -> Vec<pb::ModelStreamInferResponse> {
    assert_eq!(called.code, 0, "{}", called.message);
    let answers = called.messages.iter();
    answers
        .map(|message| pb::ModelStreamInferResponse::decode(message.clone()).expect("an answer"))
        .collect()
}

#[test]
fn a_stream_keeps_its_order_and_survives_errors() {
    let mut requests = Vec::new();
    for number in 0..40 {
        let mut request = square(&[number as f32]);
        request.id = format!("r{number}");
        match number % 4 {
            1 => request.model_name = "nobody".to_owned(),
            3 => request.raw_input_contents = vec![vec![0; 3].into()],
            _ => {}
        }
        requests.push(request);
    }
    let called = client().call(STREAM, &[], &requests);
    let answers = stream_answers(&called);
    assert_eq!(answers.len(), requests.len());
    for (number, answer) in answers.iter().enumerate() {
        let response = answer.infer_response.as_ref().expect("a response beside the error too");
        assert_eq!(response.id, format!("r{number}"));
        match number % 4 {
            1 => assert!(answer.error_message.contains("nobody"), "{}", answer.error_message),
            3 => assert!(answer.error_message.contains("3"), "{}", answer.error_message),
            _ => {
                assert_eq!(answer.error_message, "");
                let value = (number * number + 1) as f32;
                assert_eq!(response.raw_output_contents, [floats(&[value])]);
                let last = response.parameters.get("triton_final_response");
                let last = last.and_then(|parameter| parameter.parameter_choice.as_ref());
                assert_eq!(last, Some(&ParameterChoice::BoolParam(true)));
            }
        }
    }
    assert!(
        stream_answers(&client().call(STREAM, &[], &[] as &[pb::ModelInferRequest])).is_empty()
    );
}

#[test]
fn compressed_messages_are_taken() {
    use std::io::Write;
    let message = square(&[3.0]).encode_to_vec();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&message).and_then(|()| encoder.flush()).expect("a vector");
    let packed = encoder.finish().expect("a vector");
    let mut framed = frame(&packed);
    framed[0] = 1;
    let called = client().call_framed(INFER, &[("grpc-encoding", "gzip")], framed.clone());
    assert_eq!(called.code, 0, "{}", called.message);
    let answer = pb::ModelInferResponse::decode(called.messages[0].clone()).expect("an answer");
    assert_eq!(answer.raw_output_contents, [floats(&[10.0])]);
    let unknown = client().call_framed(INFER, &[("grpc-encoding", "br")], framed);
    assert_eq!(unknown.code, UNIMPLEMENTED, "{}", unknown.message);
}

/// `grpc.health.v1.Health/Check` of a service.
fn check(client: &mut Client, service: &str) -> Result<u64, i32> {
    let mut request = Vec::new();
    if !service.is_empty() {
        prost::encoding::string::encode(1, &service.to_owned(), &mut request);
    }
    let called = client.call_framed("/grpc.health.v1.Health/Check", &[], frame(&request));
    match called.code {
        0 => {
            // One enumeration, field 1.
            let mut message = &called.messages[0][..];
            prost::encoding::decode_varint(&mut message).expect("a key");
            Ok(prost::encoding::decode_varint(&mut message).expect("a status"))
        }
        code => Err(code),
    }
}

#[test]
fn grpcs_own_health_service_answers() {
    const SERVING: u64 = 1;
    let mut client = client();
    assert_eq!(check(&mut client, ""), Ok(SERVING));
    assert_eq!(check(&mut client, "inference.GRPCInferenceService"), Ok(SERVING));
    assert_eq!(check(&mut client, "no.such.Service"), Err(NOT_FOUND));
}
