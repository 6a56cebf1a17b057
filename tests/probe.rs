//! The probe as the gateway and people use it: the built program, in its sandbox, on
//! good models and on those that would kill whoever loads them.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use modelgate::engine::{Library, Probe, ProbeLimits, ProbeReport, ProbeRequest, SessionOptions};
use modelgate::types::{DType, RejectKind, Rejection};
use serde_json::Value;
use support::hostile_models::{division_trap, endless, hiding_places, memory_bomb, nested};
use support::onnx_builder::{constant, external, function, graph, node, tensor};
use support::registry::samples;
use support::zoo::{add_sub, floats, identity, longs, square_plus_one};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_modelgate");

/// A busy machine takes its time to start a process.
const LIMITS: ProbeLimits = ProbeLimits { wall_ms: 60_000, cpu_ms: 60_000, memory_bytes: 1 << 30 };

fn library() -> Library {
    Library::open(None).unwrap_or_else(|error| {
        panic!("these tests need ONNX Runtime; run `make setup` first. {error}")
    })
}

fn request(folder: &Path, limits: ProbeLimits) -> ProbeRequest {
    ProbeRequest {
        folder: folder.to_owned(),
        session: SessionOptions::default(),
        labels: BTreeMap::new(),
        max_batch_rows: 1,
        limits,
        yields: false,
        allowed_domains: Vec::new(),
    }
}

fn try_out(request: &ProbeRequest) -> Result<ProbeReport, Rejection> {
    Probe::new(&library(), request).program(PROGRAM.as_ref()).run(&AtomicBool::new(false))
}

/// A folder with a model.
struct Version(TempDir);

impl Version {
    fn new(model: &[u8]) -> Version {
        Version(tempfile::tempdir().expect("a folder")).with("model.onnx", model)
    }

    fn with(self, name: &str, content: &[u8]) -> Version {
        fs::write(self.0.path().join(name), content).expect("a file");
        self
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn probe(&self) -> Result<ProbeReport, Rejection> {
        self.probe_within(LIMITS)
    }

    fn probe_within(&self, limits: ProbeLimits) -> Result<ProbeReport, Rejection> {
        try_out(&request(self.path(), limits))
    }

    fn rejection(&self) -> Rejection {
        self.rejection_within(LIMITS)
    }

    fn rejection_within(&self, limits: ProbeLimits) -> Rejection {
        let rejection = self.probe_within(limits).expect_err("a rejection");
        let folder = self.path().to_string_lossy().into_owned();
        assert!(!rejection.reason.contains(&folder), "names a folder: {rejection}");
        rejection
    }
}

#[test]
fn good_models_are_accepted_and_described() {
    for (name, version) in [("digits", 1), ("breast-cancer", 1), ("breast-cancer-zipmap", 1)] {
        let folder = samples().join(name).join(version.to_string());
        let report = try_out(&request(&folder, LIMITS)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(report.golden_cases, 1, "{name}");
        assert!(report.run_us.is_some_and(|micros| micros > 0.0), "{name}");
        assert!((1 << 16..1 << 30).contains(&report.peak_bytes), "{name}: {}", report.peak_bytes);
        assert_eq!(report.onnxruntime, library().version());
        assert!(!report.signature.inputs.is_empty() && !report.signature.outputs.is_empty());
        let expected = ["limits", "no_new_privs", "landlock", "capabilities", "seccomp"];
        let missing = expected.iter().filter(|part| !report.sandbox.iter().any(|p| p == *part));
        let excused = missing.filter(|part| !(kernel_lacks_landlock() && **part == "landlock"));
        assert_eq!(excused.count(), 0, "{:?}", report.sandbox);
        assert_eq!(report.sandbox.len(), expected.len(), "{:?}", report.sandbox);
    }
}

fn kernel_lacks_landlock() -> bool {
    fs::read_to_string("/sys/kernel/security/lsm").is_ok_and(|all| !all.contains("landlock"))
}

#[test]
fn sessions_with_threads_and_an_arena_work_in_the_sandbox() {
    let mut request = request(&samples().join("digits/1"), LIMITS);
    request.max_batch_rows = 64;
    request.session = SessionOptions {
        intra_op_threads: 4,
        spinning: true,
        arena: true,
        sequential: false,
        ..SessionOptions::default()
    };
    assert_eq!(try_out(&request).map(|report| report.golden_cases), Ok(1));
}

#[test]
fn foreign_domains_need_leave() {
    let mut request = request(&samples().join("sentiment/1"), LIMITS);
    let rejection = try_out(&request).expect_err("an operator of com.microsoft");
    assert_eq!(rejection.kind, RejectKind::BadModel);
    assert!(rejection.reason.contains("'com.microsoft'"), "{rejection}");
    request.allowed_domains.push("com.microsoft".to_owned());
    assert_eq!(try_out(&request).map(|report| report.golden_cases), Ok(1));
    let local = graph()
        .input("x", tensor(1, &["2"]))
        .output("y", tensor(1, &["2"]))
        .node(node("Same", &["x"], &["y"]).domain("local"))
        .model_with(vec![function("local", "Same", node("Identity", &["x"], &["y"]))]);
    Version::new(&local).probe().expect("functions of the model's own");
}

#[test]
fn locales_can_be_read_in_the_sandbox() {
    let normalize = node("StringNormalizer", &["x"], &["y"]).text("locale", "C.UTF-8");
    let model = graph()
        .input("x", tensor(8, &["?"]))
        .output("y", tensor(8, &["?"]))
        .node(normalize)
        .model();
    Version::new(&model).probe().expect("a model with a locale");
}

#[test]
fn weights_beside_the_model_are_read() {
    let beside = |file: &str| {
        graph()
            .input("x", tensor(1, &["rows", "2"]))
            .output("y", tensor(1, &["rows", "2"]))
            .constant(external("w", DType::Fp32, &[2], file))
            .node(node("Mul", &["x", "w"], &["y"]))
            .model()
    };
    let version = Version::new(&beside("w.bin")).with("w.bin", &floats(&[2.0, 3.0]));
    let golden = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[[1,10]]}],
        "outputs":[{"name":"y","datatype":"FP32","shape":[1,2],"data":[[2,30]]}]}"#;
    let version = version.with("golden.json", golden.as_bytes());
    assert_eq!(version.probe().map(|report| report.golden_cases), Ok(1));
}

