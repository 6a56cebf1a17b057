//! What an answer says beside its outputs: names, versions, ids, headers, and
//! which outputs come in which form.

use modelgate::types::{Code, DType};
use serde_json::{Value, json};

use crate::gateway;
use crate::support::predict::{Face, Predict, tensor};
use crate::support::zoo::floats;

fn add_sub() -> Predict {
    let pair = |name, values: [f32; 2]| tensor(name, DType::Fp32, &[1, 2], floats(&values));
    Predict::of("add-sub", [pair("a", [5.0, 7.0]), pair("b", [2.0, 3.0])])
}

fn two() -> Predict {
    Predict::of("two", [tensor("x", DType::Fp32, &[2], floats(&[-1.0, 2.0]))])
}

#[test]
fn the_version_asked_for_answers_and_says_so() {
    for face in Face::ALL {
        for (asked, served, expected) in
            [("", "12", [1.0, 2.0]), ("12", "12", [1.0, 2.0]), ("3", "3", [1.0, -2.0])]
        {
            let answer = two().version(asked).ask(gateway(), face).expect("an answer");
            assert_eq!((answer.model.as_str(), answer.version.as_str()), ("two", served));
            assert_eq!(answer.described[1], served, "{face:?}: x-model-version");
            assert_eq!(answer.described[2], "champion", "{face:?}: x-variant");
            assert_eq!(answer.outputs[0].data, floats(&expected), "{face:?} {asked}");
        }
    }
}

#[test]
fn the_body_id_is_echoed_and_becomes_the_request_id() {
    for face in Face::ALL {
        let answer = two().id("call-7").ask(gateway(), face).expect("an answer");
        assert_eq!(answer.id.as_deref(), Some("call-7"), "{face:?}");
        assert_eq!(answer.described[0], "call-7", "{face:?}");

        let absent = two().ask(gateway(), face).expect("an answer");
        assert_eq!(absent.id, None, "{face:?}: no id, none echoed");
        let made = uuid::Uuid::parse_str(&absent.described[0]).expect("a uuid of ours");
        assert_eq!(made.get_version_num(), 7, "{face:?}");

        // Fit for the body, not for a header.
        let unicode = two().id("\u{65e5}\u{672c} \"1\"").ask(gateway(), face).expect("an answer");
        assert_eq!(unicode.id.as_deref(), Some("\u{65e5}\u{672c} \"1\""), "{face:?}");
        uuid::Uuid::parse_str(&unicode.described[0]).expect("a uuid of ours");

        let both = two().id("body").header("x-request-id", "head").ask(gateway(), face);
        let both = both.expect("an answer");
        assert_eq!((both.id.as_deref(), both.described[0].as_str()), (Some("body"), "head"));

        let long = two().id(&"x".repeat(1025)).ask(gateway(), face).expect_err("too long");
        long.assert_is(Code::InvalidArgument);
    }
}

#[test]
fn outputs_come_in_the_order_asked_for() {
    for face in Face::ALL {
        for (asked, expected) in [
            (&[][..], &["sum", "difference"][..]),
            (&["difference"], &["difference"]),
            (&["difference", "sum"], &["difference", "sum"]),
        ] {
            let answer = add_sub().wanting(asked).ask(gateway(), face).expect("an answer");
            let names: Vec<&str> = answer.outputs.iter().map(|output| &*output.name).collect();
            assert_eq!(names, expected, "{face:?}");
            for output in &answer.outputs {
                let values = if output.name == "sum" { [7.0, 10.0] } else { [3.0, 4.0] };
                assert_eq!(output.data, floats(&values), "{face:?}");
            }
        }
    }
}

#[test]
fn inputs_may_come_in_any_order() {
    for face in Face::ALL {
        let mut turned = add_sub();
        turned.inputs.reverse();
        let answer = turned.wanting(&["difference"]).ask(gateway(), face).expect("an answer");
        assert_eq!(answer.outputs[0].data, floats(&[3.0, 4.0]), "{face:?}");
    }
}

/// The JSON request for `add-sub` with more fields.
fn json_with(more: &Value) -> crate::support::http::Reply {
    let request = add_sub().json_request();
    let mut document: Value = serde_json::from_slice(&request.body).expect("JSON");
    for (name, value) in more.as_object().expect("fields") {
        document[name] = value.clone();
    }
    let mut request = request;
    request.body = document.to_string().into_bytes();
    request.send(gateway().http)
}

