//! What a file may say, and what its author is told.

use std::path::PathBuf;

use serde_json::Value;

use super::*;

fn parse(yaml: &str) -> Result<Config, ConfigError> {
    Config::parse(yaml, "test.yaml")
}

const EXAMPLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/modelgate.example.yaml"));

#[test]
fn the_example_holds_every_key_with_its_default() {
    assert_eq!(parse(EXAMPLE).expect("valid"), Config::default());
    let example: Value = serde_saphyr::from_str(EXAMPLE).expect("YAML");
    let defaults = serde_json::to_value(Config::default()).expect("JSON");
    assert_same_keys("", &example, &defaults);
}

fn assert_same_keys(path: &str, example: &Value, defaults: &Value) {
    let (Value::Object(example), Value::Object(defaults)) = (example, defaults) else { return };
    for (key, value) in defaults {
        let path = format!("{path}.{key}");
        let shown = example.get(key).unwrap_or_else(|| panic!("{path} is missing"));
        assert_same_keys(&path, shown, value);
    }
}

#[test]
fn nothing_said_means_the_defaults() {
    for yaml in ["", "# only a comment\n", "server:\n", "models:\n  overrides:\n", "---\n"] {
        assert_eq!(parse(yaml).expect("valid"), Config::default(), "{yaml:?}");
    }
}

#[test]
fn mistakes_are_shown_where_they_are() {
    type Mistake = (&'static str, (usize, usize), &'static str, &'static str, Option<&'static str>);
    let mistakes: &[Mistake] = &[
        // YAML, place, key, part of the message, suggestion
        (
            "limits:\n  max_body_byte: 5\n",
            (2, 3),
            "limits.max_body_byte",
            "unknown key 'max_body_byte', expected one of max_body_bytes, ",
            Some("max_body_bytes"),
        ),
        ("sever: {}\n", (1, 1), "sever", "unknown key", Some("server")),
        ("zzz: 1\n", (1, 1), "zzz", "expected one of server, limits", None),
        (
            "models:\n  defaults: {execution: lanes}\n",
            (2, 25),
            "models.defaults.execution",
            "expected one of auto, inline, turn, lane, got 'lanes'",
            Some("lane"),
        ),
        (
            "limits:\n  max_inputs: 1\n  max_outputs: 2\n  max_inputs: 3\n",
            (4, 3),
            "",
            "'max_inputs' stands here a second time",
            None,
        ),
        (
            "models:\n  overrides:\n    a: {}\n    a: {}\n",
            (4, 5),
            "",
            "'a' stands here a second time",
            None,
        ),
        (
            "limits:\n  max_headers: many\n",
            (2, 16),
            "limits.max_headers",
            "expected a whole number",
            None,
        ),
        ("limits:\n  max_headers: -1\n", (2, 16), "limits.max_headers", "not negative", None),
        (
            "server:\n  reflection: maybe\n",
            (2, 15),
            "server.reflection",
            "expected true or false",
            None,
        ),
        ("server: 5\n", (1, 9), "server", "expected mapping", None),
        (
            "server:\n  http: localhost:8000\n",
            (2, 9),
            "server.http",
            "'localhost:8000': invalid socket address",
            None,
        ),
        (
            "server:\n  http: ${MODELGATE_TEST_UNSET}\n",
            (2, 9),
            "server.http",
            "MODELGATE_TEST_UNSET is not set",
            None,
        ),
        ("server:\n\thttp: x\n", (2, 2), "", "tabs", None),
        ("server: {threads: 1\n", (1, 9), "", "unclosed", None),
        (
            "limits:\n  max_headers: 0\n",
            (2, 16),
            "limits.max_headers",
            "expected 8 to 4096, got 0",
            None,
        ),
        (
            "limits:\n  max_body_bytes: 1073741824\n  max_bytes_in_flight: 1048576\n",
            (3, 24),
            "limits.max_bytes_in_flight",
            "at least limits.max_body_bytes (1073741824)",
            None,
        ),
        (
            "limits:\n  max_body_bytes: 1073741824\n",
            (0, 0),
            "limits.max_bytes_in_flight",
            "at least limits.max_body_bytes (1073741824)",
            None,
        ),
        (
            "server:\n  grpc: 127.0.0.1:8000\n",
            (2, 9),
            "server.grpc",
            "is the address of server.http already",
            None,
        ),
        (
            "server:\n  admin: 127.0.0.1:8002\n",
            (2, 10),
            "server.admin",
            "is the address of server.metrics already",
            None,
        ),
        (
            "server:\n  admin: 0.0.0.0:8003\n",
            (2, 10),
            "server.admin",
            "expected a loopback address such as 127.0.0.1:8003, got 0.0.0.0:8003",
            None,
        ),
        (
            "server:\n  shutdown:\n    grace_ms: 99999999\n",
            (3, 15),
            "server.shutdown.grace_ms",
            "expected 0 to 3600000",
            None,
        ),
        (
            "models:\n  overrides:\n    my.model:\n      lanes: 0\n",
            (4, 14),
            "models.overrides.my.model.lanes",
            "expected 1 to 256, got 0",
            None,
        ),
        (
            "models:\n  overrides:\n    ../x: {}\n",
            (3, 11),
            "models.overrides.../x",
            "is not a model name",
            None,
        ),
        (
            "models:\n  defaults:\n    versions: {specific: [3, 0]}\n",
            (3, 30),
            "models.defaults.versions.specific.1",
            "expected 1 to",
            None,
        ),
        (
            "models:\n  defaults:\n    versions: {latst: 2}\n",
            (3, 16),
            "models.defaults.versions.latst",
            "expected one of all, latest, specific",
            Some("latest"),
        ),
        (
            "telemetry:\n  log_level: modelgate=loud\n",
            (2, 14),
            "telemetry.log_level",
            "is not a log filter",
            None,
        ),
    ];
    for (yaml, place, key, message, suggestion) in mistakes {
        let error = parse(yaml).expect_err(yaml);
        let invalid = error.invalid().expect("read, but invalid");
        assert_eq!((invalid.line, invalid.column), *place, "{error}");
        assert_eq!(invalid.key, *key, "{error}");
        assert!(invalid.message.contains(message), "{message:?} is not in: {error}");
        assert_eq!(invalid.suggestion.as_deref(), *suggestion, "{error}");
    }
}

