//! Labels of predictions on a started gateway, over HTTP, gRPC and the command
//! line, up to the scrape.

mod support;

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use modelgate::api::codec::feedback_pb as pb;
use modelgate::predictions::{Label, Truth};
use modelgate::types::DType;
use prost::Message;
use serde_json::{Value, json};
use support::gateway::{Gateway, Launch};
use support::grpc::Client;
use support::http::{Reply, Request};
use support::log;
use support::metrics::Scrape;
use support::predict::{Face, Predict, tensor};
use support::registry::Registry;
use support::zoo::{self, floats};

/// Far longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Models that answer with what they are given: `scores` of two classes, and a
/// number. Each test has versions or ids of its own.
static GATEWAY: LazyLock<(Gateway, Registry)> = LazyLock::new(|| {
    let scores = || zoo::unary("Identity", DType::Fp32, &["rows", "2"]);
    let number = zoo::unary("Identity", DType::Fp32, &["rows", "1"]);
    let registry = Registry::new()
        .model("scores", scores())
        .model("scores-grpc", scores())
        .model("windows", scores())
        .model("waits", scores())
        .model("command", scores())
        .model("number", number);
    let labels = "quality: {models: {scores: {labels: [ham, spam]}}}";
    (Launch::new().models(registry.path()).config(labels).start(), registry)
});

fn gateway() -> &'static Gateway {
    &GATEWAY.0
}

/// Predicts rows of two scores each under an id.
fn predict(model: &str, id: &str, face: Face, positives: &[f32]) {
    let scores: Vec<f32> = positives.iter().flat_map(|score| [1.0 - score, *score]).collect();
    let input = tensor("x", DType::Fp32, &[positives.len() as i64, 2], floats(&scores));
    let predicted = Predict::of(model, [input]).header("x-request-id", id).ask(gateway(), face);
    assert_eq!(predicted.expect("an answer").described[0], id);
}

fn post(body: &Value) -> Reply {
    Request::post("/v1/feedback", body.to_string()).send(gateway().http)
}

#[track_caller]
fn outcomes(body: &Value) -> Vec<String> {
    let reply = post(body);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let results = reply.json()["results"].clone();
    let results = results.as_array().expect("a list").iter();
    results.map(|result| result["outcome"].as_str().expect("an outcome").to_owned()).collect()
}

