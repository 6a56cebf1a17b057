//! The bare model: what ONNX Runtime alone answers on the server's core.

use std::path::Path;
use std::process::Command;

use crate::Result;
use crate::bench::Bench;

/// Runs of the model a second, without any server, on the servers' cores.
pub fn runs_per_second(bench: &Bench, model: &Path) -> Result<f64> {
    let mut command = Command::new("taskset");
    command.args(["-c", &bench.server_cores]).arg(bench.program("examples/raw_run")?);
    command.arg(model).arg(bench.time.as_secs().to_string());
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().map_err(|_| {
        format!("raw_run failed: {}{}", text, String::from_utf8_lossy(&output.stderr)).into()
    })
}
