//! What may be wrong with a route, apart from what its split, rules and keys
//! refuse themselves.

use std::ops::RangeInclusive;

use super::document::{
    API_VERSION, Comparison, KIND, Metadata, Problem, RouteDocument, ShadowSpec,
};
use super::route::Route;
use crate::types::{Priority, Weight};

const MAX_LABELS: usize = 64;
/// Characters of a label's key, and of its value.
const MAX_LABEL: usize = 256;
/// Characters of a salt.
const MAX_SALT: usize = 200;
/// Outputs that a comparison may name.
const MAX_OUTPUTS: usize = 256;

impl RouteDocument {
    /// Whether a route can be made of it.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn validate(&self) -> Result<(), Problem> {
        Route::compile(self, None).map(drop)
    }

    /// All but the variants, the rules and the keys.
    pub(super) fn check_form(&self) -> Result<(), Problem> {
        for (path, expected, found) in
            [("apiVersion", API_VERSION, &self.api_version), ("kind", KIND, &self.kind)]
        {
            if found != expected {
                let found = shortened(found);
                return Err(Problem::at(path, format!("expected {expected}, found '{found}'")));
            }
        }
        check_labels(&self.metadata)?;
        if self.spec.priority == Priority::Shadow {
            return Err(Problem::at(
                "spec.priority",
                "shadow is the class of mirrored requests: expected critical, normal or batch",
            ));
        }
        if let Some(salt) = &self.spec.stickiness.salt {
            let length = salt.chars().count();
            if !(1..=MAX_SALT).contains(&length) || salt.chars().any(char::is_control) {
                return Err(Problem::at(
                    "spec.stickiness.salt",
                    format!(
                        "expected 1 to {MAX_SALT} characters, none of them a control character; \
                         found {length}"
                    ),
                ));
            }
        }
        self.spec.shadow.as_ref().map_or(Ok(()), check_shadow)
    }
}

fn check_labels(metadata: &Metadata) -> Result<(), Problem> {
    let count = metadata.labels.len();
    if count > MAX_LABELS {
        let message = format!("expected at most {MAX_LABELS} labels, found {count}");
        return Err(Problem::at("metadata.labels", message));
    }
    for (key, value) in &metadata.labels {
        let longest = key.chars().count().max(value.chars().count());
        if longest > MAX_LABEL {
            return Err(Problem::at(
                format!("metadata.labels.{}", shortened(key)),
                format!(
                    "expected a key and a value of at most {MAX_LABEL} characters, found {longest}"
                ),
            ));
        }
    }
    Ok(())
}

fn check_shadow(shadow: &ShadowSpec) -> Result<(), Problem> {
    for (key, weight) in [("percent", shadow.percent), ("cpuPercent", shadow.cpu_percent)] {
        if weight == Weight::NONE {
            return Err(Problem::at(
                format!("spec.shadow.{key}"),
                "expected more than 0 percent; leave spec.shadow out to mirror nothing",
            ));
        }
    }
    let compare = &shadow.compare;
    between("spec.shadow.queue", shadow.queue, 1..=4_096)?;
    between("spec.shadow.concurrency", shadow.concurrency, 1..=16)?;
    let timeout = usize::try_from(shadow.timeout_ms).unwrap_or(usize::MAX);
    between("spec.shadow.timeoutMs", timeout, 1..=60_000)?;
    between("spec.shadow.compare.topK", compare.top_k, 1..=100)?;
    between("spec.shadow.compare.samples", compare.samples, 0..=1_000)?;
    check_tolerances(compare)
}

fn check_tolerances(compare: &Comparison) -> Result<(), Problem> {
    let count = compare.outputs.len();
    if count > MAX_OUTPUTS {
        let message = format!("expected at most {MAX_OUTPUTS} outputs, found {count}");
        return Err(Problem::at("spec.shadow.compare.outputs", message));
    }
    tolerance("spec.shadow.compare.rtol", compare.rtol)?;
    tolerance("spec.shadow.compare.atol", compare.atol)?;
    for (name, output) in &compare.outputs {
        let path = format!("spec.shadow.compare.outputs.{name}");
        for (key, given) in [("rtol", output.rtol), ("atol", output.atol)] {
            given.map_or(Ok(()), |given| tolerance(&format!("{path}.{key}"), given))?;
        }
    }
    Ok(())
}

fn tolerance(path: &str, given: f64) -> Result<(), Problem> {
    if given.is_finite() && given >= 0.0 {
        return Ok(());
    }
    Err(Problem::at(path, format!("expected a number that is not negative, found {given}")))
}

fn between(path: &str, given: usize, range: RangeInclusive<usize>) -> Result<(), Problem> {
    if range.contains(&given) {
        return Ok(());
    }
    let (low, high) = range.into_inner();
    Err(Problem::at(path, format!("expected {low} to {high}, found {given}")))
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
