//! The gateway as its users run it: the built program, in a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::http::{self, Connection, Reply};

/// Far beyond what starting, loading and stopping take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a gateway is to be started.
pub struct Launch {
    command: Command,
    folder: TempDir,
    config: String,
    /// Its data folder, where it is not one of its own.
    data: Option<PathBuf>,
}

/// A running gateway. It ends with its owner, and with the test program.
pub struct Gateway {
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    pub ops: SocketAddr,
    pub admin: SocketAddr,
    process: Process,
}

/// A started program and what it has logged.
pub struct Process {
    child: Child,
    logs: Arc<Logs>,
    _watchdog: Watchdog,
    _folder: TempDir,
}

/// Kills a program when this one ends, however it ends: a shell sees its
/// standard input close. Dropped, it lets the program be.
pub struct Watchdog(Child);

/// What a program that has ended has left.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Launch {
    /// `modelgate serve` on free ports.
    pub fn new() -> Launch {
        let listeners = ["--http", "--grpc", "--metrics", "--admin"];
        let listeners = listeners.map(|listener| [listener, "127.0.0.1:0"]);
        Launch::bare().args(listeners.as_flattened())
    }

    /// `modelgate serve` as it is, but for what this environment sets.
    pub fn bare() -> Launch {
        let mut command = Command::new(env!("CARGO_BIN_EXE_modelgate"));
        for (name, _) in std::env::vars_os() {
            let library = name == "MODELGATE_ONNXRUNTIME";
            if name.to_string_lossy().starts_with("MODELGATE_") && !library {
                command.env_remove(&name);
            }
        }
        // Cargo sets it for the tests; the program has to see to it itself.
        command.env_remove("ORT_DISABLE_TELEMETRY");
        command.arg("serve").stdin(Stdio::null());
        let folder = tempfile::tempdir().expect("a folder for the configuration");
        Launch { command, folder, config: String::new(), data: None }
    }

    pub fn models(mut self, folder: &Path) -> Launch {
        self.command.arg("--models").arg(folder);
        self
    }

    /// A data folder that outlives it.
    pub fn data(mut self, folder: &Path) -> Launch {
        self.data = Some(folder.to_owned());
        self
    }

    /// More lines of the configuration file.
    pub fn config(mut self, yaml: &str) -> Launch {
        self.config.push_str(yaml);
        self.config.push('\n');
        self
    }

    pub fn args(mut self, args: &[&str]) -> Launch {
        self.command.args(args);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Launch {
        self.command.env(name, value);
        self
    }

    pub fn current_dir(mut self, folder: &Path) -> Launch {
        self.command.current_dir(folder);
        self
    }

    /// Starts the gateway with a low limit of open files, as shells set it.
    pub fn soft_open_files(mut self, files: u32) -> Launch {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("ulimit -Sn {files}; exec \"$0\" \"$@\""));
        shell.arg(self.command.get_program()).args(self.command.get_args()).stdin(Stdio::null());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        self.command = shell;
        self
    }

    fn write_config(&mut self) {
        let data = self.data.take().unwrap_or_else(|| self.folder.path().join("data"));
        self.command.env("MODELGATE_DATA", data);
        if !self.config.is_empty() {
            let file = self.folder.path().join("modelgate.yaml");
            std::fs::write(&file, &self.config).expect("a configuration file");
            self.command.arg("--config").arg(&file);
        }
    }

    /// Starts the gateway and waits until it listens.
    pub fn listen(mut self) -> Gateway {
        self.write_config();
        self.command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = self.command.spawn().expect("the built program starts");
        let watchdog = Watchdog::over(&child);
        let logs = Logs::collect(child.stderr.take().expect("a pipe"));
        let process = Process { child, logs, _watchdog: watchdog, _folder: self.folder };
        let address = |listener: &str| {
            let line = process.wait_for_log(|line| {
                line["message"] == "listening" && line["listener"] == listener
            });
            line["address"].as_str().and_then(|text| text.parse().ok()).expect("an address")
        };
        let (http, grpc, ops) = (address("http"), address("grpc"), address("metrics"));
        let admin = address("admin");
        Gateway { http, grpc, ops, admin, process }
    }

    /// Starts the gateway and waits until its models are loaded.
    pub fn start(self) -> Gateway {
        let gateway = self.listen();
        gateway.wait_for_log(|line| line["message"] == "ready");
        gateway
    }

    /// Runs the program to its end.
    pub fn run(mut self) -> Ended {
        self.write_config();
        let mut child = self
            .command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the built program starts");
        let _watchdog = Watchdog::over(&child);
        let stdout = read_all(child.stdout.take().expect("a pipe"));
        let stderr = read_all(child.stderr.take().expect("a pipe"));
        let status = wait(&mut child, PATIENCE).unwrap_or_else(|| {
            let _ = child.kill();
            panic!("the program did not end")
        });
        let text = |reader: std::thread::JoinHandle<String>| reader.join().expect("a reader");
        Ended { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }
}

