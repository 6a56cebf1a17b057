//! Checks of values whose types alone do not say what is allowed.

use std::ops::RangeInclusive;

use crate::routing;

/// A value that the schema allows but the gateway does not.
#[derive(Debug)]
pub(super) struct Problem {
    /// The key, dotted from the root of the file.
    pub(super) path: String,
    pub(super) message: String,
}

impl Problem {
    pub(super) fn new(path: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem { path: path.into(), message: message.into() }
    }

    /// The same problem, seen from the section around it.
    pub(super) fn within(self, section: &str) -> Problem {
        Problem { path: format!("{section}.{}", self.path), ..self }
    }
}

impl From<routing::Problem> for Problem {
    fn from(problem: routing::Problem) -> Problem {
        Problem { path: problem.path, message: problem.message }
    }
}

/// Run once, when a file is read.
pub(super) trait Validate {
    fn validate(&self) -> Result<(), Problem>;
}

pub(super) fn within<T>(path: &str, value: T, allowed: RangeInclusive<T>) -> Result<(), Problem>
where
    T: PartialOrd + std::fmt::Display,
{
    if allowed.contains(&value) {
        return Ok(());
    }
    let (low, high) = allowed.into_inner();
    Err(Problem::new(path, format!("expected {low} to {high}, got {value}")))
}
