//! The gateway's side of a probe: starts the child, watches it, and judges.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::memory::Status;
use super::messages::{MOST_BYTES, Message, Order};
use super::verdict::{self, Stage};
use super::{ProbeReport, ProbeRequest};
use crate::engine::Library;
use crate::types::{FileName, MODEL_FILE, RejectKind, Rejection};

/// How often a child's memory and time are looked at.
const TICK: Duration = Duration::from_millis(20);

/// How often it is looked whether a child that has said all has ended.
const LAST_TICK: Duration = Duration::from_millis(2);

/// Memory that a child may take before it says what it takes without a model.
const START_BYTES: u64 = 512 << 20;

/// Most bytes kept of what a child writes to its standard error.
const MOST_COMPLAINTS: u64 = 64 << 10;

/// What a child gets of this process's environment: where the system's loader and the
/// C library look for files. Anything else may be a secret.
const INHERITED: [&str; 2] = ["LD_LIBRARY_PATH", "LOCPATH"];

/// One probe, about to be made.
pub struct Probe<'a> {
    library: Library,
    request: &'a ProbeRequest,
    program: PathBuf,
    file: String,
}

impl<'a> Probe<'a> {
    /// A probe of `model.onnx` in the request's folder.
    pub fn new(library: &Library, request: &'a ProbeRequest) -> Probe<'a> {
        Probe { library: *library, request, program: own_program(), file: MODEL_FILE.to_owned() }
    }

    /// Runs another program as the child, for callers that are not `modelgate` themselves.
    pub fn program(mut self, program: &Path) -> Probe<'a> {
        self.program = program.to_owned();
        self
    }

    /// Tries another file of the folder than `model.onnx`.
    pub fn file(mut self, file: &FileName) -> Probe<'a> {
        self.file = file.as_str().to_owned();
        self
    }

    /// Makes the probe, as [`Library::probe`] does.
    ///
    /// # Errors
    /// As [`Library::probe`].
    pub fn run(self, cancelled: &AtomicBool) -> Result<ProbeReport, Rejection> {
        let order = self.order()?;
        let folder = order.request.folder.clone();
        let answer =
            Running::start(&self.program, &order).and_then(|mut running| running.attend(cancelled));
        answer
            .map_err(|rejection| verdict::without_folders(rejection, &folder, self.library.path()))
    }

    fn order(&self) -> Result<Order, Rejection> {
        let folder = self.request.folder.canonicalize().map_err(|error| {
            Rejection::new(RejectKind::BadFiles, format!("its folder cannot be read: {error}"))
        })?;
        let file = FileName::parse(&self.file)
            .map_err(|error| Rejection::new(RejectKind::BadFiles, error.to_string()))?;
        Ok(Order {
            parent: std::process::id(),
            library: self.library.path().to_owned(),
            file,
            request: ProbeRequest { folder, ..self.request.clone() },
        })
    }
}

/// A child that has waited so long for a processor is given up, to be tried again.
const STARVED: Duration = Duration::from_secs(10);

/// A child at work. It does not outlive this.
struct Running {
    child: Child,
    started: Instant,
    limits: super::ProbeLimits,
    messages: Receiver<Message>,
    complaints: Receiver<String>,
    status: Option<Status>,
    /// Memory that the child holds without a model.
    before: Option<u64>,
    last: Option<Message>,
}

