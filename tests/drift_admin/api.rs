//! The calls under `/admin/v1/drift`.

use serde_json::{Value, json};

use crate::support::gateway::Launch;
use crate::support::openapi::assert_described;
use crate::support::registry::Registry;
use crate::world::{HOSTILE, ROWS, drifted, get, loans};

#[track_caller]
fn answer(path: &str) -> Value {
    let reply = get(drifted(), path);
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    reply.json()
}

fn feature<'a>(drift: &'a Value, name: &str) -> &'a Value {
    let features = drift["report"]["features"].as_array().expect("features");
    features.iter().find(|feature| feature["name"] == name).expect("the feature")
}

#[test]
fn every_version_is_told_at_a_glance() {
    let overview = answer("drift");
    assert_eq!(overview["enabled"], true);
    let versions = overview["versions"].as_array().expect("versions");
    let named: Vec<String> = versions
        .iter()
        .map(|one| {
            format!(
                "{} {} {} {}",
                one["model"], one["version"], one["default"], one["profile_state"]
            )
        })
        .collect();
    assert_eq!(
        named,
        [
            r#""loans" 1 false "none""#,
            r#""loans" 2 true "active""#,
            r#""plain" 1 true "warming""#,
            r#""silent" 1 true "active""#,
        ]
    );
    let reason = versions[0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("the model has no input 'salaries'"), "{reason}");
    let profile = &versions[1]["profile"];
    assert_eq!((&profile["source"], &profile["rows"]), (&json!("sidecar"), &json!(2000)));
    assert_eq!(profile["created"], "2026-11-01T00:00:00Z");
    let digest = profile["digest"].as_str().expect("a digest");
    assert!(digest.contains(profile["id"].as_str().expect("an id")), "{profile}");
    let role = &versions[1]["roles"][0];
    assert_eq!((&role["role"], &role["state"]), (&json!("primary"), &json!("drifted")));
    assert_eq!((&role["features"], &role["worst"][0]["name"]), (&json!(4), &json!("age")));
    assert_eq!(versions[3]["roles"], json!([]), "no rows came");
}

#[test]
fn one_version_is_told_whole() {
    let drift = answer("drift/loans");
    assert_eq!((&drift["version"], &drift["default"]), (&json!(2), &json!(true)));
    assert_eq!(drift["report"]["features"][0]["name"], "age", "the worst first");
    let age = feature(&drift, "age");
    let window = &age["windows"][0];
    assert_eq!(window["counts"], json!([0, 0, 0, ROWS]));
    assert_eq!(age["state"], "drifted");
    let references: Vec<&Value> =
        age["bins"].as_array().expect("bins").iter().map(|bin| &bin["reference"]).collect();
    assert_eq!(references, [500, 500, 500, 500]);
    assert!(window["score"]["psi_adjusted"].as_f64().expect("a number") > 1.0, "{window}");
    assert!(window["score"]["p"].as_f64().expect("a number") < 1e-100, "{window}");
    let (income, plan) = (feature(&drift, "income"), feature(&drift, "plan"));
    assert_eq!((&income["state"], &plan["state"]), (&json!("ok"), &json!("ok")));
    assert_eq!((&income["face"], &plan["kind"]), (&json!("input"), &json!("categorical")));
    assert_eq!(plan["windows"][0]["counts"], json!([ROWS / 2, ROWS / 20 * 9, ROWS / 20]));
    assert_eq!(feature(&drift, "score")["face"], "output");
    assert!(!get(drifted(), "drift/loans").text().contains('\u{1b}'));
}

#[test]
fn a_question_may_be_narrower() {
    let named = answer("drift/loans?feature=plan&feature=income&version=2&role=primary");
    let names: Vec<&Value> = named["report"]["features"]
        .as_array()
        .expect("features")
        .iter()
        .map(|feature| &feature["name"])
        .collect();
    assert_eq!(names.len(), 2);
    assert!(names.iter().all(|name| *name == "plan" || *name == "income"), "{names:?}");
    assert_eq!(named["report"]["state"], "ok", "of what is shown");
    assert_eq!(answer("drift/loans?role=shadow")["report"], Value::Null);
    assert_eq!(answer("drift/silent")["report"], Value::Null);
    let refused = answer("drift/loans?version=1");
    assert_eq!((&refused["profile_state"], &refused["report"]), (&json!("none"), &Value::Null));
}

#[test]
fn what_is_not_there_is_told_with_what_is() {
    for (path, status, parts) in [
        ("drift/absent", 404, "no watched model 'absent'; there is loans, plain, silent"),
        ("drift/loans?version=7", 404, "no watched version of 'loans' '7'; there is 1, 2"),
        ("drift/loans?feature=wealth", 404, "'wealth'; there is income, age, plan, score"),
        ("drift/plain?feature=x", 404, "version 1 of 'plain' has no profile: "),
        ("drift/plain/plot.svg", 404, "version 1 of 'plain' has no profile: "),
        ("drift/loans/plot.svg?role=shadow", 404, "no shadow rows of version 2 of 'loans'"),
        ("drift/loans/plot.svg?window=7h", 404, "no window '7h'; there is 1h, 24h"),
        ("drift/loans?window=1h", 400, "the query takes version, role, feature"),
        ("drift/loans?role=canary", 400, "expected primary or shadow"),
        ("drift/_x", 400, "is not a model name"),
        ("drift?version=1", 400, "takes no query"),
    ] {
        let reply = get(drifted(), path);
        assert_eq!(reply.status, status, "{path}: {}", reply.text());
        assert!(reply.error().contains(parts), "{path}: {}", reply.text());
    }
}

#[test]
fn answers_are_as_the_document_describes_them() {
    let document = answer("openapi.json");
    for (path, asked) in [
        ("/admin/v1/drift", "drift"),
        ("/admin/v1/drift/{name}", "drift/loans"),
        ("/admin/v1/drift/{name}", "drift/loans?version=1"),
        ("/admin/v1/drift/{name}", "drift/silent"),
    ] {
        let call = &document["paths"][path]["get"];
        let schema = &call["responses"]["200"]["content"]["application/json"]["schema"];
        assert_described(&document, schema, &answer(asked), asked);
    }
}

#[test]
fn bins_are_drawn() {
    let all = get(drifted(), "drift/loans/plot.svg");
    assert_eq!((all.status, all.header("content-type")), (200, Some("image/svg+xml")));
    assert!(all.header("content-security-policy").is_some_and(|policy| policy.contains("none")));
    let svg = all.text();
    for part in ["loans version 2, primary", ">age<", ">income<", ">score<", "1h: drifted"] {
        assert!(svg.contains(part), "{part} is not in {svg}");
    }
    assert!(!svg.contains(HOSTILE) && !svg.contains("<b>") && !svg.contains('\u{1b}'));
    assert!(svg.contains("&lt;b&gt;&amp;&quot;&apos;\u{fffd}[31m: live 45.0 %"), "{svg}");
    let one = get(drifted(), "drift/loans/plot.svg?feature=age&window=24h").text();
    assert!(one.contains("24h: drifted") && !one.contains(">income<"), "{one}");
}

#[test]
fn a_gateway_that_watches_nothing_says_so() {
    let registry = Registry::new().model("loans", loans());
    let config = "drift: {enabled: false}";
    let gateway = Launch::new().models(registry.path()).config(config).start();
    let overview = get(&gateway, "drift").json();
    assert_eq!(overview, json!({"enabled": false, "versions": []}));
    let reply = get(&gateway, "drift/loans");
    assert_eq!(reply.status, 404);
    assert!(reply.error().contains("drift.enabled is false"), "{}", reply.text());
}
