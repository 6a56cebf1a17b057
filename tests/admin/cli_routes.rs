//! The verbs about routes as their users run them, against the scripted lifecycle.

use std::fs;
use std::path::{Path, PathBuf};

use modelgate::control::{RouteChange, RouteStatus};
use modelgate::routing::RouteDocument;
use serde_json::Value;
use tempfile::TempDir;

use crate::cli::{Ended, modelgate};
use crate::scripted::{Admin, ROUTE, document, route_status};

/// Nothing listens there.
const NOWHERE: &str = "http://127.0.0.1:9";

#[track_caller]
fn run_at(url: &str, args: &[&str], code: i32) -> Ended {
    let ended = modelgate(url, args, None);
    assert_eq!(ended.code, code, "{args:?}: {}{}", ended.stdout, ended.stderr);
    ended
}

#[track_caller]
fn run(admin: &Admin, args: &[&str], code: i32) -> Ended {
    run_at(&admin.url(), args, code)
}

/// A file of routes, and its folder.
fn file(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("routes.yaml");
    fs::write(&file, text).expect("a file");
    (folder, file)
}

fn path(file: &Path) -> &str {
    file.to_str().expect("UTF-8")
}

#[track_caller]
fn assert_lines(text: &str, lines: &[&str]) {
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown: Vec<String> = text.lines().map(words).collect();
    for line in lines {
        assert!(shown.iter().any(|shown| shown == line), "{line:?} is not in\n{text}");
    }
}

#[test]
fn routes_are_listed_by_variant() {
    let admin = Admin::start();
    assert_lines(
        &run(&admin, &["route", "list"], 0).stdout,
        &[
            "ROUTE VARIANT VERSION STATE WEIGHT REQUESTS NOTE",
            "breast-cancer champion 2 ready 95 950 stable; declared weight 97.5",
            "breast-cancer candidate - rejected 5 50 3; declared weight 2.5; 49 fell ba...",
            "route breast-cancer: version 4 is held back: modelgate traffic promote breast-cancer",
            "route breast-cancer: candidate: version 3 was rejected",
        ],
    );
    assert_lines(
        &run(&admin, &["route", "get", "breast-cancer"], 0).stdout,
        &[
            "origin routes/cancer.yaml, revision 6",
            "sticky by header x-user-id, parameter customer",
            "note weights candidate=5 since 2026-11-21 12:00:00Z by ada: looks well",
            "note distinct units are not split as configured: ln of the Bayes factor is 9.2",
            "shadow 2 ready 10 950 latest; declared weight 97.5",
        ],
    );
    assert_lines(
        &run(&admin, &["traffic", "get"], 0).stdout,
        &[
            "ROUTE VARIANT VERSION WEIGHT DECLARED",
            "breast-cancer candidate - 5 2.5",
            "route breast-cancer: weights candidate=5 since 2026-11-21 12:00:00Z by ada: looks well",
        ],
    );
}

#[test]
fn programs_get_json_and_yaml() {
    let admin = Admin::start();
    let read = run(&admin, &["route", "list", "-o", "json"], 0).stdout;
    let expected = [route_status("breast-cancer")];
    assert_eq!(serde_json::from_str::<Vec<RouteStatus>>(&read).expect("JSON"), expected);
    let read = run(&admin, &["route", "get", "breast-cancer", "-o", "yaml"], 0).stdout;
    assert_eq!(serde_saphyr::from_str::<RouteStatus>(&read).expect("YAML"), expected[0]);
    let read = run(&admin, &["traffic", "-o", "json", "get", "breast-cancer"], 0).stdout;
    let split: Value = serde_json::from_str(&read).expect("JSON");
    assert_eq!(split["traffic"]["weights"]["candidate"], 5);

    // What is shown can be applied again.
    let text = run(&admin, &["route", "get", "breast-cancer", "--document"], 0).stdout;
    assert_eq!(serde_saphyr::from_str::<RouteDocument>(&text).expect("YAML"), expected[0].document);
    let (_folder, file) = file(&text);
    let applied = run(&admin, &["route", "apply", "-f", path(&file), "-o", "json"], 0).stdout;
    let changes: Vec<RouteChange> = serde_json::from_str(&applied).expect("JSON");
    assert_eq!(changes[0].outcome, "unchanged");
}

