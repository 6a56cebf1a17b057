use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::world::World;

/// Copies a program, in a process of its own: a file that another thread's
/// child holds open for writing could not be started.
fn install(from: &Path, to: &Path) {
    let done = Command::new("install").args(["-D", "-m", "755"]).arg(from).arg(to).status();
    assert!(done.expect("install runs").success());
}

/// A program that says which it is, and what it was given.
fn script(path: &Path, says: &str) {
    let text = path.with_extension("text");
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(&text, format!("#!/bin/sh\necho {says} \"$@\"\nexit 7\n")).expect("a script");
    install(&text, path);
}

#[test]
fn the_engine_is_the_program_beside_or_on_the_path() {
    let world = World::new();
    let folder = world.data.path();
    // In a folder of its own, where nothing stands beside it.
    install(Path::new(env!("CARGO_BIN_EXE_modelgate")), &folder.join("modelgate"));
    let mut command = Command::new(folder.join("modelgate"));
    command.env("PATH", "").args(["predictions", "query", "SELECT 1", "--model", "m", "--help"]);
    let output = command.output().expect("the program");
    let told = String::from_utf8(output.stderr).expect("text");
    assert!(!output.status.success() && told.contains("make build-query"), "{told}");
    script(&folder.join("on-path/modelgate-query"), "path");
    let output = command.env("PATH", folder.join("on-path")).output().expect("the program");
    let passed = |says: &str| format!("{says} query SELECT 1 --model m --help\n");
    assert_eq!(String::from_utf8_lossy(&output.stdout), passed("path"));
    assert_eq!(output.status.code(), Some(7));
    script(&folder.join("elsewhere/modelgate-query"), "beside");
    symlink(folder.join("elsewhere/modelgate-query"), folder.join("modelgate-query"))
        .expect("a link");
    let output = command.output().expect("the program");
    assert_eq!(String::from_utf8_lossy(&output.stdout), passed("beside"));
}