impl Running {
    fn start(program: &Path, order: &Order) -> Result<Running, Rejection> {
        let text = serde_json::to_vec(order)
            .map_err(|error| internal(format!("the order cannot be written: {error}")))?;
        if text.len() as u64 > MOST_BYTES {
            return Err(internal(format!("the order is longer than {MOST_BYTES} bytes")));
        }
        let started = Instant::now();
        let mut child = Command::new(program)
            .args(["probe", "--child"])
            .env_clear()
            .env("ORT_DISABLE_TELEMETRY", "1")
            .envs(INHERITED.iter().filter_map(|name| Some((name, env::var_os(name)?))))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| internal(format!("its process cannot be started: {error}")))?;
        let (messages, complaints) =
            (messages(child.stdout.take()), complaints(child.stderr.take()));
        if let Some(mut stdin) = child.stdin.take() {
            // On a thread, because a child that hangs would leave it in the pipe.
            thread::spawn(move || {
                let _ = stdin.write_all(&text);
            });
        }
        let status = Status::of(child.id()).ok();
        let limits = order.request.limits;
        Ok(Running {
            child,
            started,
            limits,
            messages,
            complaints,
            status,
            before: None,
            last: None,
        })
    }

    /// Waits for the child's last message and its end.
    fn attend(&mut self, cancelled: &AtomicBool) -> Result<ProbeReport, Rejection> {
        let mut silent = false;
        let status = loop {
            match self.messages.recv_timeout(if silent { Duration::ZERO } else { TICK }) {
                Ok(Message::Ready { resident }) => self.before = Some(resident),
                Ok(message) => self.last = Some(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    silent = true;
                    thread::sleep(LAST_TICK);
                }
            }
            match self.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) => self.check_limits(cancelled)?,
                Err(error) => return Err(internal(format!("its process is lost: {error}"))),
            }
        };
        // What it said right before its end may still be on the way.
        while let Ok(message) = self.messages.recv_timeout(Duration::from_secs(1)) {
            self.last = Some(message);
        }
        self.judge(status)
    }

    fn check_limits(&mut self, cancelled: &AtomicBool) -> Result<(), Rejection> {
        if cancelled.load(Ordering::Relaxed) {
            return Err(internal("the probe was called off".to_owned()));
        }
        let waited = self.waited_for_processor();
        if waited >= STARVED {
            return Err(internal("the processor was taken by others all the time".to_owned()));
        }
        let elapsed = self.started.elapsed().saturating_sub(waited);
        if elapsed >= Duration::from_millis(self.limits.wall_ms) {
            let why = format!("loading and trying it took longer than {} ms", self.limits.wall_ms);
            return Err(Rejection::new(RejectKind::TimedOut, why));
        }
        let peak = self.status.as_mut().and_then(|status| status.memory().ok());
        let peak = peak.map_or(0, |memory| memory.peak);
        let (before, most) = match self.before {
            Some(before) => (before, self.limits.memory_bytes),
            None => (0, START_BYTES.saturating_add(self.limits.memory_bytes)),
        };
        if peak.saturating_sub(before) > most {
            return Err(verdict::too_much_memory(self.limits.memory_bytes));
        }
        Ok(())
    }

    /// How long the child could have run and others did. That is not the model's fault.
    fn waited_for_processor(&self) -> Duration {
        let file = format!("/proc/{}/schedstat", self.child.id());
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let nanos = text.split_whitespace().nth(1).and_then(|nanos| nanos.parse().ok());
        Duration::from_nanos(nanos.unwrap_or(0))
    }

    fn judge(&mut self, status: ExitStatus) -> Result<ProbeReport, Rejection> {
        match self.last.take() {
            Some(Message::Good(report)) if status.success() => Ok(report),
            Some(Message::Bad(rejection)) => Err(rejection),
            // A model that is fine until it is unloaded would end the gateway then.
            _ => {
                let complaints = self.complaints.recv_timeout(Duration::from_secs(1));
                let stage = if self.before.is_some() { Stage::Model } else { Stage::Start };
                let complaints = complaints.unwrap_or_default();
                Err(verdict::of_end(status, stage, &complaints, &self.limits))
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Reaped already: its number may be another's.
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The file that this process runs; on Linux, even where another has taken its name.
fn own_program() -> PathBuf {
    match cfg!(target_os = "linux") {
        true => PathBuf::from("/proc/self/exe"),
        false => env::current_exe().unwrap_or_else(|_| PathBuf::from("modelgate")),
    }
}

fn internal(why: String) -> Rejection {
    Rejection::new(RejectKind::Internal, why)
}

/// What the child says, line by line. A library may print lines of its own.
fn messages(stdout: Option<ChildStdout>) -> Receiver<Message> {
    let (tell, told) = mpsc::sync_channel(4);
    thread::spawn(move || {
        let lines = stdout.map(|stdout| BufReader::new(stdout.take(MOST_BYTES)).split(b'\n'));
        let lines = lines.into_iter().flatten().map_while(Result::ok);
        let messages = lines.filter_map(|line| serde_json::from_slice(&line).ok());
        // Whoever listened has given the child up.
        messages.map_while(|message| tell.send(message).ok()).count();
    });
    told
}

/// The beginning of what the child writes to its standard error, once it has ended.
fn complaints(stderr: Option<ChildStderr>) -> Receiver<String> {
    let (tell, told) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let mut kept = Vec::new();
        if let Some(stderr) = stderr {
            let mut stderr = stderr;
            let _ = stderr.by_ref().take(MOST_COMPLAINTS).read_to_end(&mut kept);
            // The rest is read as well: a full pipe would hold the child up.
            let _ = std::io::copy(&mut stderr, &mut std::io::sink());
        }
        let _ = tell.send(String::from_utf8_lossy(&kept).into_owned());
    });
    told
}
