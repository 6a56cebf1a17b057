//! The limit of open files: every connection takes one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are open beside the connections: listeners, models, logs.
const OTHERS: u64 = 64;

/// Raises this process's limit as far as the system lets it. The limit it
/// starts with is low for the sake of programs that still use `select`.
pub(super) fn raise_limit(connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let now = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let needed = connections as u64 + OTHERS;
    if let Some(files) = now.filter(|files| *files < needed) {
        tracing::warn!(
            files,
            needed,
            "the limit of open files (ulimit -n) is below what limits.max_connections needs"
        );
    }
}