#[test]
fn a_mistake_reads_well() {
    let error = parse("# mine\nlimits:\n  max_body_byte: 5\n").expect_err("unknown key");
    let text = error.to_string();
    assert!(
        text.starts_with("test.yaml:3:3: limits.max_body_byte: unknown key 'max_body_byte', "),
        "{text}"
    );
    assert!(
        text.ends_with(
            "; did you mean 'max_body_bytes'?\n    2 | limits:\n    3 |   max_body_byte: 5\n      |   ^"
        ),
        "{text}"
    );
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Path::new("/nonexistent/modelgate.yaml")).expect_err("no file");
    assert!(error.to_string().starts_with("cannot read /nonexistent/modelgate.yaml: "), "{error}");
}

#[test]
fn strings_refer_to_the_environment_and_to_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("level");
    std::fs::write(&secret, "debug\n").expect("written");
    let yaml = format!(
        "server:\n  http: \"${{MODELGATE_TEST_UNSET:-0.0.0.0:9000}}\"\n\
         models:\n  dir: ${{CARGO_MANIFEST_DIR}}/models\n\
         telemetry:\n  log_level: ${{file:{}}}\n",
        secret.display()
    );
    let config = parse(&yaml).expect("valid");
    assert_eq!(config.server.http.to_string(), "0.0.0.0:9000");
    assert_eq!(
        config.models.dir,
        Some(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/models")))
    );
    assert_eq!(config.telemetry.log_level, "debug");
}

