//! Routes of the configuration and of a folder, on a gateway in a process of its own.

#[path = "support/mod.rs"]
mod support;

use std::fs;

use rustix::process::Signal;
use support::gateway::Launch;
use support::http::Request;
use support::registry::Registry;

const ROUTE: &str = "apiVersion: modelgate.dev/v1
kind: Route
metadata: {name: NAME}
";

#[test]
fn nothing_starts_with_an_invalid_route() {
    let registry = tempfile::tempdir().expect("a folder");
    let folder = tempfile::tempdir().expect("a folder");
    let a = ROUTE.replace("NAME", "a");
    fs::write(folder.path().join("a.yaml"), &a).expect("a file");
    let config = format!("routes:\n  folder: {}\n", folder.path().display());
    let inline =
        "  inline:\n  - {apiVersion: modelgate.dev/v1, kind: Route, metadata: {name: a}}\n";
    let run = |config: &str, check: &[&str]| {
        Launch::new().models(registry.path()).config(config).args(check).run()
    };
    let valid = run(&config, &["--check"]);
    assert_eq!((valid.code, valid.stdout.trim()), (Some(0), "the configuration is valid"));
    for check in [&[][..], &["--check"]] {
        let twice = run(&format!("{config}{inline}"), check);
        assert_eq!(twice.code, Some(3), "{twice:?}");
        for part in ["a.yaml:3:18", "route 'a' stands in the configuration already"] {
            assert!(twice.stderr.contains(part), "{part}: {twice:?}");
        }
        let wrong = run(&format!("{config}{}", inline.replace("kind", "kynd")), check);
        assert_eq!(wrong.code, Some(3), "{wrong:?}");
        assert!(wrong.stderr.contains(":4:36: routes.inline.0.kynd: unknown key"), "{wrong:?}");
        let missing = run("routes: {folder: /nonexistent/routes}\n", check);
        assert_eq!(missing.code, Some(3), "{missing:?}");
        assert!(missing.stderr.contains("/nonexistent/routes"), "{missing:?}");
    }
    fs::write(folder.path().join("b.yml"), a.replace("kind", "kynd")).expect("a file");
    for check in [&[][..], &["--check"]] {
        let wrong = run(&config, check);
        assert_eq!(wrong.code, Some(3), "{wrong:?}");
        for part in ["b.yml:2:1: kynd: unknown key 'kynd'", "did you mean 'kind'?"] {
            assert!(wrong.stderr.contains(part), "{part}: {wrong:?}");
        }
    }
}

#[test]
fn the_folder_is_watched() {
    let registry = Registry::new();
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let aside = folder.path().join(".aside");
        fs::write(&aside, text).expect("a file");
        fs::rename(aside, folder.path().join(name)).expect("a file in one step");
    };
    let config = format!("routes:\n  folder: {}\n", folder.path().display());
    let gateway = Launch::new().models(registry.path()).config(&config).start();
    let in_force = |routes: u64| {
        gateway.wait_for_log(|line| {
            line["message"] == "the routes of the files are in force" && line["routes"] == routes
        });
    };
    write("a.yaml", &ROUTE.replace("NAME", "a"));
    in_force(1);
    write("b.yaml", &format!("{}---\n{}", ROUTE.replace("NAME", "b"), ROUTE.replace("NAME", "c")));
    in_force(3);
    let refusals = || {
        let refused = |line: &serde_json::Value| {
            let error = line["error"].as_str().unwrap_or_default();
            error.contains("a.yaml:1:1") && line["level"] == "ERROR"
        };
        gateway.logged().into_iter().filter(refused).count()
    };
    write("a.yaml", "kynd: Route\n");
    gateway.wait_for_log(|line| line["error"].as_str().is_some_and(|error| error.contains("kynd")));
    fs::remove_file(folder.path().join("b.yaml")).expect("a file");
    in_force(1);
    gateway.signal(Signal::HUP);
    gateway
        .wait_for_log(|line| line["message"].as_str().is_some_and(|text| text.contains("SIGHUP")));
    write("c.yaml", &ROUTE.replace("NAME", "c"));
    in_force(2);
    assert_eq!(refusals(), 1, "it is told once");
    let shown = Request::get("/admin/v1/config").header("host", "localhost").send(gateway.admin);
    assert_eq!(shown.json()["routes"]["folder"], folder.path().to_string_lossy().as_ref());
}
