use std::ffi::c_char;
use std::process::ExitCode;

/// Takes the place of the process's `malloc` too, so that models and requests share one pool.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What jemalloc reads before anything is allocated: memory that nobody has used for a second
/// goes back to the system. The environment variable `MALLOC_CONF` adds to it.
///
/// This is the type that jemalloc declares for it: a pointer to a C string.
//
// SAFETY: `malloc_conf` is the name under which jemalloc looks for its options, and it is
// weak there, so nothing else is displaced; the string ends with NUL and lives for ever.
#[unsafe(export_name = "malloc_conf")]
#[expect(unsafe_code, reason = "jemalloc takes its options by a symbol")]
pub static ALLOCATOR_OPTIONS: Option<&c_char> =
    // SAFETY: the first character of a literal is valid for ever.
    Some(unsafe { &*c"dirty_decay_ms:1000,muzzy_decay_ms:0".as_ptr() });

fn main() -> ExitCode {
    // Before any thread starts: it is set in the environment.
    if let Err(error) = modelgate::engine::disable_telemetry() {
        eprintln!("{error}");
    }
    modelgate::cli::run(give_memory_back)
}

/// Starts a thread of the allocator's own that gives memory back, whoever freed it: a version
/// that was unloaded and a burst of large bodies so leave nothing behind, and no thread that
/// serves requests has to see to it. Without it only threads that go on allocating would.
fn give_memory_back() {
    if let Err(error) = tikv_jemalloc_ctl::background_thread::write(true) {
        eprintln!("the allocator's thread does not start, so memory is given back late: {error}");
    }
}
