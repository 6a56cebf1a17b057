//! The program, run against a server whose faults are known.

mod support;

use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Fate, loadtest, server};

fn well(_: u64, _: Duration) -> Fate {
    Fate::Answer
}

fn every_other_refused(number: u64, _: Duration) -> Fate {
    if number % 2 == 1 { Fate::Refuse } else { Fate::Answer }
}

const STALL: std::ops::Range<Duration> = Duration::from_millis(700)..Duration::from_millis(1300);

/// Whoever comes during the stall waits for its end.
fn stalls_once(_: u64, since: Duration) -> Fate {
    if STALL.contains(&since) { Fate::AnswerAfter(STALL.end - since) } else { Fate::Answer }
}

fn number(report: &Value, pointer: &str) -> f64 {
    report.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{pointer}: {report}"))
}

#[test]
fn open_loop_charges_a_stall_to_every_request_due_meanwhile() {
    let args = "--model m --rate 200 --connections 2 --duration 2s --warmup 0s";
    let run = loadtest(server(stalls_once), args);
    let (report, total) = (&run.report, &run.report["total"]);
    assert_eq!(report["latency_from"], "schedule");
    // No request of the schedule is left out.
    assert_eq!(total["requests"], 400, "{report}");
    // 120 of 400 were due during the stall and waited up to its 600 ms, on average half of it.
    assert!(number(report, "/total/latency_ms/p99") > 500.0, "{report}");
    assert!(number(report, "/total/latency_ms/p90") > 300.0, "{report}");
    assert!(number(report, "/total/latency_ms/p50") < 100.0, "{report}");
    // Only the two that were on the wire saw it from there.
    assert!(number(report, "/total/service_ms/p99") < 100.0, "{report}");
    assert!(number(report, "/total/service_ms/max") > 500.0, "{report}");
}

#[test]
fn closed_loop_says_that_it_leaves_a_stall_out() {
    let run = loadtest(server(stalls_once), "--model m --duration 2s --warmup 0s");
    assert_eq!(run.report["latency_from"], "sending");
    assert_eq!(number(&run.report, "/total/late_ms/max"), 0.0);
    assert!(number(&run.report, "/total/latency_ms/p99") < 100.0, "{}", run.report);
    assert!(number(&run.report, "/total/latency_ms/max") > 500.0, "{}", run.report);
}

#[test]
fn every_wire_form_is_understood() {
    let server = server(well);
    let how = ["--concurrency 4 --threads 2", "--rate 300"];
    for protocol in ["http-json", "http-binary", "grpc"] {
        for how in how {
            let args =
                format!("--model m --protocol {protocol} {how} --duration 300ms --warmup 100ms");
            let run = loadtest(server, &args);
            assert_eq!(run.code, 0, "{args}: {}{}", run.stderr, run.report);
            assert!(number(&run.report, "/total/ok") > 50.0, "{args}: {}", run.report);
            assert_eq!(run.report["total"]["failed"], 0, "{args}: {}", run.report);
        }
    }
}

#[test]
fn file_replaces_made_up_inputs_in_every_form() {
    let server = server(well);
    let path = std::env::temp_dir().join(format!("loadtest-input-{}.json", std::process::id()));
    let body = r#"{"inputs":[
        {"name":"x","datatype":"FP32","shape":[2,3],"data":[1,2,3,4,5,6.5]},
        {"name":"words","datatype":"BYTES","shape":[2,4],"data":["a","b","c","d","e","f","g","h"]}]}"#;
    std::fs::write(&path, body).unwrap();
    for protocol in ["http-json", "http-binary", "grpc"] {
        let args = format!(
            "--model m --protocol {protocol} --input {} --duration 100ms --warmup 0s",
            path.display()
        );
        let run = loadtest(server, &args);
        assert_eq!((run.code, &run.report["total"]["failed"]), (0, &0.into()), "{}", run.stderr);
    }
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn refused_requests_are_counted_by_code_and_timed_apart() {
    for (protocol, code) in [("http-json", "http_503"), ("grpc", "unavailable")] {
        let args = format!("--model m --protocol {protocol} --rate 100 --duration 1s --warmup 0s");
        let run = loadtest(server(every_other_refused), &args);
        let total = &run.report["total"];
        assert_eq!((&total["ok"], &total["failed"]), (&50.into(), &50.into()), "{total}");
        assert_eq!(total["errors"][code]["count"], 50, "{total}");
        let example = total["errors"][code]["example"].as_str().unwrap();
        assert!(example.contains("full"), "{example}");
        assert!(number(total, "/failed_ms/max") > 0.0);
        assert_eq!(run.code, 0, "no threshold was given");
    }
}

