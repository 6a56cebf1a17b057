//! `modelgate models` as its users run it, against the scripted lifecycle.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use modelgate::control::{AuditEntry, ModelStatus, Status, VersionStatus};
use modelgate::registry::{FileName, ListedFile, Manifest, file_digest, version_digest};
use modelgate::types::{RejectKind, Stage};
use serde_json::{Value, json};

use crate::scripted::{Admin, audit, digest, model, number, status, version};

pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

fn run_at(url: &str, args: &[&str]) -> Ended {
    modelgate(url, &[&["models"], args].concat(), None)
}

/// Runs the program against the gateway at `url`, with a file as its standard input.
pub fn modelgate(url: &str, args: &[&str], input: Option<&Path>) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_modelgate"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MODELGATE_") {
            command.env_remove(&name);
        }
    }
    // A proxy is no way to this machine.
    command.env("http_proxy", "http://127.0.0.1:9").env("USER", "grace");
    let stdin = input.map_or(Stdio::null(), |file| fs::File::open(file).expect("a file").into());
    command.args(args).args(["--url", url]).stdin(stdin);
    let Output { status, stdout, stderr } = command.output().expect("the built program runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ended { code: status.code().expect("a code"), stdout: text(stdout), stderr: text(stderr) }
}

#[track_caller]
fn run(admin: &Admin, args: &[&str], code: i32) -> Ended {
    let ended = run_at(&admin.url(), args);
    assert_eq!(ended.code, code, "{args:?}: {}{}", ended.stdout, ended.stderr);
    ended
}

#[test]
fn the_list_fits_a_terminal() {
    let admin = Admin::start();
    let text = run(&admin, &["list"], 0).stdout;
    let lines: Vec<&str> = text.lines().collect();
    let table = &lines[..6];
    assert!(table.iter().all(|line| line.chars().count() <= 100), "{text}");
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(table[0]), ["MODEL", "VERSION", "STAGE", "SERVES", "DIGEST", "SINCE", "NOTE"]);
    let stage = table[0].find("STAGE").expect("a column");
    for (line, word) in
        table[1..].iter().zip(["rejected", "ready", "ready", "fetching", "unloaded"])
    {
        assert!(line[stage..].starts_with(word), "{text}");
    }
    assert!(table[1].contains("golden_mismatch: ") && table[1].ends_with("..."), "{text}");
    assert!(table[2].contains("default,stable,held"), "{text}");
    assert!(table[2].contains("020202020202 "), "{text}");
    assert!(table[3].contains(" kept "), "{text}");
    assert!(table[4].ends_with("1.0 KiB of 2.0 KiB"), "{text}");
    assert!(table[5].ends_with("in the registry: 2, 1"), "{text}");
    for part in [
        "model breast-cancer: options not taken: lanes",
        "registry models, serving an older listing: cannot reach the registry",
        "registry models: unfinished digits 4: no manifest yet",
    ] {
        assert!(lines[6..].iter().any(|line| line.starts_with(part)), "{part}: {text}");
    }
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn one_model_is_shown_whole() {
    let admin = Admin::start();
    let text = run(&admin, &["show", "breast-cancer"], 0).stdout;
    for line in [
        "model     breast-cancer",
        "registry  models",
        "default   2",
        "hold      version 2 since 2026-11-21 12:00:00Z by ada: 3 was [31m late",
        "labels    stable=2",
        "options   not taken: lanes: expected 1 to 256, got 0",
        "version 3",
        "  stage     rejected since 2026-11-21 12:00:00Z",
        "  serves    default, stable, held",
        "  memory    5.0 MiB",
        "  probe     loaded in 12 ms, a row in 32 us, at most 9.0 MiB, 3 golden inputs",
        "  input     x FP32 [-1, 2]",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line:?} is not in\n{text}");
    }
    let reason = "at many places ".repeat(8);
    assert!(
        text.contains(&format!("golden_mismatch: output 'y' differs by 0.25 {reason}")),
        "{text}"
    );
    assert!(text.contains(&digest(3).to_string()), "{text}");
    let asked = run(&admin, &["show", "on-request"], 0).stdout;
    assert!(
        asked.contains("loaded by request only") && asked.contains("unloaded  2, 1"),
        "{asked}"
    );
}

