//! Tensors of every type, shape and value go through unchanged, bit for bit.

use modelgate::types::{Code, DType};
use serde_json::json;

use crate::gateway;
use crate::support::http::Request;
use crate::support::predict::{Face, Predict, Tensor, read_reply, tensor};
use crate::support::zoo::{floats, identity_name, longs, packed};

/// Six elements of a type, its extremes among them.
fn extremes(dtype: DType) -> Vec<u8> {
    fn bytes<T: Copy, const N: usize>(values: [T; 6], encode: fn(T) -> [u8; N]) -> Vec<u8> {
        values.into_iter().flat_map(encode).collect()
    }
    match dtype {
        DType::Bool => vec![0, 1, 1, 0, 0, 1],
        DType::Uint8 => vec![0, 1, 2, 127, 128, 255],
        DType::Int8 => bytes([i8::MIN, -1, 0, 1, 2, i8::MAX], i8::to_le_bytes),
        DType::Uint16 => bytes([0, 1, 2, 3, 4, u16::MAX], u16::to_le_bytes),
        DType::Int16 => bytes([i16::MIN, -1, 0, 1, 2, i16::MAX], i16::to_le_bytes),
        DType::Uint32 => bytes([0, 1, 2, 3, 4, u32::MAX], u32::to_le_bytes),
        DType::Int32 => bytes([i32::MIN, -1, 0, 1, 2, i32::MAX], i32::to_le_bytes),
        DType::Uint64 => bytes([0, 1, (1 << 53) + 1, 3, 4, u64::MAX], u64::to_le_bytes),
        DType::Int64 => {
            bytes([i64::MIN, -1, 0, (1 << 53) + 1, -(1 << 53) - 1, i64::MAX], i64::to_le_bytes)
        }
        DType::Fp16 => [0x0001u16, 0x7bff, 0xfbff, 0x8000, 0x3555, 0x7c00]
            .into_iter()
            .flat_map(u16::to_le_bytes)
            .collect(),
        DType::Bf16 => [0x0080u16, 0x7f7f, 0xff7f, 0x8000, 0x3eab, 0x7f80]
            .into_iter()
            .flat_map(u16::to_le_bytes)
            .collect(),
        DType::Fp32 => bytes(
            [f32::MIN, f32::MIN_POSITIVE, 1e-45, -0.0, 0.1, f32::NEG_INFINITY],
            f32::to_le_bytes,
        ),
        DType::Fp64 => {
            bytes([f64::MIN, f64::MIN_POSITIVE, 5e-324, -0.0, 0.1, f64::INFINITY], f64::to_le_bytes)
        }
        DType::Bytes => packed(&["", "a", "\u{e4}\u{1f600}", "\0", "a\"b\\c\n", &"z".repeat(500)]),
    }
}

fn identity(dtype: DType, shape: &[i64], data: Vec<u8>) -> Predict {
    Predict::of(&identity_name(dtype), [tensor("x", dtype, shape, data)])
}

#[test]
fn every_type_comes_back_bit_for_bit() {
    for dtype in DType::ALL {
        for face in Face::ALL {
            for (shape, data) in [(&[2, 3], extremes(dtype)), (&[0, 4], Vec::new())] {
                let expected =
                    Tensor { name: "y".to_owned(), ..tensor("", dtype, shape, data.clone()) };
                let answer = identity(dtype, shape, data).ask(gateway(), face);
                let answer = answer.unwrap_or_else(|error| panic!("{dtype} {face:?}: {error:?}"));
                assert_eq!(answer.outputs, [expected], "{dtype} {face:?}");
            }
        }
    }
}

#[test]
fn nan_is_read_and_written_by_every_face() {
    for face in Face::ALL {
        let data = floats(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0]);
        let answer = identity(DType::Fp32, &[4, 1], data).ask(gateway(), face).expect("NaN");
        let floats = answer.outputs[0].data.as_chunks::<4>().0.iter();
        let floats: Vec<f32> = floats.map(|bytes| f32::from_le_bytes(*bytes)).collect();
        assert!(floats[0].is_nan(), "{face:?}: {floats:?}");
        assert_eq!(floats[1..], [f32::INFINITY, f32::NEG_INFINITY, 1.0], "{face:?}");
    }
    let reply = identity(DType::Fp32, &[1, 1], floats(&[f32::NAN])).json_request();
    assert!(
        reply.send(gateway().http).text().contains("[NaN]"),
        "the bare word, as clients read it"
    );
}