#[test]
fn a_file_is_applied_whole() {
    let admin = Admin::start();
    let changed = ROUTE.replace("weight: 2.5", "weight: 5");
    let text = format!("{}---\n{}", ROUTE.replace("NAME", "a"), changed.replace("NAME", "b"));
    let (_folder, file) = file(&text);
    let args = ["route", "apply", "-f", path(&file), "--dry-run", "--reason", "a try"];
    let ended = run(&admin, &args, 0);
    assert_lines(
        &ended.stdout,
        &[
            "ROUTE OUTCOME REVISION MOVED UNITS",
            "a unchanged 7 0 %",
            "b changed 7 2.5 %",
            "warning: b: a [31m is loading",
            "nothing was changed: this was a dry run",
        ],
    );
    assert_eq!(admin.asked(), [r#"apply a,b dry_run=true by grace because "a try""#]);
    let piped = modelgate(&admin.url(), &["route", "apply", "-f", "-"], Some(&file));
    assert_eq!(piped.code, 0, "{}", piped.stderr);
    assert_eq!(admin.asked(), [r#"apply a,b dry_run=false by grace because """#]);
    run(&admin, &["route", "delete", "a", "--actor", "ada"], 0);
    assert_eq!(admin.asked(), [r#"delete a by ada because """#]);
}

#[test]
fn a_difference_is_shown_before_it_is_made() {
    let admin = Admin::start();
    let changed = ROUTE.replace("weight: 2.5", "weight: 5").replace("NAME", "a");
    let (_folder, file) = file(&changed);
    let text = run(&admin, &["route", "diff", "-f", path(&file)], 0).stdout;
    assert_lines(
        &text,
        &[
            "route a: changed",
            "- weight: 2.5",
            "+ weight: 5",
            "weight of champion: 97.5 -> 95 %",
            "weight of candidate: 2.5 -> 5 %",
            "2.5 % of the units get another variant",
            "warning: a [31m is loading",
        ],
    );
    assert!(!text.contains("apiVersion"), "only what stands near: {text}");
    assert_eq!(admin.asked(), [r#"apply a dry_run=true by grace because """#]);
    run(&admin, &["route", "diff", "--exit-code", "-f", path(&file)], 1);
    fs::write(&file, ROUTE.replace("NAME", "a")).expect("a file");
    let same = run(&admin, &["route", "diff", "--exit-code", "-f", path(&file)], 0);
    assert_eq!(same.stdout, "route a: unchanged\n");
}

#[test]
fn mistakes_are_shown_in_the_file() {
    let admin = Admin::start();
    let broken = ROUTE.replace("NAME", "broken");
    let (_folder, file) = file(&format!("{}---\n{broken}", ROUTE.replace("NAME", "a")));
    // The gateway's own refusal, on the lines of the whole file.
    let ended = run(&admin, &["route", "apply", "-f", path(&file)], 3);
    let place = format!(
        "{}:{}:13: spec.variants.1.weight: version 4",
        path(&file),
        ROUTE.lines().count() + 1 + 13
    );
    assert!(ended.stderr.starts_with(&place), "{place}: {}", ended.stderr);
    assert!(ended.stderr.contains(" |     weight: 2.5\n"), "{}", ended.stderr);
    admin.asked();

    fs::write(&file, ROUTE.replace("NAME", "a").replace("maxWeight", "maxWieght")).expect("a file");
    for args in [
        &["route", "apply", "-f", path(&file)][..],
        &["route", "diff", "-f", path(&file)],
        &["route", "lint", "-f", path(&file)],
        &["bucket", "test", "--key", "u", "-f", path(&file)],
    ] {
        let ended = run(&admin, args, 3);
        let place = format!("{}:14:5: spec.variants.1.maxWieght: unknown key", path(&file));
        assert!(ended.stderr.starts_with(&place), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains("did you mean 'maxWeight'?"), "{}", ended.stderr);
    }
    fs::write(&file, "# nothing\n").expect("a file");
    assert!(
        run(&admin, &["route", "apply", "-f", path(&file)], 3).stderr.contains("no route in it")
    );
    run(&admin, &["route", "apply", "-f", "/nonexistent.yaml"], 3);
    run(&admin, &["route", "apply"], 2);
    assert!(admin.asked().is_empty(), "none of it was sent");
}

#[test]
fn what_is_hardly_meant_is_told_without_a_gateway() {
    let text =
        ROUTE.replace("NAME", "a").replace("  shadow:\n", "  onNewVersion: hold\n  shadow:\n");
    let (_folder, file) =
        file(&text.replace("    key: [{header: x-user-id}, {parameter: customer}]\n", ""));
    let ended = run_at(NOWHERE, &["route", "lint", "-f", path(&file)], 0);
    let warning = format!("{}:23:", path(&file));
    assert!(ended.stdout.contains(&warning), "{warning}: {}", ended.stdout);
    assert!(ended.stdout.contains("route 'a': spec.stickiness.key: there is a split and no key"));
    assert!(ended.stdout.contains("routes: 1, warnings: "), "{}", ended.stdout);
    let read = run_at(NOWHERE, &["route", "lint", "-f", path(&file), "-o", "json"], 0).stdout;
    assert_eq!(serde_json::from_str::<Value>(&read).expect("JSON")["routes"], 1);
}

#[test]
fn weights_are_set_and_champions_promoted() {
    let admin = Admin::start();
    for (args, asked) in [
        (
            &["traffic", "set", "r", "candidate=0.5", "other=10", "--reason", "slowly"][..],
            r#"traffic r [candidate=0.5,other=10] by grace because "slowly""#,
        ),
        (&["traffic", "set", "r", "--reset"], r#"traffic r [] by grace because """#),
        (&["traffic", "promote", "r"], r#"promote r Next by grace because """#),
        (
            &["traffic", "promote", "r", "--variant", "candidate", "--actor", "ada"],
            r#"promote r Variant(VariantName("candidate")) by ada because """#,
        ),
        (
            &["traffic", "promote", "r", "--version", "4"],
            r#"promote r Version(Version(4)) by grace because """#,
        ),
    ] {
        let ended = run(&admin, args, 0);
        assert_lines(&ended.stdout, &["ROUTE VARIANT VERSION WEIGHT DECLARED"]);
        assert_eq!(admin.asked(), [asked], "{args:?}");
    }
}

#[test]
fn refusals_are_told_and_have_codes() {
    let admin = Admin::start();
    for (args, code, part) in [
        (&["route", "get", "absent"][..], 1, "unknown route 'absent'"),
        (&["route", "delete", "stuck"], 1, "routes/stuck.yaml"),
        (&["traffic", "set", "broken", "candidate=5"], 1, "spec.variants.1.weight"),
        (&["traffic", "promote", "absent"], 1, "unknown route"),
        (&["traffic", "set", "r"], 2, "VARIANT=PERCENT"),
        (&["traffic", "set", "r", "candidate=lots"], 2, "0 to 100"),
        (&["traffic", "set", "r", "candidate=5", "--reset"], 2, "--reset"),
        (&["traffic", "promote", "r", "--variant", "a", "--version", "1"], 2, "--version"),
        (&["bucket", "test", "--route", "r"], 2, "--key"),
        (&["bucket", "test", "--key", "u"], 2, "--route"),
        (&["bucket", "test", "--route", "r", "--header", "x"], 2, "NAME=VALUE"),
        (&["bucket", "test", "--route", "m0", "--key", "u"], 1, "the model itself answers"),
        (&["shadow", "diff", "breast-cancer"], 1, "spec.shadow"),
    ] {
        let ended = run(&admin, args, code);
        assert!(ended.stderr.contains(part), "{args:?}: {}", ended.stderr);
        assert_eq!(ended.stdout, "", "{args:?}");
    }
    run_at(NOWHERE, &["route", "list"], 4);
    run_at(NOWHERE, &["traffic", "get"], 4);
}

#[test]
fn a_bucket_is_the_same_with_and_without_a_gateway() {
    let admin = Admin::start();
    let (_folder, file) = file(&serde_json::to_string(&document("breast-cancer")).expect("JSON"));
    for request in [
        &["--key", "user-1"][..],
        &["--header", "X-User-Id=Ünïcødé ✓&=+", "--header", "x-tenant=us"],
        &["--parameter", "customer=42"],
        &["--id", "r-7"],
        &["--header", "x-group=staff"],
    ] {
        let asked = ["bucket", "test", "--route", "breast-cancer", "-o", "json"];
        let there = run(&admin, &[&asked, request].concat(), 0).stdout;
        let there: Value = serde_json::from_str(&there).expect("JSON");
        let local = ["bucket", "test", "-f", path(&file), "-o", "json"];
        let here = run_at(NOWHERE, &[&local, request].concat(), 0).stdout;
        let here: Value = serde_json::from_str(&here).expect("JSON");
        for (key, value) in here.as_object().expect("fields") {
            // A file does not know that the shadow is not ready.
            if key != "mirrored" {
                assert_eq!(there[key], *value, "{request:?} {key}");
            }
        }
        assert_eq!(there["mirrored"], false);
        assert_eq!(there["version"], 1);
    }
    let staff = ["bucket", "test", "--route", "breast-cancer", "--header", "x-group=staff"];
    assert_lines(
        &run(&admin, &staff, 0).stdout,
        &[
            "variant candidate, by rule 1",
            "answers 1, the champion's: it falls back",
            "salt cohort-1/split",
        ],
    );
}
