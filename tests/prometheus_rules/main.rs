//! The rules that are shipped for Prometheus: they are sound, their own tests
//! pass, and they give what a gateway computes.

mod drift;
mod quality;

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Runs promtool, and gives back what it says.
#[track_caller]
fn promtool(args: &[&str], files: &[PathBuf]) -> String {
    let program = root().join(".cache/prometheus/promtool");
    assert!(program.exists(), "{} is missing: run `make setup-tests`", program.display());
    let output = Command::new(program).args(args).args(files).output().expect("promtool starts");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

/// The YAML files of a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path());
    let yaml = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "yaml");
    let mut files: Vec<PathBuf> = entries.filter(yaml).collect();
    files.sort();
    assert!(!files.is_empty(), "nothing in {}", folder.display());
    files
}

#[test]
fn rules_are_sound_and_pass_their_tests() {
    let folder = root().join("deploy/prometheus");
    promtool(&["check", "rules"], &files(&folder));
    promtool(&["test", "rules"], &files(&folder.join("tests")));
}
