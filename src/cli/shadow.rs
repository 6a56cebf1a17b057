//! `modelgate shadow`: how versions that requests are mirrored to compare.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::asking::{Asking, Failure, end, name};
use super::output::{self, Table};
use crate::types::ModelName;

#[derive(Args, Debug)]
pub(super) struct Shadow {
    #[command(flatten)]
    asking: Asking,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Compare what a route's shadow answers with what its callers got
    Diff {
        #[arg(value_parser = name)]
        route: ModelName,
        /// Most mismatches that are shown, the newest
        #[arg(long, value_name = "N", default_value_t = 5)]
        samples: usize,
    },
}

impl Shadow {
    pub(super) fn run(self) -> ExitCode {
        end(self.try_run())
    }

    fn try_run(&self) -> Result<ExitCode, Failure> {
        let Verb::Diff { route, samples } = &self.verb;
        let mut report: Value =
            self.asking.client()?.get(&format!("/admin/v1/shadow/{route}/diff"))?;
        if let Some(Value::Array(kept)) = report.get_mut("samples") {
            kept.drain(..kept.len().saturating_sub(*samples));
        }
        output::print(self.asking.output, &report, |report| {
            let mut text = String::new();
            write(&mut text, 0, report);
            text
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Writes what a document holds: its scalars first, a list of like things as a
/// table, and what is nested under its name.
fn write(text: &mut String, depth: usize, value: &Value) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(fields) => {
            let (nested, scalars): (Vec<_>, Vec<_>) =
                fields.iter().partition(|(_, value)| is_nested(value));
            let width = scalars.iter().map(|(key, _)| key.chars().count()).max().unwrap_or(0);
            for (key, value) in scalars {
                let (key, value) = (words(key), scalar(value));
                let _ = writeln!(text, "{indent}{key:<width$}  {value}");
            }
            for (key, value) in nested {
                let _ = writeln!(text, "\n{indent}{}:", words(key));
                write(text, depth + 1, value);
            }
        }
        Value::Array(items) => match rows(items) {
            Some(table) => {
                table.to_string().lines().for_each(|line| {
                    let _ = writeln!(text, "{indent}{line}");
                });
            }
            None => {
                for (place, item) in items.iter().enumerate() {
                    if place > 0 && item.is_object() {
                        text.push('\n');
                    }
                    write(text, depth, item);
                }
            }
        },
        scalar_value => {
            let _ = writeln!(text, "{indent}{}", scalar(scalar_value));
        }
    }
}

/// Items that have the same keys and nothing nested, as a table.
fn rows(items: &[Value]) -> Option<Table> {
    let objects: Option<Vec<&Map<String, Value>>> = items.iter().map(Value::as_object).collect();
    let objects = objects.filter(|objects| objects.len() > 1)?;
    let keys: Vec<&String> = objects[0].keys().collect();
    let alike = objects
        .iter()
        .all(|object| object.keys().eq(keys.iter().copied()) && !object.values().any(is_nested));
    if !alike {
        return None;
    }
    let header: Vec<String> = keys.iter().map(|key| words(key).to_uppercase()).collect();
    let mut table = Table::new(&header.iter().map(String::as_str).collect::<Vec<_>>());
    objects.iter().for_each(|object| table.row(object.values().map(scalar)));
    Some(table)
}

/// Whether it takes more than a line. A short list of numbers does not.
fn is_nested(value: &Value) -> bool {
    match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => items.iter().any(|item| item.is_object() || item.is_array()),
        _ => false,
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => output::plain(text),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(scalar).collect::<Vec<_>>().join(", "),
        Value::Object(_) => "none".to_owned(),
        other => other.to_string(),
    }
}

fn words(key: &str) -> String {
    output::plain(&key.replace('_', " "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn any_report_can_be_read() {
        let report = json!({
            "route": "fraud",
            "shadow": 4,
            "top_k": null,
            "outputs": [
                {"name": "p", "comparisons": 10, "disagreements": 1},
                {"name": "\u{1b}[31m", "comparisons": 9, "disagreements": 0},
            ],
            "latency": {"primary_us": 31.5, "quantiles": [1, 2, 3]},
            "samples": [{"id": "r-1", "inputs": [{"name": "x", "data": [1, 2]}]}],
        });
        let mut text = String::new();
        write(&mut text, 0, &report);
        for line in [
            "route   fraud",
            "shadow  4",
            "top k   -",
            "outputs:",
            "  COMPARISONS  DISAGREEMENTS  NAME",
            "  10           1              p",
            "latency:",
            "  primary us  31.5",
            "  quantiles   1, 2, 3",
            "samples:",
            "  id  r-1",
            "    data  1, 2",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line:?} is not in\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
    }
}