/// Where external data is said to be, and what makes a folder ready for it.
type Way<'a> = (&'a str, &'a dyn Fn(&Path));

/// Every way out of the folder, from every place where a model can keep a tensor.
#[test]
fn external_data_never_leads_outside() {
    let outside = tempfile::tempdir().expect("a folder");
    let secret = outside.path().join("secret.bin");
    fs::write(&secret, floats(&[42.0, 43.0])).expect("a file");
    let absolute = secret.to_string_lossy().into_owned();
    let relative =
        format!("../{}/secret.bin", outside.path().file_name().expect("a name").display());
    let links: [Way<'_>; 3] = [
        ("symlink.bin", &|folder| link(&secret, &folder.join("symlink.bin"))),
        ("linked/secret.bin", &|folder| link(outside.path(), &folder.join("linked"))),
        ("hardlink.bin", &|folder| {
            fs::hard_link(&secret, folder.join("hardlink.bin")).expect("a link");
        }),
    ];
    let plain = |_: &Path| {};
    let mut ways: Vec<Way<'_>> =
        vec![(&absolute, &plain), (&relative, &plain), ("*/_ORT_MEM_ADDR_/*", &plain)];
    ways.extend(links);
    let mut tried = 0;
    for (location, prepare) in ways {
        for (place, model) in hiding_places(&external("w", DType::Fp32, &[2], location)) {
            let version = Version::new(&model);
            prepare(version.path());
            let rejection = version.rejection();
            assert_eq!(rejection.kind, RejectKind::BadModel, "{location}, {place}: {rejection}");
            assert!(rejection.reason.contains("tensor 'w'"), "{location}, {place}: {rejection}");
            assert!(!rejection.reason.contains("42"), "{location}, {place}: {rejection}");
            tried += 1;
        }
    }
    assert!(tried >= 40, "only {tried} ways were tried");
    // The same models are fine, or at least harmless, with their own file.
    for (place, model) in hiding_places(&external("w", DType::Fp32, &[2], "own.bin")) {
        let version = Version::new(&model).with("own.bin", &floats(&[1.0, 2.0]));
        if let Err(rejection) = version.probe() {
            assert_eq!(rejection.kind, RejectKind::LoadFailed, "{place}: {rejection}");
        }
    }
}