/// Scrapes until `family` with `labels` is `expected`.
#[track_caller]
fn until(family: &str, labels: &[(&str, &str)], expected: f64) -> Scrape {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let scrape = Scrape::of(gateway().ops);
        let got = scrape.sum(family, labels);
        if (got - expected).abs() < 1e-6 {
            return scrape;
        }
        assert!(Instant::now() < deadline, "{family}{labels:?} is {got}, not {expected}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn labels_of_every_kind_reach_the_scrape() {
    let of = [("model", "scores"), ("version", "1"), ("variant", "champion"), ("role", "primary")];
    let with = |more: &[(&'static str, &'static str)]| [&of[..], more].concat();
    for (id, face) in [("http-1", Face::Json), ("http-2", Face::Binary), ("http-3", Face::Grpc)] {
        predict("scores", id, face, &[0.9, 0.2, 0.6]);
    }
    // A name, a number, true; one wrong.
    assert_eq!(outcomes(&json!({"id": "http-1", "label": "spam"})), ["joined"]);
    assert_eq!(
        outcomes(&json!([
            {"request_id": "http-1", "row": 1, "label": 0, "label_time": "2026-11-21T12:00:00Z"},
            {"inference_id": "http-1", "row": 2, "label": false, "label_time": 1_790_000_000},
            {"id": "http-1", "row": 3, "label": 0},
            {"id": "http-1", "row": 0, "label": "spam"},
            {"id": "http-1", "row": 0, "reward": 2.5},
            {"id": "http-2", "score": 0.5},
            {"id": "http-2", "row": 1, "label": "eggs", "weight": 0.5},
        ])),
        ["joined", "joined", "no_such_row", "duplicate", "joined", "mismatched", "joined"]
    );
    // Row 2 was a spam after all; what is older than that changes nothing.
    let corrected = json!({"id": "http-1", "row": 2, "label": 1, "label_time": 1_790_000_001});
    assert_eq!(outcomes(&corrected), ["corrected"]);
    assert_eq!(
        outcomes(&json!({"id": "http-1", "row": 2, "label": 0, "label_time": 1})),
        ["duplicate"]
    );

    until("modelgate_quality_rows", &with(&[("window", "1h")]), 5.0);
    let scrape = until("modelgate_quality_correct_total", &of, 3.0);
    // Windows: rows 0 to 2 of the first are right, of weight 1 each; the eggs are not.
    for (family, more, expected) in [
        ("accuracy", &[("window", "1h")][..], 3.0 / 3.5),
        ("precision", &[("window", "24h"), ("average", "binary")], 1.0),
        ("recall", &[("window", "1h"), ("average", "binary")], 1.0),
        ("auc", &[("window", "1h")], 1.0),
        ("reward", &[("window", "1h")], 2.5),
        ("coverage", &[("window", "1h")], 4.0 / 9.0),
        ("predictions_total", &[], 9.0),
        ("labelled_total", &[], 4.0),
        ("corrections_total", &[], 1.0),
        ("outcomes_total", &[("predicted", "spam"), ("actual", "spam")], 2.0),
        ("outcomes_total", &[("predicted", "spam"), ("actual", "ham")], 1.0),
        ("outcomes_total", &[("predicted", "ham"), ("actual", "_other")], 0.5),
        ("scores_total", &[("actual", "1")], 2.0),
        ("scores_total", &[("actual", "0")], 2.0),
        ("logloss_count", &[], 4.0),
    ] {
        let family = format!("modelgate_quality_{family}");
        let got = scrape.sum(&family, &with(more));
        assert!((got - expected).abs() < 1e-6, "{family}{more:?}: {got}, not {expected}");
    }
    let accuracy = |family: &str| scrape.sum(family, &with(&[("window", "1h")]));
    let lower = accuracy("modelgate_quality_accuracy_lower");
    let upper = accuracy("modelgate_quality_accuracy_upper");
    assert!(
        lower > 0.2 && lower < 3.0 / 3.5 && upper > 3.0 / 3.5 && upper < 1.0,
        "{lower} {upper}"
    );
    for (outcome, count) in
        [("joined", 5.0), ("corrected", 1.0), ("duplicate", 2.0), ("mismatched", 1.0)]
    {
        let labels = [("model", "scores"), ("outcome", outcome)];
        assert_eq!(scrape.sum("modelgate_feedback_total", &labels), count, "{outcome}");
    }
    assert_eq!(scrape.sum("modelgate_feedback_delay_seconds_count", &[("model", "scores")]), 5.0);
    assert!(!scrape.names().any(|name| name.contains("eggs")), "no text of a label is a label");
}

#[test]
fn labels_may_come_before_their_predictions() {
    let body = json!([
        {"id": "early", "label": 1},
        {"id": "early", "row": 1, "label": 1},
        {"id": "never", "label": 1},
    ]);
    assert_eq!(outcomes(&body), ["pending", "pending", "pending"]);
    // An id that says that it was made in 2020.
    let late = json!({"id": "0174a2b6-7c00-7000-8000-000000000000", "label": 1});
    assert_eq!(outcomes(&late), ["late"]);
    predict("waits", "early", Face::Json, &[0.9, 0.1]);
    let of = [("model", "waits")];
    let scrape = until("modelgate_quality_labelled_total", &of, 2.0);
    assert_eq!(
        scrape.sum("modelgate_feedback_total", &[("model", "waits"), ("outcome", "joined")]),
        2.0
    );
    assert_eq!(outcomes(&json!({"id": "early", "label": 1})), ["duplicate"]);
}

#[test]
fn garbage_is_refused_whole_and_told() {
    predict("windows", "garbage", Face::Json, &[0.9, 0.1]);
    for (body, expected) in [
        (
            r#"[{"id": "garbage", "label": 1}, {"id": "garbage", "row": -1, "label": 1}]"#,
            "item 1: row: ",
        ),
        (r#"{"id": "garbage"}"#, "item 0: label: "),
        ("{", "the body: "),
        ("", "expected a JSON object"),
        ("[[[[[[[[", "the body: "),
    ] {
        let reply = Request::post("/v1/feedback", body).send(gateway().http);
        assert_eq!(reply.status, 400, "{body}");
        assert!(reply.error().starts_with(expected), "{body}: {}", reply.error());
    }
    assert_eq!(Request::get("/v1/feedback").send(gateway().http).status, 405);
    let large = vec![b' '; (64 << 20) + 1];
    assert_eq!(Request::post("/v1/feedback", large).send(gateway().http).status, 413);
    // Nothing of the refused batch was applied.
    assert_eq!(outcomes(&json!({"id": "garbage", "label": 0})), ["joined"]);
    let nested = format!("{}1{}", r#"{"id":"#.repeat(200), "}".repeat(200));
    assert_eq!(Request::post("/v1/feedback", nested).send(gateway().http).status, 400);
    gateway().assert_serves();
}

#[test]
fn grpc_says_the_same() {
    predict("scores-grpc", "grpc-1", Face::Grpc, &[0.9, 0.2]);
    let mut client = Client::connect(gateway().grpc);
    let mut submit = |items: Vec<pb::Item>| {
        let called =
            client.call("/modelgate.v1.Feedback/Submit", &[], &[pb::SubmitRequest { items }]);
        match called.code {
            0 => Ok(pb::SubmitResponse::decode(called.messages[0].clone()).expect("a response")),
            code => Err((code, called.message)),
        }
    };
    let item = |row: u32, truth: pb::item::Truth| pb::Item {
        id: "grpc-1".to_owned(),
        row,
        truth: Some(truth),
        label_time_us: Some(1_790_000_000_000_000),
        ..pb::Item::default()
    };
    use pb::item::Truth::{Boolean, Integer, Number, Reward, Text};
    let items = vec![
        item(0, Integer(1)),
        item(1, Boolean(false)),
        item(0, Number(1.0)),
        item(0, Reward(0.25)),
        pb::Item { label_time_us: Some(1_790_000_000_000_001), ..item(1, Text("1".to_owned())) },
        pb::Item { id: "unheard-of".to_owned(), ..item(0, Integer(1)) },
    ];
    let response = submit(items).expect("outcomes");
    let outcomes: Vec<pb::Outcome> =
        response.results.iter().map(|result| result.outcome()).collect();
    use pb::Outcome::{Corrected, Duplicate, Joined, Pending};
    assert_eq!(outcomes, [Joined, Joined, Duplicate, Joined, Corrected, Pending]);
    assert_eq!(response.results[4].row, 1);
    until("modelgate_quality_correct_total", &[("model", "scores-grpc")], 2.0);

    const INVALID: i32 = 3;
    let none = pb::Item { id: "grpc-1".to_owned(), ..pb::Item::default() };
    let (code, message) = submit(vec![none]).expect_err("no truth");
    assert_eq!(code, INVALID);
    assert!(message.starts_with("item 0: truth: "), "{message}");
    let (code, message) = submit(vec![item(0, Number(f64::NAN))]).expect_err("no number");
    assert_eq!((code, message.starts_with("item 0: label: ")), (INVALID, true), "{message}");
    let (code, _) = submit(vec![item(0, Integer(1)); 1001]).expect_err("too many");
    assert_eq!(code, INVALID);
}

#[test]
fn numbers_have_errors() {
    let input = tensor("x", DType::Fp32, &[3, 1], floats(&[1.0, 2.0, 3.0]));
    let number = Predict::of("number", [input]).id("number-1");
    number.ask(gateway(), Face::Json).expect("an answer");
    let body = json!([
        {"id": "number-1", "row": 0, "score": 4.0},
        {"id": "number-1", "row": 1, "label": 2},
        {"id": "number-1", "row": 2, "label": "2.0"},
    ]);
    assert_eq!(outcomes(&body), ["joined", "joined", "joined"]);
    let of = [("model", "number"), ("window", "1h")];
    let scrape = until("modelgate_quality_mae", &of, 4.0 / 3.0);
    for (family, expected) in [("rmse", (10.0f64 / 3.0).sqrt()), ("bias", -2.0 / 3.0)] {
        let got = scrape.sum(&format!("modelgate_quality_{family}"), &of);
        assert!((got - expected).abs() < 1e-9, "{family}: {got}");
    }
    let squared = scrape.sum("modelgate_quality_squared_error_sum", &[("model", "number")]);
    assert_eq!(squared, 10.0);
}

fn command(args: &[&str], stdin: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_modelgate"));
    command.env("MODELGATE_INFERENCE_URL", format!("http://{}", gateway().http));
    command.arg("feedback").args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    // It may end without reading.
    let _ = child.stdin.take().expect("a pipe").write_all(stdin.as_bytes());
    child.wait_with_output().expect("the program ends")
}

#[test]
fn the_command_line_sends_one_label_or_a_file() {
    predict("command", "command-1", Face::Json, &[0.9, 0.1, 0.2]);
    let ran = |args: &[&str], stdin: &str| {
        let output = command(args, stdin);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, err) = ran(&["--id", "command-1", "--label", "1"], "");
    assert_eq!((code, out.trim()), (Some(0), "joined"), "{err}");
    let (code, out, _) = ran(&["--id", "command-1", "--row", "9", "--reward", "-1"], "");
    assert_eq!((code, out.trim()), (Some(1), "no_such_row"));
    let lines: String = (0..3)
        .map(|row| json!({"id": "command-1", "row": row, "label": 1}).to_string() + "\n")
        .collect();
    let (code, out, _) = ran(&["--file", "-", "-o", "json"], &lines);
    let counts: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, counts), (Some(0), json!({"duplicate": 1, "joined": 2})));
    let (code, _, err) = ran(&["--file", "-"], "{\"id\": \"command-1\"}\n");
    assert_eq!(code, Some(1));
    assert!(err.contains("item 0: label"), "{err}");
    assert_eq!(ran(&["--file", "-"], "x\n").0, Some(3), "no JSON");
    assert_eq!(ran(&["--id", "command-1"], "").0, Some(2), "nothing said");
    assert_eq!(ran(&["--id", "a", "--label", "1", "--url", "http://127.0.0.1:1"], "").0, Some(4));
}

/// The labels of each level as the log holds them when they have been answered.
#[test]
fn labels_are_in_the_log_before_they_are_answered() {
    for level in ["process", "fsync"] {
        let registry =
            Registry::new().model("m", zoo::unary("Identity", DType::Fp32, &["rows", "2"]));
        let data = tempfile::tempdir().expect("a folder");
        let config = format!(
            "predictions:\n  segment_age_ms: 3600000\n  defaults: {{level: {level}, on_failure: strict}}"
        );
        let launch = Launch::new().models(registry.path()).data(data.path()).config(&config);
        let gateway = launch.start();
        let body = json!([
            {"id": "a", "label": "cat", "label_time": 7},
            {"id": "a", "row": 3, "reward": -0.5, "weight": 2, "model": "m"},
        ]);
        let reply = Request::post("/v1/feedback", body.to_string()).send(gateway.http);
        assert_eq!(reply.status, 200, "{}", reply.text());
        gateway.signal(rustix::process::Signal::KILL);
        let labels: Vec<Label> =
            log::labels(&data.path().join("predictions")).into_values().collect();
        assert_eq!(labels.len(), 2, "{level}: {labels:#?}");
        assert_eq!((labels[0].label_time, labels[1].row), (7_000_000, 3));
        assert_eq!(labels[0].truth, Truth::Class("cat".to_owned()));
        assert_eq!((&labels[1].truth, labels[1].weight), (&Truth::Reward(-0.5), 2.0));
    }
}

#[test]
fn shadows_are_judged_beside_their_primary() {
    let registry = Registry::new()
        .version("m", 1, &zoo::unary("Identity", DType::Fp32, &["rows", "2"]).model())
        .version("m", 2, &zoo::unary("Neg", DType::Fp32, &["rows", "2"]).model())
        .options("m", "versions: all");
    let route = "routes:\n- apiVersion: modelgate.dev/v1\n  kind: Route\n  metadata: {name: r}\n  \
        spec:\n    model: m\n    variants: [{name: champion, version: 1}]\n    \
        shadow: {version: 2, percent: 100, cpuPercent: 100}\n";
    let gateway = Launch::new().models(registry.path()).config(route).start();
    let input = tensor("x", DType::Fp32, &[1, 2], floats(&[0.1, 0.9]));
    let asked = Predict::of("r", [input]).header("x-request-id", "both");
    asked.ask(&gateway, Face::Json).expect("an answer");
    let deadline = Instant::now() + PATIENCE;
    let of_shadow = [("model", "m"), ("version", "2"), ("variant", "shadow"), ("role", "shadow")];
    while Scrape::of(gateway.ops).sum("modelgate_quality_predictions_total", &of_shadow) < 1.0 {
        assert!(Instant::now() < deadline, "the shadow's answer is not there");
        std::thread::sleep(Duration::from_millis(20));
    }
    let body = r#"{"id": "both", "label": 1}"#;
    let reply = Request::post("/v1/feedback", body).send(gateway.http);
    assert_eq!(reply.json()["results"][0]["outcome"], "joined");
    loop {
        let scrape = Scrape::of(gateway.ops);
        let labelled = scrape.sum("modelgate_quality_labelled_total", &[("model", "m")]);
        if labelled >= 2.0 {
            // The shadow negates the scores: it predicts the other class.
            let right = |role| {
                scrape.sum("modelgate_quality_correct_total", &[("model", "m"), ("role", role)])
            };
            assert_eq!((right("primary"), right("shadow")), (1.0, 0.0));
            break;
        }
        assert!(Instant::now() < deadline, "the labels are not there");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn quality_can_be_turned_off() {
    let registry = Registry::new().model("m", zoo::unary("Identity", DType::Fp32, &["rows", "2"]));
    let launch = Launch::new().models(registry.path()).config("quality: {enabled: false}");
    let gateway = launch.start();
    let reply = Request::post("/v1/feedback", r#"{"id": "a", "label": 1}"#).send(gateway.http);
    assert_eq!(reply.status, 409, "{}", reply.text());
    assert!(reply.error().contains("turned quality off"), "{}", reply.error());
}