#[test]
fn scalars_carry_one_element() {
    for face in Face::ALL {
        let scalar = tensor("x", DType::Fp32, &[], floats(&[2.5]));
        let answer = Predict::of("scalar", [scalar]).ask(gateway(), face).expect("a scalar");
        assert_eq!(answer.outputs, [tensor("y", DType::Fp32, &[], floats(&[-2.5]))], "{face:?}");
        let text = tensor("x", DType::Bytes, &[], packed(&["one"]));
        let answer = Predict::of("scalar-text", [text]).ask(gateway(), face).expect("a scalar");
        assert_eq!(answer.outputs, [tensor("y", DType::Bytes, &[], packed(&["one"]))], "{face:?}");
        let none = tensor("x", DType::Fp32, &[], Vec::new());
        Predict::of("scalar", [none])
            .ask(gateway(), face)
            .expect_err("a scalar has one element")
            .assert_is(Code::InvalidArgument);
    }
}

/// A body for `id-<dtype>` with `shape` and `data` as JSON text.
fn json_case(dtype: DType, shape: &str, data: &str) -> Request {
    let body = format!(
        r#"{{"inputs":[{{"name":"x","datatype":"{dtype}","shape":{shape},"data":{data}}}]}}"#
    );
    Request::post(&format!("/v2/models/{}/infer", identity_name(dtype)), body)
}

#[test]
fn nested_and_flat_data_mean_the_same() {
    let expected = tensor("y", DType::Int64, &[2, 3], longs(&[1, 2, 3, 4, 5, 6]));
    for data in
        ["[1,2,3,4,5,6]", "[[1,2,3],[4,5,6]]", "[[[1,2],[3]],[[4,5,6]]]", " [ [1 ,2],[3,4,5,6] ] "]
    {
        let reply = json_case(DType::Int64, "[2,3]", data).send(gateway().http);
        let answer =
            read_reply(Face::Json, reply).unwrap_or_else(|error| panic!("{data}: {error:?}"));
        assert_eq!(answer.outputs, std::slice::from_ref(&expected), "{data}");
    }
}