fn link(to: &Path, at: &Path) {
    std::os::unix::fs::symlink(to, at).expect("a link");
}

#[test]
fn external_data_stays_within_its_file() {
    let at = |entries: &[(&str, &str)]| {
        let start = external("w", DType::Fp32, &[2], "w.bin");
        let w = entries.iter().fold(start, |w, (key, value)| w.entry(key, value));
        let (_, model) = hiding_places(&w).swap_remove(0);
        Version::new(&model).with("w.bin", &[0; 16])
    };
    at(&[("offset", "8"), ("length", "8")]).probe().expect("data at the end of its file");
    for entries in [
        &[("offset", "9")][..],
        &[("offset", "16")],
        &[("offset", "9223372036854775807")],
        &[("offset", "18446744073709551615")],
        &[("offset", "18446744073709551624"), ("length", "8")],
        &[("offset", "-8")],
        &[("length", "16")],
        &[("length", "18446744073709551615")],
        &[("length", "8x")],
        &[("location", "other.bin")],
        &[("prepacked_w", "w.bin")],
    ] {
        let rejection = at(entries).rejection();
        assert_eq!(rejection.kind, RejectKind::BadModel, "{entries:?}: {rejection}");
    }
}

#[test]
fn a_model_that_crashes_ends_its_own_process_only() {
    let rejection = Version::new(&division_trap().model()).rejection();
    assert_eq!(rejection.kind, RejectKind::Crashed, "{rejection}");
    assert!(rejection.reason.contains("SIGFPE"), "{rejection}");
}

#[test]
fn functions_that_call_themselves_harm_nobody() {
    let call = |name: &str| node(name, &["x"], &["y"]).domain("local");
    let model = graph()
        .input("x", tensor(1, &["2"]))
        .output("y", tensor(1, &["2"]))
        .node(call("F"))
        .model_with(vec![function("local", "F", call("G")), function("local", "G", call("F"))]);
    let rejection = Version::new(&model).rejection();
    let kinds = [RejectKind::LoadFailed, RejectKind::Crashed, RejectKind::OutOfMemory];
    assert!(kinds.contains(&rejection.kind), "{rejection}");
}

#[test]
fn a_model_that_hangs_is_stopped_at_the_limit() {
    let version = Version::new(&endless().model());
    let started = Instant::now();
    let rejection = version.rejection_within(ProbeLimits { wall_ms: 1_000, ..LIMITS });
    assert_eq!(rejection.kind, RejectKind::TimedOut, "{rejection}");
    assert!(rejection.reason.contains("1000 ms"), "{rejection}");
    assert!(started.elapsed() < Duration::from_secs(10));
    let rejection = version.rejection_within(ProbeLimits { cpu_ms: 1_000, ..LIMITS });
    assert_eq!(rejection.kind, RejectKind::TimedOut, "{rejection}");
    assert!(rejection.reason.contains("processor time"), "{rejection}");
}

#[test]
fn a_probe_can_be_called_off() {
    let version = Version::new(&endless().model());
    let (library, request) = (library(), request(version.path(), LIMITS));
    let cancelled = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let probe = scope
            .spawn(|| Probe::new(&library, &request).program(PROGRAM.as_ref()).run(&cancelled));
        cancelled.store(true, Ordering::Relaxed);
        let rejection = probe.join().expect("no panic").expect_err("called off");
        assert_eq!(rejection.kind, RejectKind::Internal, "{rejection}");
        assert!(rejection.reason.contains("called off"), "{rejection}");
    });
}

