use std::process::ExitCode;

fn main() -> ExitCode {
    // Before any thread starts: it is set in the environment.
    if let Err(error) = modelgate::engine::disable_telemetry() {
        eprintln!("{error}");
    }
    modelgate::cli::run()
}