#[test]
fn what_a_reference_stands_for_is_not_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "hunter2").expect("written");
    let yaml = format!("server:\n  http: ${{file:{}}}\n", secret.display());
    let text = parse(&yaml).expect_err("no address").to_string();
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn the_closest_to_the_model_wins_but_the_operator_has_the_last_word() {
    let config = parse(
        "onnxruntime: {arena: true}\n\
         models:\n  defaults: {lanes: 2, max_batch_rows: 8}\n\
         \x20 overrides:\n    m:\n      lanes: 4\n      onnxruntime: {intra_op_threads: 3}\n",
    )
    .expect("valid");
    let own: ModelOptions = parse::parse(
        "lanes: 3\nqueue_requests: 7\nonnxruntime: {optimization: basic, intra_op_threads: 2}\n\
         batching: off\nversions: {specific: [1, 3]}\nlabels: {p: [cat, dog]}\n",
        "model.yaml",
    )
    .expect("valid");
    let name = |name| ModelName::parse(name).expect("a name");

    let settings = config.model_settings(&name("m"), Some(&own));
    let serving = &settings.serving;
    assert_eq!((serving.lanes, serving.queue_requests, serving.max_batch_rows), (4, 7, 8));
    assert_eq!(serving.batching, Batching::Off);
    assert_eq!(serving.versions, Versions::Specific(vec![1, 3]));
    let session = SessionOptions {
        intra_op_threads: 3,
        spinning: false,
        arena: true,
        optimization: Optimization::Basic,
    };
    assert_eq!(settings.session, session);
    assert_eq!(settings.labels["p"], ["cat", "dog"]);

    let other = config.model_settings(&name("other"), None);
    assert_eq!((other.serving.lanes, other.serving.queue_requests), (2, 512));
}

#[test]
fn a_models_own_file_is_checked_like_the_rest() {
    let parse = |yaml| parse::parse::<ModelOptions>(yaml, "model.yaml");
    for (yaml, key) in [
        ("max_batch_row: 1\n", "max_batch_row"),
        ("lanes: 0\n", "lanes"),
        ("onnxruntime: {intra_op_threads: 5000}\n", "onnxruntime.intra_op_threads"),
        ("labels: {p: []}\n", "labels.p"),
        ("versions: {latest: 0}\n", "versions.latest"),
    ] {
        let error = parse(yaml).expect_err(yaml);
        let invalid = error.invalid().expect("read, but invalid");
        assert_eq!((invalid.key.as_str(), invalid.line), (key, 1), "{error}");
    }
    assert_eq!(parse("").expect("valid"), ModelOptions::default());
}

#[test]
fn policies_of_the_prediction_log_are_read_and_checked() {
    let parsed = |text: &str| Config::parse(text, "file");
    let config = parsed(
        "predictions:\n  defaults: {level: off}\n  models:\n    m: {level: fsync, features: {a: {bin: [1, 2]}, b: \
         {truncate: 3}, c: hash}, principal: {header: X-User}}",
    )
    .expect("valid");
    assert!(config.predictions.records_anything());
    let name = ModelName::parse("m").expect("a name");
    let policy = config.predictions.policy(&name, &BTreeMap::new());
    assert_eq!(policy.level, crate::predictions::Level::Fsync);
    assert_eq!(policy.features.len(), 3);
    assert!(policy.principal.is_some_and(|(header, _)| header == "x-user"));
    for (text, expected) in [
        ("defaults: {sample: 1.5}", "predictions.defaults.sample"),
        ("models: {m: {features: {a: {bin: [2, 1]}}}}", "predictions.models.m.features.a"),
        ("models: {m: {unit: digest}}", "predictions.models.m.unit"),
        ("hash_key: short", "predictions.hash_key"),
        ("defaults: {principal: {header: 'a b'}}", "principal.header"),
    ] {
        let error = parsed(&format!("predictions:\n  {text}")).expect_err("invalid").to_string();
        assert!(error.contains(expected), "{error}");
    }
    let shown = super::shown(&parsed("predictions: {hash_key: 0123456789abcdef}").expect("valid"));
    assert!(!format!("{shown:?}").contains("0123456789abcdef"));
}
