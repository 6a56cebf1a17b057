//! Every row that was answered is counted, and nothing else.

use std::io::Write;
use std::process::{Command, Stdio};

use modelgate::types::Code;
use serde_json::json;

use super::*;

fn start(models: &Registry, config: &str) -> Gateway {
    Launch::new().models(models.path()).config(config).start()
}

#[test]
fn counts_are_exactly_what_was_sent() {
    let models = Registry::new();
    profiled(models.path(), 1);
    let gateway = start(&models, "");
    let before = Scrape::of(gateway.ops);
    assert_eq!(before.sum("modelgate_drift_profile_state", &[("state", "active")]), 1.0);
    let bins_of_age = before.names().filter(|name| {
        name.starts_with("modelgate_drift_observations_total") && name.contains("\"age\"")
    });
    assert_eq!(bins_of_age.count(), 3, "before the first row");

    // Each face counts alike.
    for face in Face::ALL {
        ask(&gateway, face, &[(10.0, 2.0, "a"), (30.0, 4.0, "b"), (50.0, 3.0, "c")]);
    }
    ask(&gateway, Face::Grpc, &[(-5.0, 7.0, "never"), (100.0, 2.0, ""), (f32::NAN, 2.0, "a")]);
    ask(&gateway, Face::Binary, &[(f32::INFINITY, f32::NAN, "a")]);
    // What is not asked for is not answered, and what is refused even less.
    predict(&[(20.0, 2.0, "a")]).wanting(&["same"]).ask(&gateway, Face::Json).expect("an answer");
    let mut refused = predict(&[(20.0, 2.0, "a")]);
    refused.inputs.pop();
    refused
        .ask(&gateway, Face::Json)
        .expect_err("an input is missing")
        .assert_is(Code::InvalidArgument);
    // Many rows are counted by a thread of their own.
    let many: Vec<Row<'_>> = (0..600).map(|row| ((row % 60) as f32, 4.0, "b")).collect();
    ask(&gateway, Face::Binary, &many);

    let seen = |scrape: &Scrape| bins(scrape, &[("feature", "age")], 3).iter().sum::<f64>();
    let scrape = page_where(&gateway, "all rows", |scrape| seen(scrape) >= 612.0);
    let of = |feature| bins(&scrape, &[("feature", feature), ("role", "primary")], 3);
    // Below 20, from 20 on, from 40 on: an edge belongs to the bin above.
    assert_eq!(of("age"), [3.0 + 1.0 + 200.0, 3.0 + 1.0 + 200.0, 3.0 + 1.0 + 200.0]);
    assert_eq!(of("doors"), [3.0 + 2.0 + 1.0, 3.0 + 600.0, 3.0 + 1.0]);
    assert_eq!(of("plan"), [3.0 + 1.0 + 1.0 + 1.0, 3.0 + 600.0, 3.0 + 1.0]);
    // The negative of every age but that of the answer that lacks it.
    let older = of("older");
    assert_eq!(older.iter().sum::<f64>(), 611.0);
    assert_eq!(older[0], 3.0 + 1.0 + 190.0, "from 40 on, without 40 itself");
    let rate = |family: &str, labels: &[(&str, &str)]| {
        scrape.sum(&format!("modelgate_drift_{family}_total"), labels)
    };
    assert_eq!(rate("missing", &[("feature", "age")]), 1.0);
    assert_eq!(rate("missing", &[("feature", "plan")]), 1.0);
    assert_eq!(rate("missing", &[("feature", "doors")]), 1.0);
    assert_eq!(rate("invalid", &[("feature", "age"), ("reason", "infinite")]), 1.0);
    assert_eq!(rate("invalid", &[("reason", "unreadable")]), 0.0);
    assert_eq!(rate("out_of_range", &[("feature", "age"), ("side", "below")]), 1.0);
    assert_eq!(rate("out_of_range", &[("feature", "age"), ("side", "above")]), 1.0);
    assert_eq!(rate("new_category", &[("feature", "doors")]), 1.0, "7; 3 is known");
    assert_eq!(rate("new_category", &[("feature", "plan")]), 1.0, "c is known");
    assert_eq!(rate("dropped", &[]), 0.0);
    // Doors between 2 and 4 as 0 to 1: those of 4, half of those of 3, and 7 as one of 4.
    let scaled = rate("scaled_sum", &[("feature", "doors")]);
    assert_eq!(scaled, 603.0 + 3.0 * 0.5 + 1.0);
    assert!(!scrape.names().any(|name| name.contains("drift") && name.contains("role=\"shadow\"")));
    assert_promtool_accepts(&gateway);
}

