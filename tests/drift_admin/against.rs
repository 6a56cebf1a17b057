//! Candidates and shadows beside the champion, on its route.

use std::time::{Duration, Instant};

use modelgate::types::DType;
use serde_json::{Value, json};

use crate::support::gateway::{Gateway, Launch};
use crate::support::http::Request;
use crate::support::onnx_builder::{Graph, element, graph, node, tensor as typed};
use crate::support::openapi::assert_described;
use crate::support::predict::{Face, Predict};
use crate::support::registry::Registry;
use crate::world::{drift, get, loans, profile, rows, send, until, with_profile};

/// Far longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const CONFIG: &str = "drift: {every_ms: 100, hold_ms: 0, keep_ms: 0}
models: {defaults: {versions: all, signature: any}}
routes:
- apiVersion: modelgate.dev/v1
  kind: Route
  metadata: {name: loans}
  spec:
    variants: [{name: champion, version: 1}, {name: candidate, version: 2, weight: 0}]
    shadow: {version: 3, percent: 100, cpuPercent: 100}
";

/// Takes and answers the same but for the score, which is below nothing.
fn negative() -> Graph {
    let both =
        |name: &str, dtype, width| (name.to_owned(), typed(element(dtype), &["rows", width]));
    let ((x, x_kind), (plan, plan_kind)) =
        (both("x", DType::Fp32, "2"), both("plan", DType::Bytes, "1"));
    graph()
        .input(&x, x_kind.clone())
        .input(&plan, plan_kind.clone())
        .output("y", x_kind)
        .output("named", plan_kind)
        .node(node("Neg", &["x"], &["y"]))
        .node(node("Identity", &["plan"], &["named"]))
}

/// Knows nothing of plans.
fn narrow() -> Graph {
    let kind = typed(element(DType::Fp32), &["rows", "2"]);
    graph().input("x", kind.clone()).output("y", kind).node(node("Identity", &["x"], &["y"]))
}

/// A champion; a candidate that was trained on other data; a shadow without a
/// profile; and a version that is asked other things.
fn start() -> (Gateway, Registry) {
    let mut retrained = profile();
    retrained["inputs"][1]["edges"] = json!([2.0, 3.0, 3.2]);
    let registry = Registry::new()
        .version("loans", 1, &loans().model())
        .version("loans", 2, &negative().model())
        .version("loans", 3, &loans().model())
        .version("loans", 4, &narrow().model());
    let registry = with_profile(registry, "loans", 1, &profile());
    let registry = with_profile(registry, "loans", 2, &retrained);
    (Launch::new().models(registry.path()).config(CONFIG).start(), registry)
}

/// Sends the same rows to the champion and to the candidate until it is as wanted.
#[track_caller]
fn sending(gateway: &Gateway, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        send(gateway, "loans", None);
        let candidate = Predict::of("loans", rows(None)).version("2");
        candidate.ask(gateway, Face::Binary).expect("an answer");
        let found = get(gateway, path).json();
        if wanted(&found["against"]["comparison"]) {
            return found;
        }
        assert!(Instant::now() < deadline, "{path}: {found:#}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn states(comparison: &Value) -> Vec<(String, String)> {
    let features = comparison["features"].as_array().into_iter().flatten();
    let mut states: Vec<(String, String)> = features
        .map(|feature| {
            let text = |key: &str| feature[key].as_str().expect("a text").to_owned();
            (text("name"), text("state"))
        })
        .collect();
    states.sort();
    states
}

#[test]
fn candidate_and_shadow_are_compared_with_the_champion() {
    let (gateway, _registry) = start();
    let all = |wanted: &'static [(&'static str, &'static str)]| {
        move |comparison: &Value| {
            let wanted =
                wanted.iter().map(|(name, state)| ((*name).to_owned(), (*state).to_owned()));
            states(comparison).into_iter().eq(wanted)
        }
    };
    let expected = &[("age", "ok"), ("income", "ok"), ("plan", "ok"), ("score", "drifted")];
    let candidate = sending(&gateway, "drift/loans?version=2", all(expected));
    let against = &candidate["against"];
    assert_eq!((&against["champion"], &against["incomparable"]), (&json!(1), &json!([])));
    let score = &against["comparison"]["features"][0];
    assert_eq!((&score["name"], &score["face"]), (&json!("score"), &json!("output")));
    let window = &score["windows"][0];
    // In the champion's bins, although the candidate has others.
    let counts = |side: &str, bin: usize| window[side][bin].as_u64().expect("a count");
    assert_eq!(window["champion"].as_array().map(Vec::len), Some(4));
    assert!(counts("champion", 0) > 0 && counts("champion", 0) == counts("champion", 3));
    assert!(counts("counts", 0) > 0 && counts("counts", 3) == 0, "{window}");
    // By its own profile the same ages are drift, as that has other edges.
    let own = get(&gateway, "drift/loans?version=2&feature=age").json();
    assert_eq!(own["report"]["features"][0]["state"], "drifted", "{own:#}");
    assert_eq!(states(&own["against"]["comparison"]).len(), 1);

    let expected = &[("age", "ok"), ("income", "ok"), ("plan", "ok"), ("score", "ok")];
    let shadow = sending(&gateway, "drift/loans?version=3&role=shadow", all(expected));
    assert_eq!((&shadow["profile_state"], &shadow["report"]), (&json!("warming"), &Value::Null));
    let narrow = get(&gateway, "drift/loans?version=4").json();
    let reason = narrow["against"]["incomparable"][0]["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("'plan': the model has no input 'plan'"), "{reason}");

    let champion = get(&gateway, "drift/loans").json();
    assert_eq!((&champion["version"], &champion["against"]), (&json!(1), &Value::Null));
    let document = get(&gateway, "openapi.json").json();
    let schema = json!({"$ref": "#/components/schemas/VersionDrift"});
    for shown in [&candidate, &shadow, &narrow, &champion] {
        assert_described(&document, &schema, shown, "drift");
    }

    let told = drift(&gateway, &["loans", "--version", "2"]).stdout;
    let (_, told) = told.split_once("against   version 1, the champion, ").expect("both");
    let worst = told.lines().nth(3).expect("a row");
    assert!(worst.starts_with("score    1h      drifted"), "{told}");
    let told = drift(&gateway, &["loans", "--version", "4"]).stdout;
    assert!(told.contains("not compared: 'plan': the model has no input 'plan'"), "{told}");
}

#[test]
fn a_new_champion_is_what_others_are_compared_with() {
    let (gateway, _registry) = start();
    let champion_of = |version: u64, champion: Value| {
        let path = format!("drift/loans?version={version}");
        until(&gateway, &path, |drift| drift["against"]["champion"] == champion)
    };
    champion_of(2, json!(1));
    champion_of(3, json!(1));
    let body = json!({"actor": "ada", "variant": "candidate"}).to_string();
    let promote = Request::post("/admin/v1/routes/loans/promote", body)
        .header("host", "localhost")
        .header("content-type", "application/json");
    let reply = promote.send(gateway.admin);
    assert_eq!(reply.status, 200, "{}", reply.text());
    champion_of(1, json!(2));
    champion_of(3, json!(2));
    champion_of(2, Value::Null);
}
