//! Errors of an object store in the registry's words.

use object_store::Error;

use crate::registry::SourceError;

/// Longest text that is shown of an error.
const MOST: usize = 400;

pub(in crate::registry) fn from_store(error: &Error) -> SourceError {
    let text = shown(error);
    match error {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => SourceError::Denied(text),
        Error::NotFound { .. } | Error::Precondition { .. } => SourceError::Changed(text),
        // Listings tell of a refusal by their text alone.
        Error::Generic { .. } if has_status(&text, &["401", "403"]) => SourceError::Denied(text),
        Error::Generic { .. } if has_status(&text, &["400", "404"]) => SourceError::Failed(text),
        Error::Generic { .. } => SourceError::Unreachable(text),
        _ => SourceError::Failed(text),
    }
}

fn has_status(text: &str, statuses: &[&str]) -> bool {
    statuses.iter().any(|status| text.contains(&format!("status code: {status}")))
}

/// An error with its causes, without what might be secret: addresses lose
/// their queries, which hold signatures, and answers their bodies.
pub(super) fn shown(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    let text = without_queries(&text);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST).collect()
}

fn without_queries(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut in_query = false;
    for c in text.chars() {
        in_query = match c {
            '?' => true,
            c if c.is_whitespace() || matches!(c, '"' | '\'' | ')' | '>' | ',') => false,
            _ => in_query,
        };
        if !in_query || c == '?' {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_not_shown() {
        assert_eq!(
            without_queries("GET https://h/a?sig=SECRET&x=1 failed (https://h/b?t=SECRET): why?"),
            "GET https://h/a? failed (https://h/b?): why?"
        );
    }
}
