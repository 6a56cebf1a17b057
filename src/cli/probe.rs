//! `modelgate probe`: tries a model as the gateway would before it serves it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use clap::Args;
use serde_json::{Value, json};

use super::output::{self, Shown};
use super::{FAILED, REJECTED};
use crate::engine::{
    Library, Probe as Probing, ProbeLimits, ProbeReport, ProbeRequest, SessionOptions,
    run_probe_child,
};
use crate::types::{FileName, MODEL_FILE, RejectKind, Rejection};

#[derive(Args, Debug)]
pub(super) struct Probe {
    /// A folder with model.onnx, or an .onnx file
    #[arg(value_name = "PATH", required_unless_present = "child")]
    path: Option<PathBuf>,
    #[command(flatten)]
    shown: Shown,
    /// ONNX Runtime's shared library, 1.28 or later [default: searched for]
    #[arg(long, env = "MODELGATE_ONNXRUNTIME", value_name = "PATH")]
    onnxruntime: Option<PathBuf>,
    /// How long loading and trying may take
    #[arg(long, env = "MODELGATE_PROBE_TIMEOUT_MS", value_name = "N", default_value_t = 60_000)]
    timeout_ms: u64,
    /// How much memory loading and trying may take
    #[arg(long, env = "MODELGATE_PROBE_MEMORY_BYTES", value_name = "N", default_value_t = 8 << 30)]
    memory_bytes: u64,
    /// An operator domain to allow beside ai.onnx and ai.onnx.ml; may be repeated
    #[arg(
        long = "allow-domain",
        env = "MODELGATE_PROBE_ALLOW_DOMAIN",
        value_name = "D",
        default_value = "com.microsoft",
        value_delimiter = ','
    )]
    allowed_domains: Vec<String>,
    /// Be the process that tries a model: an order on standard input
    #[arg(long, hide = true, conflicts_with = "path")]
    child: bool,
}

impl Probe {
    pub(super) fn run(self) -> ExitCode {
        if self.child {
            return run_probe_child();
        }
        let library = match Library::open(self.onnxruntime.as_deref()) {
            Ok(library) => library,
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::from(FAILED);
            }
        };
        match self.probe(&library) {
            Ok(report) => {
                let answer = json!({ "accepted": true, "report": report });
                self.print(&answer, table(&report), 0)
            }
            Err(rejection) if rejection.kind == RejectKind::Internal => {
                eprintln!("the model could not be tried: {}", rejection.reason);
                ExitCode::from(FAILED)
            }
            Err(rejection) => {
                let answer = json!({ "accepted": false, "rejection": rejection });
                let reason = output::plain(&rejection.reason);
                let text = format!("rejected  {}\nreason    {reason}", rejection.kind.label());
                self.print(&answer, text, REJECTED)
            }
        }
    }

    fn probe(&self, library: &Library) -> Result<ProbeReport, Rejection> {
        let path = self.path.as_deref().unwrap_or(Path::new("."));
        let limits = ProbeLimits {
            wall_ms: self.timeout_ms,
            cpu_ms: self.timeout_ms.saturating_mul(2),
            memory_bytes: self.memory_bytes,
        };
        try_at(path, library, limits, &self.allowed_domains)
    }

    /// Prints the answer or its form for people, and ends with `code`.
    fn print(&self, answer: &Value, text: String, code: u8) -> ExitCode {
        match output::print(self.shown.format, answer, |_| text) {
            Ok(()) => ExitCode::from(code),
            Err(error) => {
                eprintln!("cannot write the answer: {error}");
                ExitCode::from(FAILED)
            }
        }
    }
}

/// Tries the model at a path: a folder with model.onnx, or a file.
///
/// # Errors
/// Why no gateway would serve it; `Internal` where it could not be tried.
pub(super) fn try_at(
    path: &Path,
    library: &Library,
    limits: ProbeLimits,
    allowed_domains: &[String],
) -> Result<ProbeReport, Rejection> {
    let missing = |error: std::io::Error| {
        Rejection::new(RejectKind::Internal, format!("{}: {error}", path.display()))
    };
    let is_folder = fs::metadata(path).map_err(missing)?.is_dir();
    let (folder, file) = match (is_folder, path.file_name().and_then(|name| name.to_str())) {
        (true, _) => (path, MODEL_FILE),
        (false, Some(name)) => (folder_of(path), name),
        (false, None) => (path, ""),
    };
    let file = FileName::parse(file)
        .map_err(|error| Rejection::new(RejectKind::Internal, error.to_string()))?;
    let request = ProbeRequest {
        folder: folder.to_owned(),
        session: SessionOptions::default(),
        labels: BTreeMap::new(),
        max_batch_rows: 1,
        limits,
        yields: false,
        allowed_domains: allowed_domains.to_vec(),
    };
    Probing::new(library, &request).file(&file).run(&AtomicBool::new(false))
}

/// The folder that a file lies in.
fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn table(report: &ProbeReport) -> String {
    let mut lines = vec!["accepted".to_owned()];
    let mut line = |name: &str, value: String| lines.push(format!("{name:<13} {value}"));
    for input in &report.signature.inputs {
        line("input", input.to_string());
    }
    for output in &report.signature.outputs {
        line("output", output.to_string());
    }
    line("load", format!("{} ms", report.load_ms));
    line(
        "one row",
        match report.run_us {
            Some(micros) => format!("{micros:.1} us"),
            None => "does not run on made-up inputs".to_owned(),
        },
    );
    line("memory", format!("{} at most", output::bytes(report.peak_bytes)));
    line("golden cases", report.golden_cases.to_string());
    line("onnx runtime", report.onnxruntime.clone());
    line("sandbox", report.sandbox.join(", "));
    lines.join("\n")
}