#[test]
fn broken_threshold_exits_1_and_says_which() {
    let server = server(every_other_refused);
    let cases = [
        ("--max-p50-ms 0.0001", "p50"),
        ("--max-p99-ms 0.0001", "p99"),
        ("--max-errors 3", "requests failed"),
        ("--max-errors 10%", "of all requests failed"),
        ("--min-rate 1000", "OK answers per second"),
    ];
    for (threshold, words) in cases {
        let args = format!("--model m --rate 100 --duration 200ms --warmup 0s {threshold}");
        let run = loadtest(server, &args);
        assert_eq!((run.code, &run.report["passed"]), (1, &false.into()), "{threshold}");
        assert!(run.report["broken"][0].as_str().unwrap().contains(words), "{}", run.report);
    }
    let args = "--model m --rate 100 --duration 200ms --warmup 0s \
                --max-p99-ms 5000 --max-errors 51% --min-rate 10";
    assert_eq!(loadtest(server, args).code, 0);
}

#[test]
fn silent_server_ends_in_timeouts_within_bounds() {
    let begun = Instant::now();
    let args =
        "--model m --rate 1000 --connections 2 --duration 500ms --warmup 0s --timeout-ms 200";
    let run = loadtest(server(|_, _| Fate::Never), args);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(run.code, 1);
    let total = &run.report["total"];
    assert_eq!((&total["requests"], &total["ok"]), (&500.into(), &0.into()), "{total}");
    // Which of the two a request meets is a matter of how the machine schedules.
    let count = |code: &str| total["errors"][code]["count"].as_f64().unwrap_or(0.0);
    assert_eq!(count("timeout") + count("unsent"), 500.0, "{total}");
}

#[test]
fn models_share_the_load_by_weight() {
    let args = "--model a=3 --model b:2 --rate 1000 --duration 1s --warmup 0s --timeline";
    let run = loadtest(server(well), args);
    let models = &run.report["models"];
    assert_eq!((&models[0]["name"], &models[1]["version"]), (&"a".into(), &"2".into()));
    let first = number(models, "/0/requests");
    assert!((700.0..800.0).contains(&first), "{models}");
    assert_eq!(first + number(models, "/1/requests"), 1000.0);
    assert_eq!(run.report["timeline"][0]["ok"], 1000, "{}", run.report["timeline"]);
}

#[test]
fn warm_up_is_sent_but_not_counted() {
    let args = "--model m --rate 100 --duration 300ms --warmup 200ms";
    let run = loadtest(server(well), args);
    assert_eq!(run.report["total"]["requests"], 30);
}

#[test]
fn unknown_model_and_bad_arguments_exit_2() {
    let server = server(well);
    for args in [
        "--model none",
        "--model none --protocol grpc",
        "",
        "--model m --rate 5 --concurrency 2",
        "--model m --streams 4",
        "--model m --duration 0s",
        "--model a --model b --input nowhere.json",
        "--model m --input /nonexistent",
    ] {
        let run = loadtest(server, args);
        assert_eq!(run.code, 2, "{args}: {}", run.stderr);
        assert!(!run.stderr.is_empty());
    }
}

#[test]
fn absent_server_exits_4() {
    let nobody = "127.0.0.1:1".parse().unwrap();
    for protocol in ["http-json", "grpc"] {
        let run = loadtest(nobody, &format!("--model m --protocol {protocol}"));
        assert_eq!(run.code, 4, "{}", run.stderr);
    }
}
