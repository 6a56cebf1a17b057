//! Calls about routes.

use modelgate::api::{Traffic, Why};
use modelgate::control::{RouteChange, RouteStatus};
use serde_json::{Value, json};

use crate::api::{get, json_of, post};
use crate::scripted::{Admin, document, route_status, weight};
use crate::support::http::Reply;

fn read<T: for<'a> serde::Deserialize<'a>>(reply: &Reply) -> T {
    serde_json::from_value(json_of(reply, 200)).expect("as the types have it")
}

#[test]
fn routes_are_shown_whole_and_by_name() {
    let admin = Admin::start();
    let all: Vec<RouteStatus> = read(&admin.send(get("/admin/v1/routes")));
    assert_eq!(all, [route_status("breast-cancer")]);
    let one: RouteStatus = read(&admin.send(get("/admin/v1/routes/breast-cancer")));
    assert_eq!(one, all[0]);
    let split: Traffic = read(&admin.send(get("/admin/v1/routes/breast-cancer/traffic")));
    assert_eq!(split, Traffic::from(&all[0]));
    let weights: Vec<_> =
        split.variants.iter().map(|one| (one.weight, one.declared_weight)).collect();
    assert_eq!(weights, [(weight(95.0), weight(97.5)), (weight(5.0), weight(2.5))]);
    for path in ["routes/absent", "routes/absent/traffic", "routes/m0/traffic"] {
        let missing = admin.send(get(&format!("/admin/v1/{path}")));
        assert_eq!(missing.status, 404, "{path}");
        assert!(missing.error().contains("unknown route"), "{}", missing.text());
    }
    let none = admin.send(get("/admin/v1/shadow/breast-cancer/diff"));
    assert_eq!(none.status, 404);
    assert!(none.error().contains("spec.shadow"), "{}", none.text());
}