#[test]
fn memory_bombs_go_off_in_their_own_process() {
    const LIMITED: ProbeLimits = ProbeLimits { memory_bytes: 256 << 20, ..LIMITS };
    // 512 MiB, which the system gives; 4 GiB and more, which it does not.
    for elements in [1 << 27, 1 << 30, 1 << 40, 1 << 60] {
        let rejection = Version::new(&memory_bomb(elements).model()).rejection_within(LIMITED);
        assert_eq!(rejection.kind, RejectKind::OutOfMemory, "{elements}: {rejection}");
    }
    let fits = memory_bomb(1 << 20).model();
    let report = Version::new(&fits).probe_within(LIMITED).expect("4 MiB a run");
    assert!(report.peak_bytes > 4 << 20);
}

#[test]
fn memory_is_measured_over_the_largest_batch() {
    let mib_a_row = graph()
        .input("x", tensor(1, &["rows", "1"]))
        .output("y", tensor(1, &["rows", "1"]))
        .constant(constant("times", DType::Int64, &[2], longs(&[1, 1 << 18])))
        .node(node("Tile", &["x", "times"], &["wide"]))
        .node(node("ReduceMax", &["wide"], &["y"]).int("keepdims", 1));
    let version = Version::new(&mib_a_row.model());
    let peak = |rows| {
        let request = ProbeRequest { max_batch_rows: rows, ..request(version.path(), LIMITS) };
        try_out(&request).expect("a good model").peak_bytes
    };
    let (one, many) = (peak(1), peak(100));
    assert!(many > one + (50 << 20), "{one} bytes for a row, {many} for a hundred");
}

#[test]
fn broken_files_are_refused_before_they_are_loaded() {
    let good = add_sub().model();
    let cut = &good[..good.len() - 20];
    let huge = graph()
        .input("x", tensor(1, &["2"]))
        .output("y", tensor(1, &["2"]))
        .constant(constant("w", DType::Fp32, &[1 << 40, 1 << 40], Vec::new()))
        .node(node("Add", &["x", "w"], &["y"]))
        .model();
    for (model, why) in [
        (&b""[..], "empty"),
        (cut, "truncated"),
        (&[0xff; 1000], "no sound ONNX"),
        (&[0; 1000], "no sound ONNX"),
        (b"<html>not found</html>", "no sound ONNX"),
        (&huge, "too many elements"),
        (&nested(200).model(), "graphs within graphs"),
    ] {
        let rejection = Version::new(model).rejection();
        assert_eq!(rejection.kind, RejectKind::BadModel, "{rejection}");
        assert!(rejection.reason.contains(why), "{rejection}, expected {why}");
    }
    let unsound = graph().output("y", tensor(1, &["1"])).node(node("Nothing", &["x"], &["y"]));
    let rejection = Version::new(&unsound.model()).rejection();
    assert_eq!(rejection.kind, RejectKind::LoadFailed, "{rejection}");
    let missing = request(&PathBuf::from("/nowhere"), LIMITS);
    assert_eq!(try_out(&missing).expect_err("no folder").kind, RejectKind::BadFiles);
}

#[test]
fn labels_must_name_outputs() {
    let version = Version::new(&add_sub().model());
    let mut request = request(version.path(), LIMITS);
    request.labels.insert("product".to_owned(), vec!["a".to_owned()]);
    let rejection = try_out(&request).expect_err("no such output");
    assert_eq!(rejection.kind, RejectKind::BadOptions);
    assert!(rejection.reason.contains("'product'"), "{rejection}");
}

#[test]
fn golden_outputs_are_compared() {
    let golden = |expected: &str| {
        let case = format!(
            r#"{{"cases":[{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}}],
            "outputs":[{{"name":"y","datatype":"FP32","shape":[1,2],"data":{expected}}}]}}]}}"#
        );
        Version::new(&square_plus_one().model()).with("golden.json", case.as_bytes())
    };
    assert_eq!(golden("[2,5]").probe().map(|report| report.golden_cases), Ok(1));
    let rejection = golden("[2,6]").rejection();
    assert_eq!(rejection.kind, RejectKind::GoldenMismatch);
    assert!(rejection.reason.contains("case 1, output 'y', element 1: expected 6, got 5"));
    assert_eq!(golden("[2]").rejection().kind, RejectKind::BadFiles);
}