#[test]
fn programs_get_json_and_yaml() {
    let admin = Admin::start();
    let read = run(&admin, &["list", "-o", "json"], 0).stdout;
    assert_eq!(serde_json::from_str::<Status>(&read).expect("JSON"), status());
    let read = run(&admin, &["-o", "yaml", "list"], 0).stdout;
    assert_eq!(serde_saphyr::from_str::<Status>(&read).expect("YAML"), status());
    let read = run(&admin, &["show", "breast-cancer", "--output=json"], 0).stdout;
    assert_eq!(serde_json::from_str::<ModelStatus>(&read).expect("JSON"), status().models[0]);
    let read = run(&admin, &["audit", "-o", "json"], 0).stdout;
    assert_eq!(serde_json::from_str::<Vec<AuditEntry>>(&read).expect("JSON"), audit());
    let read = run(&admin, &["rollback", "m", "-o", "json"], 0).stdout;
    assert_eq!(serde_json::from_str::<Value>(&read).expect("JSON")["version"], 1);
    let read = run(&admin, &["retry", "m", "3", "-o", "yaml"], 0).stdout;
    let expected = json!({"model": "m", "outcome": "retrying", "version": 3});
    assert_eq!(serde_saphyr::from_str::<Value>(&read).expect("YAML"), expected);
}

