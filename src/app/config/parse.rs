//! From a file to a checked value.

use std::fs;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::ConfigError;
use super::range::Validate;

pub(super) fn load<T: DeserializeOwned + Validate>(path: &Path) -> Result<T, ConfigError> {
    let yaml = fs::read_to_string(path)
        .map_err(|error| ConfigError::Read { path: path.to_owned(), error })?;
    parse(&yaml, &path.display().to_string())
}

pub(super) fn parse<T>(yaml: &str, source: &str) -> Result<T, ConfigError>
where
    T: DeserializeOwned + Validate,
{
    let options = serde_saphyr::options! { with_snippet: false };
    let value: T = serde_saphyr::from_str_with_options(yaml, options)
        .map_err(|error| ConfigError::yaml(&error, yaml, source))?;
    match value.validate() {
        Ok(()) => Ok(value),
        Err(problem) => Err(ConfigError::problem(problem, yaml, source)),
    }
}
