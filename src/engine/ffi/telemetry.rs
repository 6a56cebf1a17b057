//! ONNX Runtime's own telemetry, which must be off before the library is loaded.

const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";

/// Turns ONNX Runtime's telemetry off for this process. The library reads an
/// environment variable when it starts; its call to disable telemetry comes too
/// late, when a thread runs and a database is open. Call this first in `main`:
/// where other threads may run already and the variable is not set, it is an error.
pub fn disable_telemetry() -> Result<(), String> {
    if std::env::var_os(VARIABLE).is_some_and(|value| value == "1") {
        return Ok(());
    }
    let threads = std::fs::read_dir("/proc/self/task").map(Iterator::count);
    if !matches!(threads, Ok(1)) {
        return Err(format!(
            "ONNX Runtime's telemetry is still on: set {VARIABLE}=1 in the environment"
        ));
    }
    // SAFETY: this is the process's only thread, as its task list has just said, and no
    // other can start while this one is here, so nothing reads the environment meanwhile.
    #[expect(clippy::disallowed_methods, reason = "no other thread runs, as checked above")]
    unsafe {
        std::env::set_var(VARIABLE, "1");
    }
    Ok(())
}
