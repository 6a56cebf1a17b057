//! What a question about drift says.

use crate::api::admin::input;
use crate::drift::live::Role;
use crate::types::{InferError, Version};

#[derive(Debug, PartialEq, Eq)]
pub struct Query {
    /// None stands for the version that answers by default.
    pub version: Option<Version>,
    pub role: Role,
    /// None of them stands for all.
    pub features: Vec<String>,
    /// Of a picture: none stands for each feature's worst.
    pub window: Option<String>,
}

/// Reads a query; `window` is one of its words only where that is said.
///
/// # Errors
/// The word that is wrong, and what was expected.
pub fn read(query: &str, takes_window: bool) -> Result<Query, InferError> {
    let mut read = Query { version: None, role: Role::Primary, features: Vec::new(), window: None };
    for pair in input::pairs(query) {
        let (key, value) = pair?;
        match key {
            "version" => {
                let version = Version::parse(&value);
                let wrong = |error| InferError::invalid(format!("version: {error}"));
                read.version = Some(version.map_err(wrong)?);
            }
            "role" => {
                let role = Role::ALL.into_iter().find(|role| role.label() == value);
                let wrong = || InferError::invalid("role: expected primary or shadow");
                read.role = role.ok_or_else(wrong)?;
            }
            "feature" => read.features.push(value.into_owned()),
            "window" if takes_window => read.window = Some(value.into_owned()),
            _ => {
                let window = if takes_window { ", window" } else { "" };
                let message = format!("the query takes version, role, feature{window}");
                return Err(InferError::invalid(message));
            }
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_whole_or_refused() {
        let nothing =
            Query { version: None, role: Role::Primary, features: Vec::new(), window: None };
        assert_eq!(read("", false).ok(), Some(nothing));
        let all = read("version=3&role=shadow&feature=a%20b&feature=c&window=1h", true);
        let expected = Query {
            version: Version::parse("3").ok(),
            role: Role::Shadow,
            features: vec!["a b".to_owned(), "c".to_owned()],
            window: Some("1h".to_owned()),
        };
        assert_eq!(all.ok(), Some(expected));
        for bad in ["version=x", "version=", "role=Primary", "feature=%zz", "window=1h", "model=m"]
        {
            assert!(read(bad, false).is_err(), "{bad}");
        }
    }
}
