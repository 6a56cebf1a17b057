//! The process that may die: it opens ONNX Runtime, closes the sandbox, and tries the
//! model.

use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::memory::Status;
use super::messages::{MOST_BYTES, Message, Order};
use super::sandbox::{self, Confinement};
use super::{ProbeReport, verdict};
use crate::engine::golden::{self, Golden, GoldenError};
use crate::engine::measure::{try_batch, try_one_row};
use crate::engine::{Engine, EngineError, Library, OrtEngine};
use crate::onnx::{self, ScanRules};
use crate::types::{GOLDEN_FILE, MODEL_FILE, RejectKind, Rejection};

/// How long one row is run over and over once it has run.
const MEASURED_FOR: Duration = Duration::from_millis(20);

/// How long one batch of as many rows as may run together is expected to take at most.
const BATCH_FOR: Duration = Duration::from_secs(1);

/// What `modelgate probe --child` does: reads an order from standard input and answers
/// on standard output. Fails where nobody can be answered.
pub fn run() -> ExitCode {
    match obey() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the probe cannot go on: {error}");
            ExitCode::FAILURE
        }
    }
}

fn obey() -> io::Result<()> {
    sandbox::die_with_parent();
    let mut text = Vec::new();
    io::stdin().lock().take(MOST_BYTES).read_to_end(&mut text)?;
    let order: Order = serde_json::from_slice(&text)?;
    sandbox::require_parent(order.parent)?;
    sandbox::step_back(order.request.yields);
    let library = match Library::open_found(&order.library) {
        Ok(library) => library,
        Err(error) => {
            return say(&Message::Bad(Rejection::new(RejectKind::Internal, error.to_string())));
        }
    };
    let mut status = Status::own().ok();
    let mut memory = move || status.as_mut().and_then(|s| s.memory().ok()).unwrap_or_default();
    let before = memory();
    say(&Message::Ready { resident: before.resident })?;
    let limits = &order.request.limits;
    let confinement = Confinement {
        folder: &order.request.folder,
        cpu_ms: limits.cpu_ms,
        mapped_bytes: before.mapped.saturating_add(limits.memory_bytes),
    };
    let message = match sandbox::enter(&confinement) {
        Ok(in_force) => match try_safely(&library, &order) {
            Ok(report) => {
                let peak_bytes = memory().peak.saturating_sub(before.resident);
                Message::Good(ProbeReport { peak_bytes, sandbox: in_force, ..report })
            }
            Err(rejection) => Message::Bad(rejection),
        },
        Err(error) => {
            let why = format!("the probe cannot be confined: {error}");
            Message::Bad(Rejection::new(RejectKind::Internal, why))
        }
    };
    say(&message)
}

/// [`try_model`], with a panic as a rejection.
fn try_safely(library: &Library, order: &Order) -> Result<ProbeReport, Rejection> {
    catch_unwind(AssertUnwindSafe(|| try_model(library, order))).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        let why = format!("trying the model panicked: {said}");
        Err(Rejection::new(RejectKind::Crashed, why))
    })
}

fn say(message: &Message) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line)?;
    stdout.flush()
}

/// Everything that is asked of a model. The engine is gone when it returns, so that a
/// crash while unloading shows.
fn try_model(library: &Library, order: &Order) -> Result<ProbeReport, Rejection> {
    let request = &order.request;
    let path = request.folder.join(order.file.as_str());
    let rules = ScanRules { allowed_domains: request.allowed_domains.iter().cloned().collect() };
    onnx::scan_file(&path, &rules)
        .map_err(|error| Rejection::new(RejectKind::BadModel, error.to_string()))?;
    let golden = golden_of(&path)?;
    let started = Instant::now();
    let engine = OrtEngine::load(library, &path, &request.session)
        .map_err(|error| rejection(RejectKind::LoadFailed, error))?
        .with_labels(&request.labels)
        .map_err(|error| rejection(RejectKind::BadOptions, error))?;
    let load_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let run_us = try_runs(&engine, request.max_batch_rows)?;
    let golden_cases = match golden {
        Some(golden) => golden::check(&engine, &golden, None).map_err(unlike_golden)?,
        None => 0,
    };
    Ok(ProbeReport {
        signature: engine.signature().clone(),
        peak_bytes: 0,
        load_ms,
        run_us,
        golden_cases,
        onnxruntime: library.version().to_owned(),
        sandbox: Vec::new(),
    })
}

/// Runs one row, and a batch for the memory that it takes. Tells how many microseconds a
/// row takes; none where the model runs on no made-up input.
fn try_runs(engine: &OrtEngine, max_rows: usize) -> Result<Option<f64>, Rejection> {
    let is_fatal = |error: &EngineError| match error {
        EngineError::Run(reason) => verdict::is_about_memory(reason),
        _ => true,
    };
    let tried = match try_one_row(engine, MEASURED_FOR) {
        Ok(tried) => tried,
        Err(error) if is_fatal(&error) => return Err(rejection(RejectKind::LoadFailed, error)),
        Err(_) => return Ok(None),
    };
    match try_batch(engine, &tried, max_rows, BATCH_FOR) {
        Err(EngineError::Run(reason)) if verdict::is_about_memory(&reason) => {
            let error = EngineError::Run(format!("a batch of {max_rows} rows: {reason}"));
            Err(rejection(RejectKind::OutOfMemory, error))
        }
        _ => Ok(Some(tried.quickest.as_nanos() as f64 / 1e3)),
    }
}

/// The golden file beside `model.onnx`; a model of another name has none.
fn golden_of(model: &Path) -> Result<Option<Golden>, Rejection> {
    if !model.ends_with(MODEL_FILE) {
        return Ok(None);
    }
    Golden::read(&model.with_file_name(GOLDEN_FILE))
        .map_err(|error| Rejection::new(RejectKind::BadFiles, error.to_string()))
}

fn rejection(kind: RejectKind, error: EngineError) -> Rejection {
    let reason = error.to_string();
    let kind = match error {
        EngineError::Stopped => RejectKind::TimedOut,
        _ if verdict::is_about_memory(&reason) => RejectKind::OutOfMemory,
        _ => kind,
    };
    Rejection::new(kind, reason)
}

fn unlike_golden(error: GoldenError) -> Rejection {
    match error {
        GoldenError::Run { case, source } => {
            let Rejection { kind, reason } = rejection(RejectKind::GoldenMismatch, source);
            Rejection::new(kind, format!("{GOLDEN_FILE}, case {case}: {reason}"))
        }
        other => Rejection::new(RejectKind::GoldenMismatch, other.to_string()),
    }
}