#[test]
fn json_elements_that_do_not_fit_are_named() {
    for (dtype, shape, data, fragment) in [
        (DType::Uint8, "[1,1]", "[300]", "300"),
        (DType::Uint8, "[1,1]", "[-1]", "-1"),
        (DType::Int8, "[1,1]", "[128]", "128"),
        (DType::Int64, "[1,1]", "[9223372036854775808]", "9223372036854775808"),
        (DType::Int64, "[1,1]", "[-9223372036854775809]", "INT64"),
        (DType::Uint64, "[1,1]", "[18446744073709551616]", "UINT64"),
        (DType::Int32, "[1,1]", "[1.5]", "1.5"),
        (DType::Int32, "[1,1]", r#"["1"]"#, "a string"),
        (DType::Bool, "[1,1]", "[1]", "true or false"),
        (DType::Fp32, "[1,1]", "[1e39]", "1e39"),
        (DType::Fp64, "[1,1]", "[1e999]", "1e999"),
        (DType::Fp32, "[1,1]", "[null]", "null"),
        (DType::Fp32, "[1,1]", "[true]", "true"),
        (DType::Bytes, "[1,1]", "[1]", "a string"),
        (DType::Fp32, "[1,1]", "{}", "an object"),
        (DType::Fp32, "[2,2]", "[1,2,3]", "expected 4 elements"),
        (DType::Fp32, "[2,2]", "[1,2,3,4,5]", "expected 4 elements"),
        (DType::Fp32, "[2,2]", "[]", "expected 4 elements"),
        (DType::Fp32, "[-1,2]", "[1,2]", "negative"),
        (DType::Fp32, "[1.5,2]", "[1,2]", "whole numbers"),
        (DType::Fp32, "2", "[1,2]", "an array"),
    ] {
        let reply = json_case(dtype, shape, data).send(gateway().http);
        assert_eq!(reply.status, 400, "{dtype} {shape} {data}: {}", reply.text());
        let message = reply.error();
        assert!(message.contains(fragment), "{dtype} {shape} {data}: {message}");
    }
}

#[test]
fn text_that_is_no_utf8_needs_binary_data() {
    let odd = identity(DType::Bytes, &[1, 1], packed(&[[0xff, 0xfe]]));
    for face in [Face::Binary, Face::Grpc] {
        let answer = odd.ask(gateway(), face).expect("raw data may hold any bytes");
        assert_eq!(answer.outputs[0].data, packed(&[[0xff, 0xfe]]));
    }
    // Binary data in, JSON asked for.
    let mut request = odd.binary_request();
    let text = String::from_utf8_lossy(&request.body[..request.body.len() - 6]).into_owned();
    let asked = text.replace(r#""binary_data_output":true"#, r#""binary_data_output":false"#);
    let length = asked.len();
    request.body = [asked.as_bytes(), &packed(&[[0xff, 0xfe]])].concat();
    request.headers = vec![("inference-header-content-length".to_owned(), length.to_string())];
    let reply = request.send(gateway().http);
    assert_eq!(reply.status, 400);
    assert!(reply.error().contains("binary"), "{}", reply.text());
}

#[test]
fn shapes_are_checked_before_memory_is_taken() {
    for (shape, fragment) in [
        (vec![1_000_000, 1_000_000], "elements"),
        (vec![i64::MAX, 2], "elements"),
        (vec![1 << 32, 1 << 32], "elements"),
        (vec![1; 17], "dimensions"),
    ] {
        for face in Face::ALL {
            let case = identity(DType::Fp32, &shape, floats(&[1.0]));
            let error = case.ask(gateway(), face).expect_err("no such tensor");
            error.assert_is(Code::InvalidArgument);
            assert!(error.message.contains(fragment), "{face:?}: {}", error.message);
        }
    }
    for face in [Face::Binary, Face::Grpc] {
        let case = identity(DType::Fp32, &[-1, 1], floats(&[1.0]));
        case.ask(gateway(), face).expect_err("no size").assert_is(Code::InvalidArgument);
    }
}

#[test]
fn published_answers_come_back_for_the_sample_models() {
    for (model, version) in [("breast-cancer", 1), ("breast-cancer", 2), ("digits", 1)] {
        let file =
            crate::support::registry::samples().join(format!("{model}/{version}/golden.json"));
        let golden = std::fs::read_to_string(file).expect("golden.json");
        let golden: serde_json::Value = serde_json::from_str(&golden).expect("JSON");
        let body = json!({"inputs": golden["inputs"]}).to_string();
        let path = format!("/v2/models/{model}/versions/{version}/infer");
        let answer = Request::post(&path, body).send(gateway().http).json();
        let tolerance = |field: &str| golden["tolerance"][field].as_f64().expect("a tolerance");
        for expected in golden["outputs"].as_array().expect("outputs") {
            let outputs = answer["outputs"].as_array().expect("outputs").iter();
            let output = outputs.clone().find(|output| output["name"] == expected["name"]);
            let output = output.expect("the output");
            assert_eq!(output["shape"], expected["shape"]);
            let pairs = output["data"].as_array().into_iter().flatten();
            let pairs = pairs.zip(expected["data"].as_array().into_iter().flatten());
            assert!(pairs.clone().count() > 0);
            for (got, expected) in pairs {
                let (got, expected) =
                    (got.as_f64().expect("a number"), expected.as_f64().expect("one"));
                let allowed = tolerance("absolute") + tolerance("relative") * expected.abs();
                assert!((got - expected).abs() <= allowed, "{model}: {got} is not {expected}");
            }
        }
    }
}