#[test]
fn routes_reach_the_lifecycle_as_they_were_written() {
    let admin = Admin::start();
    let body = json!({
        "routes": [document("a"), document("b")],
        "dry_run": true,
        "actor": "ada",
        "reason": "a try",
    });
    let changes: Vec<RouteChange> = read(&admin.send(post("/admin/v1/routes", &body.to_string())));
    let outcomes: Vec<_> = changes.iter().map(|one| (one.name.as_str(), &*one.outcome)).collect();
    assert_eq!(outcomes, [("a", "unchanged"), ("b", "unchanged")]);
    assert_eq!(admin.asked(), [r#"apply a,b dry_run=true by ada because "a try""#]);

    for (method, path) in [("POST", "routes/a/delete"), ("DELETE", "routes/a")] {
        let request = post(&format!("/admin/v1/{path}"), r#"{"actor": "ada"}"#).method(method);
        let change: RouteChange = read(&admin.send(request));
        assert_eq!((change.outcome.as_str(), change.before), ("deleted", Some(document("a"))));
        assert_eq!(admin.asked(), [r#"delete a by ada because """#], "{method}");
    }
    json_of(&admin.send(get("/admin/v1/routes/a").method("DELETE")), 200);
    assert_eq!(admin.asked(), [r#"delete a by admin-api because """#], "without a body");
}

#[test]
fn weights_and_champions_are_moved() {
    let admin = Admin::start();
    for (call, body, asked) in [
        (
            "traffic",
            r#"{"weights": {"candidate": 0.5, "other": 10}, "actor": "ada", "reason": "x"}"#,
            r#"traffic r [candidate=0.5,other=10] by ada because "x""#,
        ),
        ("traffic", r#"{"weights": {}}"#, r#"traffic r [] by admin-api because """#),
        ("promote", "{}", r#"promote r Next by admin-api because """#),
        (
            "promote",
            r#"{"variant": "candidate", "actor": "ada"}"#,
            r#"promote r Variant(VariantName("candidate")) by ada because """#,
        ),
        (
            "promote",
            r#"{"version": 4}"#,
            r#"promote r Version(Version(4)) by admin-api because """#,
        ),
    ] {
        let reply = admin.send(post(&format!("/admin/v1/routes/r/{call}"), body));
        assert_eq!(read::<RouteStatus>(&reply), route_status("r"), "{call}");
        assert_eq!(admin.asked(), [asked]);
    }
}

#[test]
fn what_is_wrong_is_told_with_its_key() {
    let admin = Admin::start();
    let apply = |document: Value| {
        let body = json!({"routes": [document_json("a"), document]}).to_string();
        admin.send(post("/admin/v1/routes", &body))
    };
    let reply = apply(document_json("broken"));
    assert_eq!(reply.status, 400);
    let expected = json!({
        "error": "route 'broken': spec.variants.1.weight: version 4 is not there",
        "route": "broken",
        "path": "spec.variants.1.weight",
    });
    assert_eq!(reply.json(), expected);
    assert_eq!(admin.asked().len(), 1);

    let with = |pointer: &str, value: Value| {
        let mut document = document_json("b");
        *document.pointer_mut(pointer).expect("a key") = value;
        document
    };
    for (document, part) in [
        (with("/spec/variants/1/weight", json!(101)), "routes[1].spec.variants[1].weight: 101"),
        (with("/spec/variants/1/weight", json!("5")), "routes[1].spec.variants[1].weight: "),
        (with("/spec/stickiness", json!({"keys": []})), "routes[1].spec.stickiness.keys: unknown"),
        (with("/metadata/name", json!("a/b")), "routes[1].metadata.name: 'a/b' is not"),
        (json!({}), "routes[1]: missing field `apiVersion`"),
    ] {
        let reply = apply(document);
        assert_eq!(reply.status, 400, "{part}");
        assert!(reply.error().contains(part), "{part}: {}", reply.text());
    }
    for (call, body) in [
        ("routes", "[]"),
        ("routes", r#"{"route": []}"#),
        ("routes/r/traffic", "{}"),
        ("routes/r/traffic", r#"{"weights": {"candidate": 101}}"#),
        ("routes/r/traffic", r#"{"weights": {"pinned": 1}}"#),
        ("routes/r/traffic", r#"{"weights": [5]}"#),
        ("routes/r/promote", r#"{"variant": "candidate", "version": 4}"#),
        ("routes/r/promote", r#"{"version": 0}"#),
        ("routes/r/promote", r#"{"to": 4}"#),
        ("routes/r/delete", r#"{"actor": "a\nb"}"#),
        ("routes/_/delete", "{}"),
        ("routes?dry_run=true", "{}"),
    ] {
        let reply = admin.send(post(&format!("/admin/v1/{call}"), body));
        assert_eq!(reply.status, 400, "{call} {body}: {}", reply.text());
        reply.error();
    }
    assert!(admin.asked().is_empty(), "none of them was heard");

    for (route, status, part) in [("absent", 404, "unknown route"), ("stuck", 409, "stuck.yaml")] {
        for (call, body) in [("traffic", r#"{"weights": {}}"#), ("promote", "{}"), ("delete", "{}")]
        {
            let reply = admin.send(post(&format!("/admin/v1/routes/{route}/{call}"), body));
            assert_eq!(reply.status, status, "{route} {call}");
            assert!(reply.error().contains(part), "{}", reply.text());
        }
    }
}

fn document_json(name: &str) -> Value {
    serde_json::to_value(document(name)).expect("JSON")
}

#[test]
fn many_routes_fit_into_one_body() {
    let admin = Admin::start();
    let body = |bytes: usize| {
        let mut body = json!({"routes": [document("a")]}).to_string();
        body.push_str(&" ".repeat(bytes - body.len()));
        body
    };
    assert_eq!(admin.send(post("/admin/v1/routes", &body(1 << 20))).status, 200);
    let large = admin.send(post("/admin/v1/routes", &body((1 << 20) + 1)));
    assert_eq!(large.status, 413);
    assert!(large.error().contains("1048576"), "{}", large.text());
    assert_eq!(admin.send(post("/admin/v1/routes/a/delete", &body(70_000))).status, 413);
}

#[test]
fn a_decision_is_explained() {
    let admin = Admin::start();
    let why = |query: &str| -> Why {
        read(&admin.send(get(&format!("/admin/v1/routes/breast-cancer/why?{query}"))))
    };
    // A rule, and the variant is not ready.
    let staff = why("header.X-Group=staff&header.x-user-id=user-1");
    assert_eq!(
        (staff.explanation.variant.as_str(), &*staff.explanation.by),
        ("candidate", "rule 1")
    );
    assert_eq!(staff.version.map(|version| version.get()), Some(1), "the champion's");
    assert!(staff.falls_back);
    let problem = staff.problem.as_deref().unwrap_or_default();
    assert!(problem.contains("version 3 was rejected"), "{problem}");

    // The unit by itself, in its header, in a parameter: the same bucket.
    let unit = why("key=user-1").explanation;
    assert_eq!(unit.salt, "cohort-1/split");
    for (query, kind) in [
        ("header.x-user-id=user-1", "header x-user-id"),
        ("parameter.customer=user-1", "parameter customer"),
    ] {
        let other = why(query).explanation;
        assert_eq!((&*other.unit_kind, &*other.unit), (kind, "user-1"));
        assert_eq!(
            (other.hash, other.slot, other.variant),
            (unit.hash.clone(), unit.slot, unit.variant.clone())
        );
    }
    let by_id = why("id=r-7").explanation;
    assert_eq!((&*by_id.unit_kind, &*by_id.unit), ("request id", "r-7"));

    let champion = (0..).map(|user| why(&format!("key=user-{user}")));
    let champion = champion.into_iter().find(|why| why.explanation.variant.is_champion());
    let champion = champion.expect("one of them");
    assert_eq!(champion.version.map(|version| version.get()), Some(1));
    assert_eq!(
        (champion.falls_back, champion.problem, champion.explanation.range),
        (false, None, None)
    );

    let pinned = why("key=user-1&version=1");
    assert_eq!((&*pinned.explanation.by, pinned.explanation.propensity), ("pin", 1.0));
    assert!(!pinned.explanation.mirrored);
    assert_eq!((pinned.version.map(|version| version.get()), pinned.problem), (Some(1), None));
    let missing = why("key=user-1&version=9");
    assert_eq!(missing.version, None);
    assert!(missing.problem.is_some_and(|problem| problem.contains("has no version 9")));
}

#[test]
fn questions_that_cannot_be_answered_are_refused() {
    let admin = Admin::start();
    for (path, status, part) in [
        ("breast-cancer/why?user=1", 400, "header.NAME"),
        ("breast-cancer/why?key=%zz", 400, "broken escape"),
        ("breast-cancer/why?key=a&id=b", 400, "alone"),
        ("absent/why?key=a", 404, "unknown route 'absent'"),
        ("m0/why?key=a", 404, "the model itself answers"),
    ] {
        let reply = admin.send(get(&format!("/admin/v1/routes/{path}")));
        assert_eq!(reply.status, status, "{path}");
        assert!(reply.error().contains(part), "{path}: {}", reply.text());
    }
}