#[test]
fn a_program_that_is_no_modelgate_is_no_verdict_on_the_model() {
    let version = Version::new(&add_sub().model());
    let request = request(version.path(), LIMITS);
    for program in ["/bin/false", "/bin/true", "/nowhere/modelgate"] {
        let probe = Probe::new(&library(), &request).program(program.as_ref());
        let rejection = probe.run(&AtomicBool::new(false)).expect_err("no answer");
        assert_eq!(rejection.kind, RejectKind::Internal, "{program}: {rejection}");
    }
}

fn modelgate(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).arg("probe").args(arguments).output().expect("the program runs")
}

#[test]
fn people_get_a_table_or_json_and_an_exit_code() {
    let version = Version::new(&identity(DType::Fp32, &["rows", "2"]).model());
    let folder = version.path().to_string_lossy().into_owned();
    let table = modelgate(&[&folder]);
    assert_eq!(table.status.code(), Some(0));
    let printed = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(printed.starts_with("accepted\n") && printed.contains("'x' FP32 [-1, 2]"), "{printed}");
    let file = version.path().join("other-name.onnx");
    fs::rename(version.path().join("model.onnx"), &file).expect("another name");
    let json = modelgate(&[&file.to_string_lossy(), "-o", "json"]);
    let document: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(document["accepted"], true);
    assert_eq!(document["report"]["signature"]["inputs"][0]["name"], "x");

    let hostile = Version::new(&division_trap().model());
    let rejected = modelgate(&[&hostile.path().to_string_lossy(), "-o", "json"]);
    assert_eq!(rejected.status.code(), Some(6));
    let document: Value = serde_json::from_slice(&rejected.stdout).expect("JSON");
    assert_eq!(document["rejection"]["kind"], "crashed");
    assert_eq!(modelgate(&["/nowhere"]).status.code(), Some(1));
    assert_eq!(modelgate(&[]).status.code(), Some(2));
}

/// What Linux says of the sandbox, and that nothing is left when the parent dies.
#[test]
fn a_childs_rights_are_gone_and_it_ends_with_its_parent() {
    let version = Version::new(&endless().model());
    let mut parent = Command::new(PROGRAM)
        .args(["probe", &version.path().to_string_lossy()])
        .env("MODELGATE_SECRET", "a secret")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    let child = until("a child in its sandbox", || {
        let child = child_of(parent.id())?;
        let status = fs::read_to_string(format!("/proc/{child}/status")).ok()?;
        (field(&status, "Seccomp:") == Some("2")).then_some(child)
    });
    let status = fs::read_to_string(format!("/proc/{child}/status")).expect("a running child");
    assert_eq!(field(&status, "NoNewPrivs:"), Some("1"));
    assert_eq!(field(&status, "CapEff:"), Some("0000000000000000"));
    let own = nice_of(std::process::id());
    assert_eq!(nice_of(child), own, "somebody waits for it; only the gateway's probes step back");
    let environment = fs::read_to_string(format!("/proc/{child}/environ")).unwrap_or_default();
    assert!(!environment.contains("a secret"), "{environment}");
    parent.kill().expect("a running parent");
    parent.wait().expect("a parent that ends");
    until("the child's end", || match fs::read_to_string(format!("/proc/{child}/status")) {
        Ok(status) => {
            field(&status, "State:").is_some_and(|state| state.starts_with('Z')).then_some(())
        }
        Err(_) => Some(()),
    });
}

fn until<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::yield_now();
    }
}

fn child_of(parent: u32) -> Option<u32> {
    let processes = fs::read_dir("/proc").expect("processes").filter_map(Result::ok);
    processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).find(|process| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        field(&status, "PPid:").and_then(|id| id.parse().ok()) == Some(parent)
    })
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// The 19th number of a process's statistics, behind its name in brackets.
fn nice_of(process: u32) -> i32 {
    let statistics = fs::read_to_string(format!("/proc/{process}/stat")).expect("a process");
    let (_, rest) = statistics.rsplit_once(')').expect("a name");
    rest.split_whitespace().nth(16).and_then(|nice| nice.parse().ok()).expect("a number")
}