#[track_caller]
fn assert_promtool_accepts(gateway: &Gateway) {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/prometheus/promtool");
    assert!(program.exists(), "{} is missing: run `make setup-tests`", program.display());
    let mut child = Command::new(program)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    let page = support::http::get(gateway.ops, "/metrics").body;
    child.stdin.take().expect("a pipe").write_all(&page).expect("written");
    let output = child.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

/// What a shadow is shown and answers has a role of its own.
#[test]
fn a_shadow_is_counted_apart() {
    let models = Registry::new();
    profiled(models.path(), 1);
    profiled(models.path(), 2);
    let gateway = start(&models, "");
    let spec = json!({
        "shadow": {"version": 1, "percent": 100, "cpuPercent": 100}, "variants": [],
    });
    let document = json!({
        "apiVersion": "modelgate.dev/v1", "kind": "Route", "metadata": {"name": "person"},
        "spec": spec,
    });
    post(&gateway, "routes", json!({"routes": [document]}));
    let shadow = |feature| [("feature", feature), ("role", "shadow"), ("version", "1")];
    let primary = [("feature", "age"), ("role", "primary")];
    let mut sent = 0.0;
    // Shadows are run where there is time for it, and those that are not ready miss some.
    let scrape = page_where(&gateway, "rows of the shadow", |_| {
        ask(&gateway, Face::Json, &[(10.0, 2.0, "a"), (30.0, 4.0, "b")]);
        sent += 1.0;
        let settled = |scrape: &Scrape| {
            let compared =
                scrape.sum("modelgate_shadow_requests_total", &[("outcome", "compared")]);
            compared > 0.0 && bins(scrape, &shadow("age"), 3) == [compared, compared, 0.0]
        };
        settled(&Scrape::of(gateway.ops)) && settled(&Scrape::of(gateway.ops))
    });
    let answered = bins(&scrape, &[&primary[..], &[("version", "2")]].concat(), 3);
    assert_eq!(answered, [sent, sent, 0.0]);
    assert_eq!(bins(&scrape, &[&primary[..], &[("version", "1")]].concat(), 3), [0.0; 3]);
    let mirrored = bins(&scrape, &shadow("age"), 3);
    assert!(mirrored[0] > 0.0 && mirrored[0] <= sent, "{mirrored:?} of {sent}");
    // Its answers as well.
    let older = bins(&scrape, &shadow("older"), 3);
    assert_eq!(older.iter().sum::<f64>(), mirrored[0] + mirrored[1]);
}

/// The look at the counts: only the column that changed is alarmed.
#[test]
fn the_column_that_drifts_is_alarmed() {
    let models = Registry::new();
    profiled(models.path(), 1);
    let gateway = start(&models, "drift: {every_ms: 100, hold_ms: 0, windows_ms: [3600000]}");
    // Ages are as they were, and so is what is answered; all plans are 'b'.
    let rows: Vec<Row<'_>> = (0..1500)
        .map(|row| {
            let age = match row % 15 {
                0..5 => 10.0,
                5..12 => 30.0,
                _ => 50.0,
            };
            (age, if row % 150 < 80 { 2.0 } else { 4.0 }, "b")
        })
        .collect();
    rows.chunks(50).for_each(|rows| ask(&gateway, Face::Binary, rows));
    let alarm = |scrape: &Scrape, feature| {
        let labels = [("feature", feature), ("role", "primary"), ("window", "1h")];
        scrape.sum("modelgate_drift_alarm", &labels)
    };
    let sum = |scrape: &Scrape, family: &str, feature: &str| {
        scrape.sum(&format!("modelgate_drift_{family}"), &[("feature", feature)])
    };
    let scrape = page_where(&gateway, "the alarm", |scrape| alarm(scrape, "plan") == 1.0);
    for feature in ["age", "doors", "older"] {
        assert_eq!(alarm(&scrape, feature), 0.0, "{feature}");
    }
    // The look that saw all of them.
    let scrape = page_where(&gateway, "the whole effect", |scrape| {
        sum(scrape, "psi", "plan") > sum(scrape, "psi", "age")
            && sum(scrape, "psi_adjusted", "age") == 0.0
            && scrape.sum("modelgate_drift_features", &[("state", "ok")]) == 3.0
    });
    assert!(sum(&scrape, "psi_adjusted", "plan") > 0.5);
    assert!(sum(&scrape, "evidence_log10", "plan") > 5.0);
    assert!(sum(&scrape, "evidence_log10", "age") < 5.0);
    assert_eq!(scrape.sum("modelgate_drift_features", &[("state", "drifted")]), 1.0);
}