#[test]
fn changes_carry_who_and_why() {
    let admin = Admin::start();
    for (args, asked, said) in [
        (&["rollback", "m"][..], r#"rollback m to None by grace because """#, "m serves version 1"),
        (
            &["rollback", "m", "--to", "2", "--reason", "3 is late", "--actor", "ada"],
            r#"rollback m to Some(Version(2)) by ada because "3 is late""#,
            "modelgate models release m",
        ),
        (&["release", "m"], r#"release m by grace because """#, "m: released"),
        (&["load", "m"], r#"load m by grace because """#, "m: loaded"),
        (&["unload", "m"], r#"unload m by grace because """#, "m: unloaded"),
        (&["retry", "m", "4"], r#"retry m 4 by grace because """#, "m version 4: retrying"),
        (&["audit", "m", "--limit", "5"], r#"audit Some(ModelName("m")) 5"#, "rollback"),
    ] {
        let ended = run(&admin, args, 0);
        assert!(ended.stdout.contains(said), "{args:?}: {}", ended.stdout);
        assert_eq!(admin.asked(), [asked], "{args:?}");
    }
    let text = run(&admin, &["audit"], 0).stdout;
    assert!(text.contains("2026-11-21 12:00:00Z  ada    rollback  breast-cancer  2"), "{text}");
}

#[test]
fn refusals_are_told_and_have_codes() {
    let admin = Admin::start();
    for (args, code, part) in [
        (&["show", "absent"][..], 1, "unknown model 'absent'"),
        (&["rollback", "stuck"], 1, "explicit"),
        (&["load", "broken"], 6, "rejected: bad_model: no graph"),
        (&["release", "m", "--actor", "a\nb"], 1, "control characters"),
        (&["show", "_x"], 2, "is not a model name"),
        (&["retry", "m", "newest"], 2, "is not a version"),
        (&["list", "--url", "ftp://x"], 2, "expected http://HOST:PORT"),
        (&["audit", "--limit", "0"], 2, "limit"),
        (&["load", "slow", "--timeout", "1"], 5, "within 1 s"),
    ] {
        let ended = run_at(&admin.url(), args);
        let same_url_twice = args.contains(&"--url");
        assert_eq!(ended.code, code, "{args:?}: {}", ended.stderr);
        assert!(same_url_twice || ended.stderr.contains(part), "{args:?}: {}", ended.stderr);
        assert_eq!(ended.stdout, "", "{args:?}");
    }
}

#[test]
fn a_gateway_that_is_not_there_is_code_4() {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = port.local_addr().expect("an address");
    drop(port);
    let ended = run_at(&format!("http://{address}"), &["list"]);
    assert_eq!(ended.code, 4, "{}", ended.stderr);
    for part in [&address.to_string(), "refused", "MODELGATE_URL"] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
    assert_eq!(run_at("http://no-such-host.invalid:1", &["list"]).code, 4);
}

#[test]
fn what_is_no_admin_api_is_told() {
    let admin = Admin::start();
    // A path in front of the API's own: nothing is there.
    let ended = run_at(&format!("{}/elsewhere", admin.url()), &["list"]);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("no such path"), "{}", ended.stderr);
}

#[test]
fn verify_says_whether_the_newest_version_answers() {
    let newest = |version: VersionStatus, default| {
        let versions = vec![version, self::version(1, Stage::Ready)];
        ModelStatus { default: Some(number(default)), ..model("m", versions) }
    };
    let rejected = VersionStatus {
        rejected: Some(RejectKind::TimedOut),
        reason: Some("took longer than 1 s".to_owned()),
        ..version(2, Stage::Rejected)
    };
    let held = ModelStatus {
        hold: status().models[0]
            .hold
            .clone()
            .map(|hold| modelgate::control::Hold { version: number(1), ..hold }),
        ..newest(version(2, Stage::Ready), 1)
    };
    for (what, model, code, part) in [
        ("serves", newest(version(2, Stage::Ready), 2), 0, "m version 2 is ready"),
        ("on its way", newest(version(2, Stage::Probing), 1), 1, "m version 2 is probing"),
        ("not the default", newest(version(2, Stage::Ready), 1), 1, "get version 1"),
        ("rejected", newest(rejected, 1), 6, "took longer than 1 s"),
        ("held", held, 0, "by ada"),
        ("nothing", model("m", Vec::new()), 1, "no version"),
    ] {
        let admin = Admin::showing(Status { models: vec![model], ..Status::default() });
        let ended = run(&admin, &["verify", "m"], code);
        assert!(ended.stdout.contains(part), "{what}: {}", ended.stdout);
    }
}

/// A version's folder, and the digest that a registry computes of it.
fn write_version(folder: &Path, model: &[u8]) -> modelgate::types::Digest {
    fs::create_dir_all(folder).expect("a folder");
    let mut files = Vec::new();
    for (name, content) in [("model.onnx", model), ("weights.bin", b"weights")] {
        let path = folder.join(name);
        fs::write(&path, content).expect("a file");
        files.push(ListedFile {
            name: FileName::parse(name).expect("a name"),
            bytes: content.len() as u64,
            sha256: file_digest(&path).expect("a digest"),
        });
    }
    // None of these is a part of the version.
    fs::write(folder.join("model.yaml"), "lanes: 2").expect("a file");
    fs::write(folder.join(".hidden"), "x").expect("a file");
    fs::create_dir(folder.join("more")).expect("a folder");
    version_digest(&files)
}

#[test]
fn verify_compares_a_folder_with_what_is_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let of_model = folder.path().join("m");
    let served = write_version(&of_model.join("2"), b"second");
    let showing = |digest, more: Vec<VersionStatus>, unloaded: &[u64]| {
        let mut versions = vec![VersionStatus { digest, ..version(2, Stage::Ready) }];
        versions.extend(more);
        let unloaded = unloaded.iter().map(|version| number(*version)).collect();
        let model = ModelStatus { default: Some(number(2)), unloaded, ..model("m", versions) };
        Admin::showing(Status { models: vec![model], ..Status::default() })
    };
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let same = showing(served, Vec::new(), &[1]);
    let look = |place: &Path| {
        let text = run(&same, &["verify", "m", "--models", &path(place)], 0).stdout;
        assert!(text.contains("version 2: the same as here"), "{text}");
        assert!(text.contains("  model.onnx\n") && text.contains("  weights.bin\n"), "{text}");
        for other in ["model.yaml", "hidden", "more", "manifest.json", "notes.txt"] {
            assert!(!text.contains(other), "{other}: {text}");
        }
    };
    [folder.path(), &of_model, &of_model.join("2")].into_iter().for_each(look);
    // With a manifest, what it names and nothing else.
    let second = of_model.join("2");
    let named = ["model.onnx", "weights.bin"].map(|name| ListedFile {
        name: FileName::parse(name).expect("a name"),
        bytes: 7,
        sha256: digest(0),
    });
    let manifest = Manifest::new(named.to_vec(), None).to_json().expect("a manifest");
    fs::write(second.join("manifest.json"), &manifest).expect("a file");
    fs::write(second.join("notes.txt"), "not of the version").expect("a file");
    look(folder.path());
    fs::write(second.join("manifest.json"), "{}").expect("a file");
    let broken = run(&same, &["verify", "m", "--models", &path(folder.path())], 1);
    assert!(broken.stderr.contains("manifest.json"), "{}", broken.stderr);
    fs::write(second.join("manifest.json"), &manifest).expect("a file");
    let models = path(folder.path());
    let verify = ["verify", "m", "--models", &models, "-o", "json"];
    let verdict = |admin: &Admin, code| -> Value {
        serde_json::from_str(&run(admin, &verify, code).stdout).expect("JSON")
    };
    assert_eq!(verdict(&same, 0)["verdict"], "serves");
    let other = verdict(&showing(digest(9), Vec::new(), &[]), 1);
    assert_eq!(
        (&other["verdict"], &other["local"][0]["comparison"]),
        (&json!("differs"), &json!("differs"))
    );
    let more = verdict(&showing(served, vec![version(1, Stage::Ready)], &[]), 1);
    assert_eq!(more["local"][1]["comparison"], "not_here");
    let kept = VersionStatus { kept: true, ..version(1, Stage::Ready) };
    assert_eq!(verdict(&showing(served, vec![kept], &[]), 0)["verdict"], "serves");
    write_version(&of_model.join("1"), b"first");
    assert_eq!(verdict(&same, 0)["local"][0]["comparison"], "not_loaded");
    write_version(&of_model.join("3"), b"third");
    let unknown = verdict(&same, 1);
    assert_eq!(unknown["local"][2]["comparison"], "unknown");

    let empty = tempfile::tempdir().expect("a folder");
    let nothing = run(&same, &["verify", "m", "--models", &path(empty.path())], 1);
    assert!(nothing.stderr.contains("no version of m in"), "{}", nothing.stderr);
}
