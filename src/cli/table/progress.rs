//! How far a long reading is, on a terminal only.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// How often the line is written.
const TICK: Duration = Duration::from_millis(200);

pub(super) struct Progress {
    doing: String,
    /// None where nobody watches.
    due: Option<Instant>,
    is_shown: bool,
}

impl Progress {
    pub(super) fn new(doing: String) -> Progress {
        let due = std::io::stderr().is_terminal().then(|| Instant::now() + TICK);
        Progress { doing, due, is_shown: false }
    }

    /// `done` is the share that was read.
    pub(super) fn tell(&mut self, done: f64) {
        if self.due.is_some_and(|due| Instant::now() >= due) {
            eprint!("\r\u{1b}[K{}: {:.0} %", self.doing, done * 100.0);
            let _ = std::io::stderr().flush();
            (self.due, self.is_shown) = (Some(Instant::now() + TICK), true);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            eprint!("\r\u{1b}[K");
        }
    }
}
