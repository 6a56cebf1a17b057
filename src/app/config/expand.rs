//! `${VAR}`, `${VAR:-default}` and `${file:/path}` in string values.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Display;
use std::fs::File;
use std::io::Read;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use thiserror::Error;

/// Most bytes that a `${file:...}` may hold.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// For `deserialize_with`: expands a string and reads a `T` from it.
pub(super) fn value<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    read(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// The same where null means `None`.
pub(super) fn optional<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| read(&text)).transpose().map_err(D::Error::custom)
}

/// The same for every value of a map.
pub(super) fn values<'de, D, T>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    let texts = BTreeMap::<String, String>::deserialize(deserializer)?;
    let read = |(key, text): (String, String)| Ok((key, read(&text).map_err(D::Error::custom)?));
    texts.into_iter().map(read).collect()
}

/// Messages show the text as it stands in the file: what it refers to may be secret.
fn read<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    let expanded =
        expand(text, |name| env::var(name).ok()).map_err(|error| format!("'{text}': {error}"))?;
    expanded.parse().map_err(|error| format!("'{text}': {error}"))
}

#[derive(Debug, Error, PartialEq, Eq)]
enum ExpandError {
    #[error("'${{' without '}}'; write '$${{' for the characters themselves")]
    Open,
    #[error("'${{{0}}}' is none of ${{VAR}}, ${{VAR:-default}} and ${{file:/path}}")]
    Form(String),
    #[error("the environment variable {0} is not set; ${{{0}:-default}} would stand in for it")]
    Unset(String),
    #[error("cannot read {path}: {reason}")]
    File { path: String, reason: String },
}

/// Expands every reference in `text` once: what it stands for is taken as it is.
fn expand(text: &str, var: impl Fn(&str) -> Option<String>) -> Result<String, ExpandError> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(literal) = before.strip_suffix('$') {
            expanded.push_str(literal);
            expanded.push_str("${");
            rest = after;
            continue;
        }
        expanded.push_str(before);
        let (reference, after) = after.split_once('}').ok_or(ExpandError::Open)?;
        expanded.push_str(&resolve(reference, &var)?);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn resolve(reference: &str, var: impl Fn(&str) -> Option<String>) -> Result<String, ExpandError> {
    if let Some(path) = reference.strip_prefix("file:") {
        return file(path).map_err(|reason| ExpandError::File { path: path.to_owned(), reason });
    }
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.bytes().next().is_some_and(|first| !first.is_ascii_digit());
    if !is_name {
        return Err(ExpandError::Form(reference.to_owned()));
    }
    match (var(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(ExpandError::Unset(name.to_owned())),
    }
}

/// The file's text without the line end that editors leave.
fn file(path: &str) -> Result<String, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("it holds more than {MAX_FILE_BYTES} bytes"));
    }
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String, ExpandError> {
        expand(text, |name| match name {
            "HOST" => Some("10.0.0.1".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICKY" => Some("${HOST}".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn references_are_replaced_once() {
        for (text, wanted) in [
            ("plain $ {} text", "plain $ {} text"),
            ("${HOST}:80", "10.0.0.1:80"),
            ("${HOST:-x}${HOST}", "10.0.0.110.0.0.1"),
            ("${NONE:-127.0.0.1:1}", "127.0.0.1:1"),
            ("${EMPTY:-x}", "x"),
            ("[${EMPTY}]", "[]"),
            ("${NONE:-}", ""),
            ("$${HOST}", "${HOST}"),
            ("${TRICKY}", "${HOST}"),
        ] {
            assert_eq!(expanded(text).as_deref(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_replaced_is_refused() {
        assert_eq!(expanded("a${HOST"), Err(ExpandError::Open));
        assert_eq!(expanded("${NONE}"), Err(ExpandError::Unset("NONE".to_owned())));
        for form in ["", "1A", "A B", "A?x", "A-x"] {
            let error = expanded(&format!("${{{form}}}"));
            assert_eq!(error, Err(ExpandError::Form(form.to_owned())));
        }
    }

    #[test]
    fn files_lose_their_last_line_end_and_are_bounded() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        let reference = format!("<${{file:{}}}>", path.display());
        assert!(matches!(expanded(&reference), Err(ExpandError::File { .. })));
        std::fs::write(&path, "two\nlines\r\n").expect("written");
        assert_eq!(expanded(&reference).as_deref(), Ok("<two\nlines>"));
        std::fs::write(&path, "x".repeat(MAX_FILE_BYTES as usize + 1)).expect("written");
        assert!(matches!(expanded(&reference), Err(ExpandError::File { .. })));
    }
}
