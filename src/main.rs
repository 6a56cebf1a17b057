use std::process::ExitCode;

/// Overrides the process's `malloc` too: it pays where ONNX Runtime uses it as well.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before any thread starts: it is set in the environment.
    if let Err(error) = modelgate::engine::disable_telemetry() {
        eprintln!("{error}");
    }
    modelgate::cli::run()
}
