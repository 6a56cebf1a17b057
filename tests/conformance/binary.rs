//! The binary tensor extension of HTTP, and compressed bodies.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::{GzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use modelgate::types::DType;
use serde_json::{Value, json};

use crate::gateway;
use crate::support::http::{Reply, Request};
use crate::support::predict::{Face, Predict, read_reply, tensor};
use crate::support::zoo::{floats, identity_name, packed};

const LENGTH: &str = "inference-header-content-length";

/// A request for `model` of a JSON part and what follows it.
fn request(model: &str, document: &Value, binary: &[u8]) -> Request {
    let document = document.to_string();
    let length = document.len();
    let body = [document.as_bytes(), binary].concat();
    Request::post(&format!("/v2/models/{model}/infer"), body).header(LENGTH, length)
}

fn input(name: &str, shape: &[i64], more: Value) -> Value {
    let mut input = json!({"name": name, "datatype": "FP32", "shape": shape});
    for (name, value) in more.as_object().expect("fields") {
        input[name] = value.clone();
    }
    input
}

fn sized(bytes: i64) -> Value {
    json!({"parameters": {"binary_data_size": bytes}})
}

#[test]
fn json_and_binary_inputs_mix() {
    let document = json!({"inputs": [
        input("a", &[1, 2], json!({"data": [1.5, 2.5]})), input("b", &[1, 2], sized(8)),
    ]});
    let reply = request("add-sub", &document, &floats(&[0.5, 0.25])).send(gateway().http);
    let answer = read_reply(Face::Json, reply).expect("an answer");
    assert_eq!(answer.outputs[0].data, floats(&[2.0, 2.75]), "a binary request may get JSON");
}

#[test]
fn what_the_header_declares_must_be_there() {
    let both =
        |a: Value, b: Value| json!({"inputs": [input("a", &[1, 2], a), input("b", &[1, 2], b)]});
    let good = both(sized(8), sized(8));
    let eight = floats(&[1.0, 2.0]);
    let sixteen = [eight.clone(), eight.clone()].concat();
    let declared = |length: &str| {
        let mut request = request("add-sub", &good, &sixteen);
        request.headers = vec![(LENGTH.to_owned(), length.to_owned())];
        request
    };
    assert_eq!(request("add-sub", &good, &sixteen).send(gateway().http).status, 200);
    let table: [(&str, Request, &str); 14] = [
        ("too little data", request("add-sub", &good, &eight), "8"),
        ("one byte short", request("add-sub", &good, &sixteen[..15]), "7"),
        ("leftover bytes", request("add-sub", &good, &[&sixteen[..], b"x"].concat()), "1 bytes"),
        (
            "too small for the shape",
            request("add-sub", &both(sized(4), sized(12)), &sixteen),
            "expected 8",
        ),
        ("negative", request("add-sub", &both(sized(-8), sized(8)), &sixteen), "binary_data_size"),
        (
            "huge",
            request("add-sub", &both(sized(i64::MAX), sized(8)), &sixteen),
            "9223372036854775807",
        ),
        (
            "two sources",
            request(
                "add-sub",
                &both(json!({"data": [1, 2], "parameters": {"binary_data_size": 8}}), sized(8)),
                &sixteen,
            ),
            "both",
        ),
        ("no source", request("add-sub", &both(json!({}), sized(8)), &eight), "neither"),
        (
            "shared memory",
            request(
                "add-sub",
                &both(json!({"parameters": {"shared_memory_region": "r"}}), sized(8)),
                &eight,
            ),
            "shared_memory_region",
        ),
        ("beyond the body", declared("100000"), "100000"),
        ("not a number", declared("ten"), "length"),
        ("signed", declared("+1"), "length"),
        ("beyond 64 bits", declared("99999999999999999999"), "length"),
        ("in the middle of the JSON", declared("10"), "JSON"),
    ];
    for (what, request, fragment) in table {
        let reply = request.send(gateway().http);
        assert_eq!(reply.status, 400, "{what}: {}", reply.text());
        let message = reply.error();
        assert!(message.contains(fragment), "{what}: {message}");
    }
    let mut without = request("add-sub", &good, &[]);
    without.headers.clear();
    let reply = without.send(gateway().http);
    assert_eq!(reply.status, 400, "sizes without the header");
    assert!(reply.error().to_lowercase().contains(LENGTH), "{}", reply.text());
}

