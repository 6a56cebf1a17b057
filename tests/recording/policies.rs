//! What a model's policy does to its records.

use std::fs;

use modelgate::predictions::Form;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::gateway::Launch;
use crate::support::http::Request;
use crate::support::predict::Face;
use crate::{Recorded, numbers, sign_of, somebody};

const SECRET: &str = "Wolfeschlegelsteinhausenbergerdorff";

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn texts_that_nobody_allowed_are_nowhere() {
    let world = Recorded::start("  defaults: {outputs: {same: drop}}");
    somebody("p-1", SECRET).ask(&world.gateway, Face::Json).expect("an answer");
    let record = world.one("p-1");
    assert_eq!(record.inputs.len(), 1, "the numbers alone");
    assert_eq!(numbers(&record.inputs[0]), [41.0, 1_234.5]);
    assert!(!contains(&world.bytes(), SECRET));
}

#[test]
fn features_are_redacted_before_anything_is_written() {
    let world = Recorded::start(
        "  models:\n    person:\n      features: {x_0: {bin: [18, 40, 65]}, x_1: drop, name: hash}\n      \
         outputs: {y: drop, same: {truncate: 3}}",
    );
    // A whole text is not cut; it is refused to be kept.
    somebody("p-1", SECRET).ask(&world.gateway, Face::Binary).expect("an answer");
    let record = world.one("p-1");
    let Form::Rows(rows) = &record.inputs[0].form else { panic!("{record:#?}") };
    assert_eq!(rows.as_ref(), 2_u16.to_le_bytes(), "41 is above two edges; x_1 is gone");
    let Form::Rows(hash) = &record.inputs[1].form else { panic!("{record:#?}") };
    assert_eq!(hash.len(), 16);
    assert!(record.outputs.is_empty(), "{record:#?}");
    assert!(!contains(&world.bytes(), SECRET));
    assert!(!contains(&world.bytes(), &SECRET[..8]));
    let warned = world.gateway.logged();
    assert!(warned.iter().any(|line| line["problem"].to_string().contains("same")), "{warned:#?}");
}

#[test]
fn large_tensors_become_a_digest() {
    let world = Recorded::start("  defaults: {max_tensor_bytes: 7}");
    somebody("d-1", "x").ask(&world.gateway, Face::Binary).expect("an answer");
    let record = world.one("d-1");
    let Form::Digest(of) = &record.inputs[0].form else { panic!("{record:#?}") };
    assert_eq!((of.min, of.max), (41.0, 1_234.5));
}

#[test]
fn a_principal_is_hashed_unless_it_may_be_kept() {
    for (treatment, expected) in [("hash", None), ("keep", Some("ada")), ("drop", Some(""))] {
        let world = Recorded::start(&format!(
            "  defaults: {{principal: {{header: x-user, treatment: {treatment}}}}}"
        ));
        let request = somebody("u-1", "x").header("x-user", "ada");
        request.ask(&world.gateway, Face::Grpc).expect("an answer");
        let principal = world.one("u-1").principal;
        match expected {
            Some(expected) => assert_eq!(principal, expected),
            None => assert_eq!(principal.len(), 32, "{principal}"),
        }
    }
}

/// A policy that a reload brings is in force at once; no version is loaded anew.
#[test]
fn a_reload_changes_the_policy_of_what_serves() {
    let world = Recorded::start("  defaults: {level: process}");
    drop(world.gateway);
    let file = world.data.path().join("own.yaml");
    let policy = |features: &str| {
        let text = format!("predictions: {{models: {{person: {{features: {features}}}}}}}\n");
        fs::write(&file, text).expect("a configuration");
    };
    policy("{}");
    let launch = Launch::new().models(world.registry.path()).data(world.data.path());
    let gateway = launch.args(&["--config", file.to_str().expect("UTF-8")]).start();
    let world = Recorded { gateway, ..world };
    somebody("r-1", "x").ask(&world.gateway, Face::Binary).expect("an answer");
    assert_eq!(numbers(&world.one("r-1").inputs[0]), [41.0, 1_234.5]);
    policy("{x_1: drop}");
    world.gateway.signal(Signal::HUP);
    let mut number = 1;
    world.wait_for("the new policy", || {
        number += 1;
        let id = format!("r-{number}");
        somebody(&id, "x").ask(&world.gateway, Face::Binary).expect("an answer");
        matches!(&world.one(&id).inputs[0].form, Form::Rows(rows) if rows.len() == 4)
    });
    let loads = world.gateway.logged();
    let loads = loads.iter().filter(|line| line["message"] == "model ready");
    assert_eq!(loads.filter(|line| line["model"] == "person").count(), 1);
}

#[test]
fn columns_have_the_names_that_the_model_brings() {
    let world = Recorded::start("  defaults: {level: process}");
    let yaml = "features: {x: [age, income]}\n";
    fs::write(world.registry.path().join("person/model.yaml"), yaml).expect("options");
    world.wait_for("the names", || {
        let id = "n-1";
        somebody(id, "x").ask(&world.gateway, Face::Binary).expect("an answer");
        let record = world.of(id).pop().expect("a record");
        let schema = world.root().join("schemas").join(format!("{}.json", record.schema));
        fs::read_to_string(schema).expect("a schema").contains("\"income\"")
    });
}

#[test]
fn the_admin_api_tells_policies_and_counts() {
    let world = Recorded::start(
        "  models: {sign: {level: fsync, on_failure: strict}, person: {level: off}}",
    );
    sign_of("s-1", 1.0).ask(&world.gateway, Face::Json).expect("an answer");
    let request = Request::get("/admin/v1/predictions").header("host", "localhost");
    let status: Value = request.send(world.gateway.admin).json();
    assert_eq!(
        status["models"]["sign"],
        json!({"level": "fsync", "on_failure": "strict", "sample": 1.0,
            "records": {"recorded": 1, "unsampled": 0, "gap": 0, "dropped": 0}})
    );
    assert_eq!(status["models"]["person"]["level"], "off");
    assert_eq!(status["degraded"], false);
}
