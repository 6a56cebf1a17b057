//! From the end of a child to a reason that people understand.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use rustix::process::Signal;

use super::ProbeLimits;
use crate::types::{RejectKind, Rejection};

/// Most bytes of a child's complaints in a reason.
const MOST_SAID: usize = 400;

const SIGNALS: [(Signal, &str, &str); 9] = [
    (Signal::FPE, "SIGFPE", "an impossible division"),
    (Signal::SEGV, "SIGSEGV", "an invalid memory access"),
    (Signal::BUS, "SIGBUS", "a read past the end of a mapped file"),
    (Signal::ILL, "SIGILL", "an instruction that this processor lacks"),
    (Signal::ABORT, "SIGABRT", "it gave up"),
    (Signal::TRAP, "SIGTRAP", "a trap"),
    (Signal::SYS, "SIGSYS", "a forbidden system call"),
    (Signal::TERM, "SIGTERM", "somebody ended it"),
    (Signal::PIPE, "SIGPIPE", "nobody listened"),
];

/// What libraries say when they get no memory.
const NO_MEMORY: [&str; 6] = [
    "bad_alloc",
    "bad_array_new_length",
    "memory allocation of",
    "Failed to allocate memory",
    "Cannot allocate memory",
    "out of memory",
];

/// Whether ONNX Runtime or a runtime says that memory was not to be had.
pub(super) fn is_about_memory(text: &str) -> bool {
    NO_MEMORY.iter().any(|sign| text.contains(sign))
}

pub(super) fn too_much_memory(most: u64) -> Rejection {
    let why = format!("loading and trying it took more than {most} bytes of memory");
    Rejection::new(RejectKind::OutOfMemory, why)
}

/// What a child was busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Opening ONNX Runtime.
    Start,
    Model,
}

/// Why a child ended without an answer. Before it looked at the model, that says nothing
/// about the model.
pub(super) fn of_end(
    status: ExitStatus,
    stage: Stage,
    complaints: &str,
    limits: &ProbeLimits,
) -> Rejection {
    let said = last_words(complaints);
    let crashed = match stage {
        Stage::Start => RejectKind::Internal,
        Stage::Model => RejectKind::Crashed,
    };
    let Some(signal) = status.signal() else {
        let code = status.code().unwrap_or(-1);
        let why = format!("its process ended with code {code} and no answer{said}");
        return Rejection::new(crashed, why);
    };
    let at = match stage {
        Stage::Start => "starting ONNX Runtime",
        Stage::Model => "the model",
    };
    if is_about_memory(complaints) {
        let why = format!("{at} found no memory: it may take {} bytes{said}", limits.memory_bytes);
        return Rejection::new(RejectKind::OutOfMemory, why);
    }
    if signal == Signal::XCPU.as_raw() {
        let why =
            format!("loading and trying it took more than {} ms of processor time", limits.cpu_ms);
        return Rejection::new(RejectKind::TimedOut, why);
    }
    if signal == Signal::KILL.as_raw() {
        let why = "the system killed its process (SIGKILL), most likely for lack of memory";
        return Rejection::new(RejectKind::OutOfMemory, why);
    }
    let named = SIGNALS.iter().find(|(known, _, _)| known.as_raw() == signal);
    let name = named.map_or_else(
        || format!("signal {signal}"),
        |(_, name, meaning)| format!("{name} ({meaning})"),
    );
    Rejection::new(crashed, format!("{at} ended its process with {name}{said}"))
}

/// What a child wrote last, as a part of a sentence.
fn last_words(complaints: &str) -> String {
    // Of a Rust panic that is followed by advice, the panic.
    let lines: Vec<&str> = complaints
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("note: run with"))
        .collect();
    let from = lines.len().saturating_sub(3);
    let text: String = lines[from..].join("; ").chars().filter(|c| !c.is_control()).collect();
    match text.is_empty() {
        true => String::new(),
        false => format!(": {}", &text[..text.floor_char_boundary(MOST_SAID)]),
    }
}

/// The rejection as clients may read it: without the folders of this machine, and on
/// one line, whatever the child has said.
pub(super) fn without_folders(rejection: Rejection, model: &Path, library: &Path) -> Rejection {
    let places = model.ancestors().chain(library.ancestors().skip(1));
    let line = |c: char| if c.is_control() { ' ' } else { c };
    let mut reason: String = rejection.reason.chars().map(line).collect();
    for folder in places.filter(|folder| folder.parent().is_some_and(|up| up != Path::new(""))) {
        reason = reason.replace(&format!("{}/", folder.display()), "");
    }
    Rejection::new(rejection.kind, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ProbeLimits = ProbeLimits { wall_ms: 1, cpu_ms: 2, memory_bytes: 3 };

    fn ended(raw: i32, complaints: &str) -> Rejection {
        of_end(ExitStatus::from_raw(raw), Stage::Model, complaints, &LIMITS)
    }

    #[test]
    fn ends_get_their_kind() {
        for (raw, complaints, kind, why) in [
            (8, "", RejectKind::Crashed, "SIGFPE"),
            (11, "", RejectKind::Crashed, "SIGSEGV"),
            (6, "terminate called after throwing 'X'", RejectKind::Crashed, "throwing 'X'"),
            (6, "what():  std::bad_alloc", RejectKind::OutOfMemory, "3 bytes"),
            (6, "memory allocation of 99 bytes failed", RejectKind::OutOfMemory, "99 bytes"),
            (9, "", RejectKind::OutOfMemory, "SIGKILL"),
            (24, "", RejectKind::TimedOut, "2 ms of processor time"),
            (63, "", RejectKind::Crashed, "signal 63"),
            (2 << 8, "usage", RejectKind::Crashed, "code 2 and no answer: usage"),
            (0, "", RejectKind::Crashed, "code 0"),
        ] {
            let rejection = ended(raw, complaints);
            assert_eq!(rejection.kind, kind, "{rejection}");
            assert!(rejection.reason.contains(why), "{rejection}");
        }
        for raw in [11, 1 << 8] {
            let early = of_end(ExitStatus::from_raw(raw), Stage::Start, "", &LIMITS);
            assert_eq!(early.kind, RejectKind::Internal, "no model was there yet: {early}");
        }
    }

    #[test]
    fn reasons_name_no_folder_and_stay_short() {
        let (model, library) = (Path::new("/srv/m/1"), Path::new("/opt/ort/lib.so"));
        let reason = "Load from /srv/m/1/model.onnx: /srv/m/x, /opt/ort/lib.so and /srv/m/1";
        let cleaned =
            without_folders(Rejection::new(RejectKind::LoadFailed, reason), model, library);
        assert_eq!(cleaned.reason, "Load from model.onnx: x, lib.so and 1");
        let escape = Rejection::new(RejectKind::Crashed, "\u{1b}[2Jline\nline");
        assert_eq!(without_folders(escape, model, library).reason, " [2Jline line");
        assert!(ended(6, &"ä\n".repeat(9999)).reason.len() < 600);
        assert!(ended(6, &"ä".repeat(9999)).reason.len() < 600);
    }
}