#[test]
fn packed_strings_must_add_up() {
    let strings = |data: &[u8], count: i64| {
        let document = json!({"inputs": [{
            "name": "x", "datatype": "BYTES", "shape": [count, 1],
            "parameters": {"binary_data_size": data.len()},
        }]});
        request("id-bytes", &document, data).send(gateway().http)
    };
    let two = packed(&["ab", "c"]);
    assert_eq!(strings(&two, 2).status, 200);
    let mut lying = two.clone();
    lying[0] = 200;
    let mut overlong = two.clone();
    overlong[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    for (what, data, count) in [
        ("fewer than the shape", &two[..], 3),
        ("more than the shape", &two, 1),
        ("cut short", &two[..two.len() - 1], 2),
        ("an overrun", &lying, 2),
        ("4 GiB", &overlong, 2),
        ("half a length", &two[..2], 1),
    ] {
        let reply = strings(data, count);
        assert_eq!(reply.status, 400, "{what}: {}", reply.text());
        reply.error();
    }
}

#[test]
fn a_raw_body_is_the_only_input() {
    let raw = |model: &str, body: Vec<u8>| {
        Request::post(&format!("/v2/models/{model}/infer"), body).header(LENGTH, 0)
    };
    let reply = raw("square", floats(&[3.0, 4.0])).send(gateway().http);
    let answer = read_reply(Face::Binary, reply).expect("an answer");
    let expected = tensor("y", DType::Fp32, &[1, 2], floats(&[10.0, 17.0]));
    assert_eq!(answer.outputs, [expected], "one row, all outputs binary");
    let reply = raw("scalar-text", b"plain text".to_vec()).send(gateway().http);
    let answer = read_reply(Face::Binary, reply).expect("an answer");
    assert_eq!(answer.outputs[0].data, packed(&["plain text"]), "without a length prefix");
    for (what, request) in [
        ("two inputs", raw("add-sub", floats(&[1.0; 4]))),
        ("half an element", raw("square", vec![0; 7])),
        ("not the fixed size", raw("pairs", floats(&[1.0; 3]))),
    ] {
        let reply = request.send(gateway().http);
        assert_eq!(reply.status, 400, "{what}");
        assert!(reply.error().contains("raw"), "{what}: {}", reply.text());
    }
}

#[test]
fn only_bytes_make_an_answer_binary() {
    let none = tensor("x", DType::Fp32, &[0, 4], Vec::new());
    let empty = Predict::of(&identity_name(DType::Fp32), [none]).binary_request();
    let reply = empty.send(gateway().http);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header(LENGTH), None);
    let output = &reply.json()["outputs"][0];
    assert_eq!(output["parameters"]["binary_data_size"], 0);
    assert_eq!(output["shape"], json!([0, 4]));
}

fn compressed(encoding: &str, body: &[u8]) -> Vec<u8> {
    const WHY: &str = "a vector takes every write";
    if encoding == "gzip" {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(body).expect(WHY);
        encoder.finish().expect(WHY)
    } else {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(body).expect(WHY);
        encoder.finish().expect(WHY)
    }
}

fn inflated(mut reply: Reply) -> Reply {
    let mut body = Vec::new();
    match reply.header("content-encoding") {
        Some("gzip") => GzDecoder::new(&*reply.body).read_to_end(&mut body).expect("gzip"),
        Some("deflate") => ZlibDecoder::new(&*reply.body).read_to_end(&mut body).expect("zlib"),
        other => panic!("content-encoding is {other:?}"),
    };
    reply.body = body;
    reply
}

#[test]
fn bodies_may_be_compressed_both_ways() {
    let values: Vec<f32> = (0..2000).map(|value| value as f32).collect();
    let long = tensor("x", DType::Fp32, &[1000, 2], floats(&values));
    let predict = Predict::of(&identity_name(DType::Fp32), [long.clone()]);
    for encoding in ["gzip", "deflate"] {
        for (face, request) in
            [(Face::Json, predict.json_request()), (Face::Binary, predict.binary_request())]
        {
            let body = compressed(encoding, &request.body);
            assert!(body.len() < request.body.len());
            let request = Request { body, ..request }
                .header("content-encoding", encoding)
                .header("accept-encoding", encoding);
            let reply = request.send(gateway().http);
            assert_eq!(reply.header("content-encoding"), Some(encoding), "{face:?}");
            let answer = read_reply(face, inflated(reply)).expect("an answer");
            assert_eq!(answer.outputs[0].data, long.data, "{face:?} {encoding}");
        }
    }
    let plain = predict.json_request().header("accept-encoding", "gzip;q=0, identity");
    assert_eq!(plain.send(gateway().http).header("content-encoding"), None);
}
