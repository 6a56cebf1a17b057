//! What is wrong with a configuration, where, and how to put it right.

use std::fmt;
use std::io;
use std::path::PathBuf;

use serde_saphyr::Error as YamlError;
use thiserror::Error;

use super::locate::{self, Place};
use super::range::Problem;

#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("cannot read {}: {error}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    #[error("{0}")]
    Invalid(Box<Invalid>),
}

/// One mistake in a file.
#[derive(Debug)]
pub struct Invalid {
    /// The file's name.
    pub source: String,
    /// From 1; 0 where the place is unknown.
    pub line: usize,
    pub column: usize,
    /// The key, dotted from the root; empty where there is none.
    pub key: String,
    pub message: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
    excerpt: String,
}

impl ConfigError {
    pub fn invalid(&self) -> Option<&Invalid> {
        match self {
            ConfigError::Invalid(invalid) => Some(invalid),
            ConfigError::Read { .. } => None,
        }
    }

    pub(super) fn yaml(error: &YamlError, yaml: &str, source: &str) -> ConfigError {
        let location = error.location().unwrap_or(serde_saphyr::Location::UNKNOWN);
        let (line, column) = (location.line() as usize, location.column() as usize);
        let (message, suggestion) = explain(error.without_snippet());
        ConfigError::Invalid(Box::new(Invalid {
            source: source.to_owned(),
            line,
            column,
            key: locate::key_at(yaml, (line, column)).unwrap_or_default(),
            message,
            suggestion,
            excerpt: excerpt(yaml, line, column),
        }))
    }

    pub(super) fn problem(problem: Problem, yaml: &str, source: &str) -> ConfigError {
        // A default that became wrong beside another value stands nowhere, and
        // a whole section is no help.
        let place = locate::nearest(yaml, &problem.path, 2).unwrap_or((0, 0));
        ConfigError::at(place, problem, yaml, source)
    }

    pub(super) fn at(place: Place, problem: Problem, yaml: &str, source: &str) -> ConfigError {
        let (line, column) = place;
        ConfigError::Invalid(Box::new(Invalid {
            source: source.to_owned(),
            line,
            column,
            key: problem.path,
            message: problem.message,
            suggestion: None,
            excerpt: excerpt(yaml, line, column),
        }))
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        f.write_str(": ")?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        if let Some(suggestion) = &self.suggestion {
            write!(f, "; did you mean '{suggestion}'?")?;
        }
        f.write_str(&self.excerpt)
    }
}

/// The message without its place, and what was probably meant.
fn explain(error: &YamlError) -> (String, Option<String>) {
    match error {
        YamlError::SerdeUnknownField { field, expected, .. } => {
            let message = format!("unknown key '{field}', expected one of {}", expected.join(", "));
            (message, nearest(field, expected))
        }
        YamlError::SerdeUnknownVariant { variant, expected, .. } => {
            let message = format!("expected one of {}, got '{variant}'", expected.join(", "));
            (message, nearest(variant, expected))
        }
        YamlError::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or("this key");
            (format!("'{key}' stands here a second time; keep one"), None)
        }
        YamlError::InvalidScalar { ty, .. } => (format!("expected {}", describe(ty)), None),
        other => {
            let text = other.to_string();
            let place = other
                .location()
                .map(|place| format!(" at line {}, column {}", place.line(), place.column()));
            let text = place.and_then(|place| text.strip_suffix(&place)).unwrap_or(&text);
            (text.to_owned(), None)
        }
    }
}

fn describe(kind: &str) -> &str {
    match kind {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative",
        "boolean" | "bool" => "true or false",
        other => other,
    }
}

/// The expected word that `word` is a slip of the pen away from.
fn nearest(word: &str, expected: &[&str]) -> Option<String> {
    let allowed = (word.chars().count() / 3).max(1);
    expected
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| (*candidate).to_owned())
}

/// The line, the one before it, and a mark under the column.
fn excerpt(yaml: &str, line: usize, column: usize) -> String {
    const WIDTH: usize = 160;
    let Some(index) = line.checked_sub(1) else { return String::new() };
    let mut text = String::new();
    for (at, content) in yaml.lines().enumerate().skip(index.saturating_sub(1)) {
        if at > index {
            break;
        }
        let content: String = content.chars().take(WIDTH).collect();
        text.push_str(&format!("\n{:>5} | {content}", at + 1));
    }
    let before = column.saturating_sub(1).min(WIDTH);
    text.push_str(&format!("\n      | {}^", " ".repeat(before)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_slips_of_the_pen_are_guessed() {
        let expected = ["max_body_bytes", "max_headers", "http"];
        assert_eq!(nearest("max_body_byte", &expected).as_deref(), Some("max_body_bytes"));
        assert_eq!(nearest("htpt", &expected).as_deref(), Some("http"));
        assert_eq!(nearest("colour", &expected), None);
    }
}
