//! The windows of swaps, as the gateway's audit log tells them.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::load::Clock;
use crate::Result;

/// Since the block's start.
pub type Window = Range<Duration>;

/// What an entry of the audit log has that is asked for here.
#[derive(Debug, Deserialize)]
struct Entry {
    at: u64,
    action: String,
    model: Option<String>,
    outcome: String,
}

/// The windows of a block, in order.
pub fn read(audit: &Path, model: &str, clock: &Clock) -> Result<Vec<Window>> {
    let text = fs::read_to_string(audit)?;
    let mut steps = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let entry: Entry = serde_json::from_str(line)?;
        if entry.action == "stage" && entry.model.as_deref() == Some(model) {
            steps.extend(clock.since_start(entry.at).map(|at| (at, entry.outcome)));
        }
    }
    Ok(cut(&steps))
}

/// A window begins with a fetch, and ends when a version is gone after the
/// fetched one was ready; at the latest with the next fetch. The log's clock
/// shows whole milliseconds, so the end is taken a millisecond later.
fn cut(steps: &[(Duration, String)]) -> Vec<Window> {
    let mut windows = Vec::new();
    let mut open: Option<(Duration, bool)> = None;
    let mut close = |start: Duration, end: Duration| {
        windows.push(start..end + Duration::from_millis(1));
    };
    for (at, stage) in steps {
        open = match (stage.as_str(), open) {
            ("fetching", Some((start, _))) => {
                close(start, *at);
                Some((*at, false))
            }
            ("fetching", None) => Some((*at, false)),
            ("ready", Some((start, _))) => Some((start, true)),
            ("gone", Some((start, true))) => {
                close(start, *at);
                None
            }
            (_, open) => open,
        };
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_window_runs_from_the_fetch_to_the_end_of_the_old_version() {
        let steps = [
            (10, "fetching"),
            (12, "verifying"),
            (40, "ready"),
            (41, "draining"),
            (45, "gone"),
            (1_010, "fetching"),
            (1_011, "gone"),
            (1_050, "ready"),
            (2_010, "fetching"),
        ];
        let steps = steps.map(|(at, stage)| (ms(at), stage.to_owned()));
        assert_eq!(cut(&steps), [ms(10)..ms(46), ms(1_010)..ms(2_011)]);
    }
}