impl Watchdog {
    pub fn over(child: &Child) -> Watchdog {
        let shell = Command::new("sh")
            .args(["-c", "cat >/dev/null; kill -9 \"$1\" 2>/dev/null", "watchdog"])
            .arg(child.id().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Watchdog(shell.expect("a shell"))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn read_all(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        let _ = pipe.read_to_string(&mut text);
        text
    })
}

fn wait(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let until = Instant::now() + patience;
    loop {
        match child.try_wait().expect("a child of ours") {
            Some(status) => return Some(status),
            None if Instant::now() >= until => return None,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

impl std::ops::Deref for Gateway {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl Gateway {
    pub fn listeners(&self) -> [SocketAddr; 2] {
        [self.http, self.grpc]
    }

    /// One request over a connection of its own.
    pub fn get(&self, path: &str) -> Reply {
        http::get(self.http, path)
    }

    /// Asserts that the gateway lives and serves newcomers.
    #[track_caller]
    pub fn assert_serves(&self) {
        let reply = self.get("/v2/health/ready");
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(!self.has_ended(), "the gateway has ended");
    }

    pub fn connect(&self) -> Connection {
        Connection::open(self.http)
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Waits for the process to end.
    pub fn wait(mut self, patience: Duration) -> ExitStatus {
        wait(&mut self.process.child, patience).expect("the gateway ends in time")
    }
}

impl Process {
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, signal).expect("the gateway lives");
    }

    /// Memory that the process holds, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id()));
        let pages = statm.ok().and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
        pages.expect("the gateway lives") * 4096
    }

    /// Most memory that the process has held since [`Process::forget_peak`], in bytes.
    pub fn peak_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("the gateway lives");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kib.expect("a number of KiB") * 1024
    }

    pub fn forget_peak(&self) {
        let file = format!("/proc/{}/clear_refs", self.child.id());
        std::fs::write(file, "5").expect("the gateway lives");
    }

    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it lives").count()
    }

    pub fn has_ended(&self) -> bool {
        // A zombie has no memory left.
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id()));
        statm.map_or(true, |text| text.starts_with("0 "))
    }

    /// The first line logged so far or from now on that `wanted` is true for.
    #[track_caller]
    pub fn wait_for_log(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.logs.wait_for(wanted)
    }

    pub fn logged(&self) -> Vec<Value> {
        self.logs.state.lock().expect("no panic").lines.clone()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines of a program's log as they come.
#[derive(Default)]
struct Logs {
    state: Mutex<LogState>,
    news: Condvar,
}

#[derive(Default)]
struct LogState {
    lines: Vec<Value>,
    ended: bool,
}

impl Logs {
    fn collect(pipe: impl Read + Send + 'static) -> Arc<Logs> {
        let logs = Arc::new(Logs::default());
        let into = Arc::clone(&logs);
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                // Every line is one JSON object; what is not is kept as text.
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                into.state.lock().expect("no panic").lines.push(value);
                into.news.notify_all();
            }
            into.state.lock().expect("no panic").ended = true;
            into.news.notify_all();
        });
        logs
    }

    #[track_caller]
    fn wait_for(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + PATIENCE;
        let mut state = self.state.lock().expect("no panic");
        loop {
            if let Some(line) = state.lines.iter().find(|line| wanted(line)) {
                return line.clone();
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!state.ended && !left.is_zero(), "it never came: {:#?}", state.lines);
            state = self.news.wait_timeout(state, left).expect("no panic").0;
        }
    }
}
