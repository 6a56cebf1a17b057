//! `modelgate drift` as its users run it.

use serde_json::Value;

use crate::world::{Ended, drift, drifted};

#[track_caller]
fn run(args: &[&str], code: i32) -> Ended {
    let ended = drift(drifted(), args);
    assert_eq!(ended.code, code, "{args:?}: {}{}", ended.stdout, ended.stderr);
    ended
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn the_list_fits_a_terminal() {
    let text = run(&[], 0).stdout;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        words(lines[0]),
        ["MODEL", "VERSION", "ROLE", "STATE", "PROFILE", "LOOKED", "WORST"]
    );
    assert!(lines.iter().all(|line| line.chars().count() <= 100), "{text}");
    assert!(lines[1].contains("the profile (sidecar) is not about this model"), "{text}");
    assert_eq!(words(lines[2])[..5], ["loans", "2", "primary", "drifted", "sidecar"], "{text}");
    assert_eq!(words(lines[2])[6], "age", "{text}");
    assert!(lines[3].contains("warming  -       it is being learnt from traffic"), "{text}");
    assert!(lines[4].ends_with("no rows so far"), "{text}");
}

#[test]
fn features_are_told_the_worst_first() {
    let text = run(&["loans"], 0).stdout;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "model     loans version 2, primary");
    assert!(lines[1].ends_with(", sidecar, of 2000 rows, created 2026-11-01T00:00:00Z"), "{text}");
    assert!(lines[2].starts_with("state     drifted, looked "), "{text}");
    assert_eq!(
        words(lines[4]),
        ["FEATURE", "WINDOW", "STATE", "ROWS", "PSI", "P", "JS", "EVIDENCE", "RATES"]
    );
    assert_eq!(words(lines[5])[..4], ["age", "1h", "drifted", "2000"], "{text}");
    assert_eq!(words(lines[6])[..2], ["age", "24h"], "{text}");
    assert!(lines.iter().any(|line| words(line).starts_with(&["income", "1h", "ok"])), "{text}");
    let day = run(&["loans", "--window", "24h"], 0).stdout;
    assert!(!day.contains(" 1h ") && day.contains(" 24h "), "{day}");
    let machine = run(&["loans", "-o", "json", "--version", "2"], 0).stdout;
    let machine: Value = serde_json::from_str(&machine).expect("JSON");
    assert_eq!(machine["report"]["features"][0]["name"], "age");
    assert!(run(&["loans", "-o", "yaml"], 0).stdout.contains("profile_state: active"));
}

#[test]
fn bins_are_drawn_as_the_reader_can_show_them() {
    let plain = run(&["loans", "--feature", "age"], 0).stdout;
    assert!(plain.contains("age: input, numeric, 1h: drifted, psi "), "{plain}");
    assert!(plain.contains(&"#".repeat(40)) && plain.contains("100.0 %"), "{plain}");
    assert!(plain.is_ascii() || !plain.contains('█'), "{plain}");
    let blocks = run(&["loans", "--feature", "plan", "--feature", "age", "--plot"], 0).stdout;
    assert!(
        blocks.contains('█') && blocks.contains("plan: input, categorical, 1h: ok"),
        "{blocks}"
    );
    assert!(!blocks.contains('\u{1b}') && blocks.contains("<b>&\"' [31m"), "{blocks}");
}

#[test]
fn a_picture_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("age.svg");
    let path = file.to_str().expect("UTF-8");
    run(&["loans", "--feature", "age", "--window", "24h", "--svg", path], 0);
    let svg = std::fs::read_to_string(&file).expect("a picture");
    assert!(svg.starts_with("<svg ") && svg.contains("24h: drifted") && svg.ends_with("</svg>\n"));
    let nowhere = folder.path().join("absent").join("x.svg");
    let ended = run(&["loans", "--svg", nowhere.to_str().expect("UTF-8")], 1);
    assert!(ended.stderr.contains("absent"), "{}", ended.stderr);
}

#[test]
fn a_pipeline_is_told_by_the_exit_code() {
    run(&["loans", "--check"], 6);
    run(&["loans", "--check", "--feature", "income"], 0);
    run(&["loans", "--check", "--version", "1"], 7);
    run(&["loans", "--check", "--role", "shadow"], 7);
    run(&["silent", "--check"], 7);
    run(&["plain", "--check"], 7);
    run(&["--check"], 2);
    let absent = run(&["absent"], 1);
    assert!(absent.stderr.contains("there is loans, plain, silent"), "{}", absent.stderr);
    let window = run(&["loans", "--window", "7h"], 3);
    assert!(window.stderr.contains("no window '7h'; there is 1h, 24h"), "{}", window.stderr);
}