#[test]
fn parameters_of_every_kind_are_taken_and_not_echoed() {
    let reply = json_with(&json!({"parameters": {
        "exact": 9_007_199_254_740_993_i64, "high": u64::MAX, "low": i64::MIN,
        "rate": 0.5, "flag": true, "name": "x", "triton_enable_empty_final_response": true,
    }}));
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(reply.json().get("parameters").is_none(), "{}", reply.text());
    for (bad, fragment) in [
        (json!({"triton_x": 1}), "triton_"),
        (json!({"nested": {}}), "parameters"),
        (json!({"list": [1]}), "parameters"),
        (json!({"binary_data_output": 1}), "true or false"),
        (json!([1]), "an object"),
    ] {
        let reply = json_with(&json!({"parameters": bad}));
        assert_eq!(reply.status, 400, "{}", reply.text());
        assert!(reply.error().contains(fragment), "{}", reply.text());
    }
    for (bad, status) in
        [(json!({"id": 7}), 400), (json!({"id": null}), 200), (json!({"unknown": [1, {}]}), 200)]
    {
        let reply = json_with(&bad);
        assert_eq!(reply.status, status, "{bad}: {}", reply.text());
    }
}

#[test]
fn each_output_may_be_binary_or_json() {
    let output =
        |name: &str, binary: bool| json!({"name": name, "parameters": {"binary_data": binary}});
    for (more, binary) in [
        (json!({}), [false, false]),
        (json!({"parameters": {"binary_data_output": true}}), [true, true]),
        (json!({"outputs": [output("sum", true), output("difference", false)]}), [true, false]),
        (
            json!({
                "outputs": [{"name": "sum"}, output("difference", false)],
                "parameters": {"binary_data_output": true},
            }),
            [true, false],
        ),
    ] {
        let reply = json_with(&more);
        let length = reply
            .header("inference-header-content-length")
            .map(|length| length.parse::<usize>().expect("a length"));
        assert_eq!(length.is_some(), binary.contains(&true), "{more}");
        let text = &reply.body[..length.unwrap_or(reply.body.len())];
        let document: Value = serde_json::from_slice(text).expect("JSON");
        for (output, binary) in document["outputs"].as_array().expect("outputs").iter().zip(binary)
        {
            let size = output["parameters"]["binary_data_size"].as_u64();
            assert_eq!(size, binary.then_some(8), "{more}: {output}");
            assert_eq!(output.get("data").is_none(), binary, "{more}: {output}");
        }
    }
}

#[test]
fn the_best_classes_come_as_strings() {
    let classify =
        |top: Value| json!({"outputs": [{"name": "sum", "parameters": {"classification": top}}]});
    let answer = json_with(&classify(json!(2))).json();
    assert_eq!(
        answer["outputs"][0],
        json!({
            "name": "sum", "datatype": "BYTES", "shape": [1, 2],
            "data": ["10.000000:1", "7.000000:0"],
        })
    );
    let one = json_with(&classify(json!(1))).json();
    assert_eq!(one["outputs"][0]["data"], json!(["10.000000:1"]));
    let more_than_there_are = json_with(&classify(json!(99))).json();
    assert_eq!(more_than_there_are["outputs"][0]["shape"], json!([1, 2]));
    let bad = json_with(&classify(json!(-1)));
    assert_eq!(bad.status, 400);
    assert!(bad.error().contains("classification"));

    let digit = tensor("image", DType::Fp32, &[1, 1, 8, 8], floats(&[0.0; 64]));
    let mut request = Predict::of("digits", [digit]).json_request();
    let mut document: Value = serde_json::from_slice(&request.body).expect("JSON");
    document["outputs"] = json!([{"name": "probabilities", "parameters": {"classification": 1}}]);
    request.body = document.to_string().into_bytes();
    let best = request.send(gateway().http).json();
    let best = best["outputs"][0]["data"][0].as_str().expect("a class").to_owned();
    let parts: Vec<&str> = best.split(':').collect();
    assert_eq!(parts.len(), 3, "value, index and label: {best}");
    assert_eq!(parts[1], parts[2], "the labels of digits are the digits: {best}");
}
