//! The rules that `modelgate profile rules` makes: those that are shipped are
//! what it makes by default, and shorter ones pass the same tests in less time.

use std::fs;

use modelgate::drift::rules::{RuleOptions, Span, render};

use crate::{files, promtool, root};

/// By how much the short rules are shorter.
const TIMES: u64 = 30;

#[test]
fn those_that_are_shipped_are_made_by_default() {
    let shipped = root().join("deploy/prometheus/drift.rules.yaml");
    let made = render(&RuleOptions::default()).expect("rules");
    let fix = "make it anew: modelgate profile rules -o deploy/prometheus/drift.rules.yaml";
    assert!(fs::read_to_string(shipped).expect("a file") == made, "{fix}");
}

/// The tests of the shipped rules, with every duration a thirtieth.
#[test]
fn short_windows_pass_the_same_tests() {
    let usual = RuleOptions::default();
    let short = |span: Span| Span(span.0 / TIMES);
    let options = RuleOptions {
        window: short(usual.window),
        long_window: short(usual.long_window),
        hold: short(usual.hold),
        keep: short(usual.keep),
        ..usual
    };
    let folder = tempfile::tempdir().expect("a folder");
    let rules = folder.path().join("drift.rules.yaml");
    fs::write(&rules, render(&options).expect("rules")).expect("a file");
    promtool(&["check", "rules"], std::slice::from_ref(&rules));

    let tests = folder.path().join("tests");
    fs::create_dir(&tests).expect("a folder");
    let mut count = 0;
    for path in files(&root().join("deploy/prometheus/tests")) {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if name.starts_with("drift_") {
            let text = fs::read_to_string(&path).expect("a file");
            fs::write(tests.join(name), shortened(&text)).expect("a file");
            count += 1;
        }
    }
    assert_eq!(count, 2);
    promtool(&["test", "rules"], &files(&tests));
}

/// With every word that is a duration a thirtieth of what it was.
fn shortened(text: &str) -> String {
    let is_part = |character: char| character.is_ascii_alphanumeric() || "_.:".contains(character);
    let mut found = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_part) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|character| !is_part(character)).unwrap_or(from.len());
        found.push_str(before);
        match duration(&from[..end]) {
            Some(Span(seconds)) => {
                assert_eq!(seconds % TIMES, 0, "{} cannot be shortened", &from[..end]);
                found.push_str(&Span(seconds / TIMES).to_string());
            }
            None => found.push_str(&from[..end]),
        }
        rest = &from[end..];
    }
    found + rest
}

fn duration(word: &str) -> Option<Span> {
    let unit = match word.bytes().last()? {
        b's' => 1,
        b'm' => 60,
        b'h' => 3600,
        _ => return None,
    };
    word[..word.len() - 1].parse::<u64>().ok().map(|count| Span(count * unit))
}
