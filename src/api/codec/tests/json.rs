use std::borrow::Cow;

use bytes::Bytes;

use super::super::json::{decode_infer, encode_infer};
use super::{answer, inputs, le, limits, output, packed_strings, tensor};
use crate::api::codec::DecodeLimits;
use crate::types::{Code, DType, Outputs, Parameter, Payload};

/// Decodes one input `{"name":"x", ...fields}` and returns its packed data.
fn data_of(fields: &str) -> Vec<u8> {
    let body = Bytes::from(format!(r#"{{"inputs":[{{"name":"x",{fields}}}]}}"#));
    let request = decode_infer(&body, None, &limits()).unwrap_or_else(|e| panic!("{fields}: {e}"));
    inputs(&request)[0].tensor.data().to_vec()
}

fn refusal(body: &str) -> String {
    refusal_of(body.as_bytes(), None)
}

fn refusal_of(body: &[u8], header: Option<usize>) -> String {
    let body = Bytes::copy_from_slice(body);
    let Err(error) = decode_infer(&body, header, &limits()) else {
        panic!("must be refused: {:?}", String::from_utf8_lossy(&body));
    };
    assert_eq!(error.code, Code::InvalidArgument);
    assert!(error.message.len() < 300, "too long: {error}");
    error.message.into_owned()
}

/// The message for one input with these fields.
fn input_refusal(fields: &str) -> String {
    refusal(&format!(r#"{{"inputs":[{{"name":"x",{fields}}}]}}"#))
}

#[test]
fn elements_of_every_type_are_packed() {
    let cases: [(&str, &str, Vec<u8>); 14] = [
        ("BOOL", "true,false", vec![1, 0]),
        ("UINT8", "0,255", vec![0, 255]),
        ("UINT16", "1,65535", le([1u16, 65535].map(u16::to_le_bytes))),
        ("UINT32", "1,4294967295", le([1, u32::MAX].map(u32::to_le_bytes))),
        ("UINT64", "-0,18446744073709551615", le([0, u64::MAX].map(u64::to_le_bytes))),
        ("INT8", "-128,127", vec![0x80, 0x7f]),
        ("INT16", "-32768,32767", le([i16::MIN, i16::MAX].map(i16::to_le_bytes))),
        ("INT32", "-2147483648,2147483647", le([i32::MIN, i32::MAX].map(i32::to_le_bytes))),
        (
            "INT64",
            "-9223372036854775808,9223372036854775807",
            le([i64::MIN, i64::MAX].map(i64::to_le_bytes)),
        ),
        ("FP16", "1,-0.1", le([0x3c00u16, 0xae66].map(u16::to_le_bytes))),
        ("BF16", "1,-0.1", le([0x3f80u16, 0xbdcd].map(u16::to_le_bytes))),
        ("FP32", "1,-1.5e-3", le([1.0, -1.5e-3f32].map(f32::to_le_bytes))),
        ("FP64", "1E2,0.1", le([100.0, 0.1f64].map(f64::to_le_bytes))),
        ("BYTES", r#""a\n\u00e9","""#, packed_strings(["a\né".as_bytes(), b""])),
    ];
    for (dtype, data, packed) in cases {
        let early = format!(r#""datatype":"{dtype}","shape":[2],"data":[{data}]"#);
        assert_eq!(data_of(&early), packed, "{early}");
        let late = format!(r#""data" : [ [{data}] ] ,"shape":[2],"datatype":"{dtype}""#);
        assert_eq!(data_of(&late), packed, "{late}");
    }
}

#[test]
fn floats_are_rounded_once() {
    // Just above the middle of two FP32 neighbours, and on it once it is an FP64.
    let above = "1.00000005960464477539062500000000001";
    let fields = format!(r#""datatype":"FP32","shape":[1],"data":[{above}]"#);
    assert_eq!(data_of(&fields), 1.000_000_1_f32.to_le_bytes());
}

#[test]
fn not_a_number_and_the_infinities_are_read() {
    for (dtype, expected) in [
        ("FP32", le([f32::NAN, f32::INFINITY, f32::NEG_INFINITY].map(f32::to_le_bytes))),
        ("FP64", le([f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(f64::to_le_bytes))),
        ("FP16", le([0x7e00u16, 0x7c00, 0xfc00].map(u16::to_le_bytes))),
    ] {
        let fields = format!(r#""datatype":"{dtype}","shape":[3],"data":[NaN,Infinity,-Infinity]"#);
        assert_eq!(data_of(&fields), expected);
    }
}

#[test]
fn nesting_is_free_and_only_the_count_matters() {
    let one_to_four = le([1.0, 2.0, 3.0, 4.0].map(f32::to_le_bytes));
    for data in
        ["[1,2,3,4]", "[[1,2],[3,4]]", "[[1],[2,3,4],[]]", "[1,[2,[3]],4]", "[[[[1,2,3,4]]]]"]
    {
        let fields = format!(r#""shape":[2,2],"datatype":"FP32","data":{data}"#);
        assert_eq!(data_of(&fields), one_to_four, "{data}");
    }
    assert_eq!(data_of(r#""shape":[],"datatype":"INT8","data":[7]"#), [7]);
    assert_eq!(data_of(r#""shape":[0,4],"datatype":"FP32","data":[]"#), [0u8; 0]);
}

#[test]
fn wrong_elements_are_named_with_place_and_reason() {
    let input = |dtype: &str, data: &str| {
        input_refusal(&format!(r#""shape":[2],"datatype":"{dtype}","data":{data}"#))
    };
    let cases = [
        (
            "UINT8",
            "[1,300]",
            "inputs[0].data[1]: 300 is outside the range of UINT8, 0 to 255, at line 1 column 65",
        ),
        ("UINT8", "[-1,1]", "inputs[0].data[0]: -1 is outside"),
        ("INT64", "[9223372036854775808,1]", "is outside the range of INT64"),
        ("UINT64", "[1,18446744073709551616]", "is outside the range of UINT64"),
        ("INT32", "[1,1.0]", "inputs[0].data[1]: expected an integer for INT32, got 1.0 at"),
        ("INT32", "[1,1e3]", "expected an integer for INT32, got 1e3 at"),
        ("INT32", "[1,NaN]", "expected an integer for INT32, got NaN at"),
        ("FP32", "[1,1e39]", "inputs[0].data[1]: 1e39 is outside the range of FP32 at"),
        ("FP16", "[65520,1]", "inputs[0].data[0]: 65520 is outside the range of FP16 at"),
        ("FP32", r#"["1",1]"#, "inputs[0].data[0]: expected a number for FP32, got a string at"),
        ("FP32", "[null,1]", "expected a number for FP32, got null at"),
        ("FP32", "[{},1]", "expected a number for FP32, got an object at"),
        ("BOOL", "[1,0]", "inputs[0].data[0]: expected true or false for BOOL, got a number at"),
        ("BYTES", "[1,2]", "inputs[0].data[0]: expected a string for BYTES, got a number at"),
        ("BYTES", r#"["\ud800",""]"#, "the body is not valid JSON: "),
        ("FP32", "[1]", "inputs[0].data: expected 2 elements for shape [2], got 1"),
        ("FP32", "[1,2,3]", "inputs[0].data: expected 2 elements for shape [2], got more"),
        ("FP32", "1", "inputs[0].data: expected an array, got a number at"),
        ("FP32", "[1,]", "not valid JSON: expected a value at line 1 column 64"),
        ("FP32", "[,1]", "not valid JSON: expected a value"),
        ("FP32", "[1 2]", "not valid JSON: expected `,` or `]`"),
        ("FP32", "[1.,2]", "not valid JSON: invalid number"),
        ("FP32", "[.5,2]", "not valid JSON: expected a value"),
        ("FP32", "[+1,2]", "not valid JSON: expected a value"),
        ("FP32", "[01,2]", "not valid JSON: invalid number"),
        ("INT8", "[01,2]", "not valid JSON: invalid number"),
        ("FP32", "[1,-]", "not valid JSON: invalid number"),
        ("FP32", "[1,inf]", "not valid JSON: expected a value"),
        ("FP32", "[1,2", "not valid JSON: "),
        ("FP32", "[[[[[[[[[[[[[[[[[1,2]]]]]]]]]]]]]]]]]", "nested deeper than 16"),
    ];
    for (dtype, data, expected) in cases {
        let message = input(dtype, data);
        assert!(message.contains(expected), "{dtype} {data}: {message}");
        let late = input_refusal(&format!(r#""data":{data},"shape":[2],"datatype":"{dtype}""#));
        let reason = expected.split(" at").next().expect("a first part");
        let same = late.contains(reason) || late.contains("not valid JSON");
        assert!(same, "late {dtype} {data}: {late}");
    }
}

#[test]
fn broken_requests_are_told_what_is_wrong() {
    let fine = r#""shape":[1],"datatype":"FP32","data":[1]"#;
    let deep = "[".repeat(100_000);
    let long = "n".repeat(2000);
    let twice = format!(r#"{{"name":"x",{fine}}}"#);
    let cases = [
        (String::new(), "got an empty body"),
        (" \n".into(), "got an empty body"),
        ("[]".into(), "body: expected an object, got an array at line 1 column 1"),
        ("{".into(), "not valid JSON: "),
        ("{}".into(), "the body has no inputs"),
        (r#"{"inputs":[]} x"#.into(), "not valid JSON: trailing characters at line 1 column 15"),
        (r#"{"inputs":{}}"#.into(), "inputs: expected an array, got an object"),
        (r#"{"inputs":[1]}"#.into(), "inputs[0]: expected an object, got a number"),
        (r#"{"inputs":[],"inputs":[]}"#.into(), "inputs is given twice"),
        (r#"{"id":1,"inputs":[]}"#.into(), "id: expected a string, got a number"),
        (format!(r#"{{"id":"{long}","inputs":[]}}"#), "id has 2000 bytes, at most 1024"),
        ("{\n \"inputs\": nil}".into(), "at line 2 column "),
        (format!(r#"{{"deep":{deep}"#), "not valid JSON: recursion limit exceeded"),
        (format!(r#"{{"inputs":{deep}"#), "inputs[0]: expected an object, got an array"),
        (format!(r#"{{"inputs":[{{{fine}}}]}}"#), "inputs[0] has no name"),
        (format!(r#"{{"inputs":[{twice},{twice}]}}"#), r#"input "x" is given twice"#),
        (
            r#"{"inputs":[],"outputs":[{"name":"y"},{"name":"y"}]}"#.into(),
            r#"output "y" is given twice"#,
        ),
        (r#"{"inputs":[],"outputs":[{}]}"#.into(), "outputs[0] has no name"),
        (r#"{"inputs":[],"parameters":{"a":{}}}"#.into(), "parameters: expected strings, numbers"),
        (r#"{"inputs":[],"parameters":{"a":[1]}}"#.into(), "parameters: expected strings, numbers"),
        (r#"{"inputs":[],"parameters":{"a":null}}"#.into(), "got null"),
        (r#"{"inputs":[],"parameters":{"a":1e999}}"#.into(), "outside the range of 64 bits"),
        (
            r#"{"inputs":[],"parameters":{"a":18446744073709551616}}"#.into(),
            "outside the range of 64 bits",
        ),
        (r#"{"inputs":[],"parameters":{"a":1,"\u0061":2}}"#.into(), r#""a" is given twice"#),
        (r#"{"inputs":[],"parameters":{"triton_x":1}}"#.into(), "triton_ are reserved"),
        (
            r#"{"inputs":[],"parameters":{"binary_data_output":1}}"#.into(),
            "binary_data_output must be true or false",
        ),
        (
            r#"{"inputs":[],"outputs":[{"name":"y","parameters":{"classification":-1}}]}"#.into(),
            "outputs[0]: parameter classification must be a count",
        ),
        (
            r#"{"inputs":[],"outputs":[{"name":"y","parameters":{"shared_memory_region":"r"}}]}"#
                .into(),
            "outputs[0]: shared_memory_region is not supported",
        ),
    ];
    for (body, expected) in cases {
        let message = refusal(&body);
        assert!(message.contains(expected), "{:.80}: {message}", body);
    }
    assert!(refusal_of(b"{\"a\":\"\xff\"}", None).contains("not valid UTF-8 at byte 6"));
}

#[test]
fn broken_inputs_are_told_what_is_wrong() {
    let cases = [
        (r#""shape":[1],"data":[1]"#, "inputs[0] has no datatype"),
        (r#""datatype":"FP32","data":[1]"#, "inputs[0] has no shape"),
        (r#""datatype":"FP32","shape":[1]"#, "expected data or parameters.binary_data_size"),
        (r#""datatype":"fp32","shape":[1],"data":[1]"#, r#"got "fp32""#),
        (r#""datatype":1,"shape":[1],"data":[1]"#, "inputs[0].datatype: expected a string"),
        (r#""datatype":"FP32","shape":[-1],"data":[1]"#, "negative dimension"),
        (r#""datatype":"FP32","shape":[1.0],"data":[1]"#, r#"whole numbers from 0, got "1.0""#),
        (r#""datatype":"FP32","shape":["1"],"data":[1]"#, "whole numbers from 0, got a string"),
        (r#""datatype":"FP32","shape":1,"data":[1]"#, "inputs[0].shape: expected an array"),
        (r#""datatype":"FP32","shape":[9223372036854775808],"data":[1]"#, "whole numbers from 0"),
        (r#""datatype":"FP32","shape":[4294967296,4294967296],"data":[1]"#, "can count"),
        (r#""datatype":"FP32","shape":[1000000000],"data":[1]"#, "at most 67108864 are accepted"),
        (r#""datatype":"FP32","shape":[60000000],"data":[1]"#, "expected 60000000 elements"),
        (
            r#""datatype":"FP32","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"data":[1]"#,
            "17 dimensions",
        ),
        (r#""datatype":"FP32","shape":[1],"data":[1],"data":[1]"#, "data is given twice"),
        (r#""datatype":"FP32","shape":[1],"shape":[1],"data":[1]"#, "shape is given twice"),
        (r#""name":"y","datatype":"FP32","shape":[1],"data":[1]"#, "inputs[0].name is given twice"),
        (
            r#""datatype":"FP32","shape":[1],"data":[1],"parameters":{"binary_data_size":4}"#,
            "got both",
        ),
        (
            r#""datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}"#,
            "no Inference-Header-Content-Length header",
        ),
        (
            r#""datatype":"FP32","shape":[1],"parameters":{"binary_data_size":"4"}"#,
            "binary_data_size must be a count of bytes",
        ),
        (
            r#""datatype":"FP32","shape":[1],"parameters":{"shared_memory_region":"r"}"#,
            "inputs[0]: shared_memory_region is not supported",
        ),
    ];
    for (fields, expected) in cases {
        let message = input_refusal(fields);
        assert!(message.contains(expected), "{fields}: {message}");
    }
}

#[test]
fn long_texts_are_not_echoed() {
    let secret = "s".repeat(100_000);
    let message = input_refusal(&format!(r#""datatype":"{secret}","shape":[1],"data":[1]"#));
    assert!(message.contains(&"s".repeat(40)) && !message.contains(&"s".repeat(41)), "{message}");
    let digits = "1".repeat(100_000);
    let message = input_refusal(&format!(r#""datatype":"INT8","shape":[1],"data":[{digits}]"#));
    assert!(message.contains("1..."), "{message}");
}

#[test]
fn the_request_around_the_tensors_is_read() {
    let body = Bytes::from_static(
        br#"{"id":"a\u00e9","model_name":"m","unknown":[{"deep":[1,"x"]}],
            "parameters":{"binary_data_output":true,"i":-5,"u":18446744073709551615,
                "big":9007199254740993,"f":0.5,"s":"t","b":false,
                "triton_enable_empty_final_response":true},
            "inputs":[{"name":"x","shape":[1],"datatype":"INT8","data":[1],"unknown":{}}],
            "outputs":[{"name":"y","parameters":{"classification":3,"binary_data":false}},
                {"name":"z","parameters":{"other":1}}]}"#,
    );
    let request = decode_infer(&body, None, &limits()).expect("a good request");
    assert_eq!(request.id, "aé");
    assert!(request.binary_output);
    let parameters: Vec<_> = request.parameters.iter().map(|(k, v)| (&**k, v.clone())).collect();
    assert_eq!(
        parameters,
        [
            ("i", Parameter::Int(-5)),
            ("u", Parameter::Uint(u64::MAX)),
            ("big", Parameter::Int(9_007_199_254_740_993)),
            ("f", Parameter::Double(0.5)),
            ("s", Parameter::Text("t".into())),
            ("b", Parameter::Bool(false)),
        ]
    );
    assert_eq!((request.outputs[0].classification, request.outputs[0].binary), (3, Some(false)));
    assert_eq!((&*request.outputs[1].name, request.outputs[1].binary), ("z", None));
    assert!(matches!(inputs(&request)[0].name, Cow::Borrowed("x")), "names borrow from the body");
}

#[test]
fn null_stands_for_an_absent_option() {
    let body = Bytes::from_static(
        br#"{"id":null,"parameters":null,"outputs":null,
            "inputs":[{"name":"x","shape":[1],"datatype":"INT8","parameters":null,"data":[1]}]}"#,
    );
    let request = decode_infer(&body, None, &limits()).expect("a good request");
    assert!(request.id.is_empty() && request.outputs.is_empty());
}

#[test]
fn limits_hold() {
    let limits = DecodeLimits { max_inputs: 1, max_outputs: 1, max_elements: 2, max_parameters: 1 };
    let input = |name: &str, n: usize| {
        let data = vec!["1"; n].join(",");
        format!(r#"{{"name":"{name}","shape":[{n}],"datatype":"INT8","data":[{data}]}}"#)
    };
    let cases = [
        (format!("[{},{}]", input("a", 1), input("b", 1)), "[]", "{}", "more than 1 inputs"),
        (format!("[{}]", input("a", 3)), "[]", "{}", "has 3 elements, at most 2"),
        ("[]".into(), r#"[{"name":"a"},{"name":"b"}]"#, "{}", "more than 1 outputs"),
        ("[]".into(), "[]", r#"{"a":1,"b":2}"#, "more than 1 parameters"),
    ];
    for (inputs, outputs, parameters, expected) in cases {
        let body =
            format!(r#"{{"inputs":{inputs},"outputs":{outputs},"parameters":{parameters}}}"#);
        let error = decode_infer(&Bytes::from(body), None, &limits).expect_err("over a limit");
        assert!(error.message.contains(expected), "{error}");
    }
}

#[test]
fn binary_data_follows_the_json_in_the_order_of_inputs() {
    let json = br#"{"inputs":[
        {"name":"a","shape":[2],"datatype":"FP32","parameters":{"binary_data_size":8}},
        {"name":"b","shape":[1],"datatype":"INT8","data":[5]},
        {"name":"c","shape":[0],"datatype":"FP64","parameters":{"binary_data_size":0}},
        {"name":"d","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":6}}]}"#;
    let (floats, strings) = (le([1f32, 2.0].map(f32::to_le_bytes)), packed_strings([&b"hi"[..]]));
    let body = Bytes::from([&json[..], &floats, &strings].concat());
    let request = decode_infer(&body, Some(json.len()), &limits()).expect("a good request");
    let datas: Vec<_> = inputs(&request).iter().map(|i| i.tensor.data().to_vec()).collect();
    assert_eq!(datas, [floats, vec![5], vec![], strings]);
    let first = inputs(&request)[0].tensor.data();
    assert_eq!(first.as_ptr(), body[json.len()..].as_ptr(), "binary data is not copied");
}

#[test]
fn lying_binary_requests_are_refused() {
    let json = |size: usize, shape: usize, dtype: &str| {
        format!(
            r#"{{"inputs":[{{"name":"a","shape":[{shape}],"datatype":"{dtype}","parameters":{{"binary_data_size":{size}}}}}]}}"#
        )
    };
    let case =
        |json: String, tail: &[u8]| refusal_of(&[json.as_bytes(), tail].concat(), Some(json.len()));
    let cases = [
        (case(json(4, 1, "FP32"), b"12345"), "unexpected additional input data: 1 bytes"),
        (case(json(4, 1, "FP32"), b"123"), "binary_data_size is 4, but only 3 bytes are left"),
        (case(json(8, 1, "FP32"), b"12345678"), "expected 4 bytes for FP32 [1], got 8"),
        (case(json(4, 0, "FP32"), b"1234"), "expected 0 bytes"),
        (case(json(7, 1, "BYTES"), b"\x04\0\0\0abc"), "claims 4 bytes, 3 are left"),
        (case(json(6, 2, "BYTES"), b"\x02\0\0\0ab"), "expected 2 string elements"),
        (refusal_of(b"{}", Some(3)), "is 3, but the body has only 2 bytes"),
        (refusal_of(br#"{"inputs":[]}"#, Some(5)), "not valid JSON"),
    ];
    for (message, expected) in cases {
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn header_zero_makes_the_body_raw_data() {
    let body = Bytes::from_static(b"\x01\x02");
    let request = decode_infer(&body, Some(0), &limits()).expect("a raw request");
    assert!(matches!(&request.payload, Payload::Raw(data) if *data == body));
    assert!(request.binary_output);
}

fn encoded(outputs: Outputs, id: &str, parameters: &[(&str, Parameter<'_>)]) -> String {
    let encoded = encode_infer(&answer(&outputs, id, parameters)).expect("an encodable answer");
    String::from_utf8(encoded.json).expect("JSON is UTF-8")
}

#[test]
fn answers_are_written_in_the_protocols_form() {
    let floats =
        le([0.1, -1e-20, f32::NAN, f32::INFINITY, f32::NEG_INFINITY].map(f32::to_le_bytes));
    let outputs = Outputs::from_iter([
        output("y", tensor(DType::Fp32, &[5], floats), false),
        output(
            "s\"",
            tensor(DType::Bytes, &[2, 1], packed_strings([&b"a\n"[..], "é".as_bytes()])),
            false,
        ),
        output("b", tensor(DType::Bool, &[2], vec![1, 0]), false),
        output("e", tensor(DType::Int64, &[0, 4], vec![]), false),
        output("k", tensor(DType::Int64, &[], i64::MIN.to_le_bytes().to_vec()), false),
    ]);
    let parameters = [("p", Parameter::Uint(u64::MAX)), ("q", Parameter::Text("t".into()))];
    assert_eq!(
        encoded(outputs, "i\"d", &parameters),
        concat!(
            r#"{"id":"i\"d","model_name":"m","model_version":"3","#,
            r#""parameters":{"p":18446744073709551615,"q":"t"},"outputs":["#,
            r#"{"name":"y","datatype":"FP32","shape":[5],"data":[0.1,-1e-20,NaN,Infinity,-Infinity]},"#,
            r#"{"name":"s\"","datatype":"BYTES","shape":[2,1],"data":["a\n","é"]},"#,
            r#"{"name":"b","datatype":"BOOL","shape":[2],"data":[true,false]},"#,
            r#"{"name":"e","datatype":"INT64","shape":[0,4],"data":[]},"#,
            r#"{"name":"k","datatype":"INT64","shape":[],"data":[-9223372036854775808]}]}"#
        )
    );
    assert_eq!(
        encoded(Outputs::new(), "", &[]),
        r#"{"model_name":"m","model_version":"3","outputs":[]}"#
    );
}

#[test]
fn binary_outputs_follow_the_json() {
    let outputs = Outputs::from_iter([
        output("a", tensor(DType::Int8, &[2], vec![1, 2]), true),
        output("b", tensor(DType::Int8, &[1], vec![3]), false),
        output("c", tensor(DType::Int8, &[0], vec![]), true),
        output("d", tensor(DType::Int8, &[1], vec![4]), true),
    ]);
    let encoded = encode_infer(&answer(&outputs, "", &[])).expect("an encodable answer");
    assert_eq!(
        String::from_utf8(encoded.json).expect("JSON is UTF-8"),
        concat!(
            r#"{"model_name":"m","model_version":"3","outputs":["#,
            r#"{"name":"a","datatype":"INT8","shape":[2],"parameters":{"binary_data_size":2}},"#,
            r#"{"name":"b","datatype":"INT8","shape":[1],"data":[3]},"#,
            r#"{"name":"c","datatype":"INT8","shape":[0],"parameters":{"binary_data_size":0}},"#,
            r#"{"name":"d","datatype":"INT8","shape":[1],"parameters":{"binary_data_size":1}}]}"#
        )
    );
    assert_eq!(encoded.binary.concat(), [1, 2, 4]);
    assert_eq!(encoded.binary_len, 3);
}

#[test]
fn empty_binary_outputs_leave_a_pure_json_answer() {
    let outputs = Outputs::from_iter([output("c", tensor(DType::Fp32, &[0], vec![]), true)]);
    let encoded = encode_infer(&answer(&outputs, "", &[])).expect("an encodable answer");
    assert_eq!((encoded.binary_len, encoded.binary.len()), (0, 0));
}

#[test]
fn strings_that_are_not_utf8_need_binary() {
    let odd = |binary| {
        let strings = packed_strings([&b"ok"[..], b"\xff"]);
        Outputs::from_iter([output("y", tensor(DType::Bytes, &[2], strings), binary)])
    };
    let error = encode_infer(&answer(&odd(false), "", &[])).expect_err("not UTF-8");
    assert_eq!(error.code, Code::InvalidArgument);
    assert!(error.message.contains("element 1 of output \"y\""), "{error}");
    assert!(encode_infer(&answer(&odd(true), "", &[])).is_ok());
}

#[test]
fn usual_answers_fit_the_first_allocation() {
    let floats: Vec<u8> =
        (0u16..300).flat_map(|i| (f32::from(i) * 0.123_456_7).sin().to_le_bytes()).collect();
    let outputs = Outputs::from_iter([
        output("probabilities", tensor(DType::Fp32, &[100, 3], floats), false),
        output("label", tensor(DType::Int64, &[2], vec![1; 16]), false),
    ]);
    let view = answer(&outputs, "0198c0de-0000-7000-8000-000000000000", &[]);
    let encoded = encode_infer(&view).expect("an encodable answer");
    assert!(
        encoded.json.capacity() < 2 * encoded.json.len(),
        "{} for {}: more than double, or it has grown",
        encoded.json.capacity(),
        encoded.json.len()
    );
}
