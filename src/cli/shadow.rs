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
        output::print(self.asking.shown.format, &report, |report| {
            let mut text = String::new();
            write(&mut text, 0, report);
            text
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Keys that stand first: what it is about.
const FIRST: [&str; 3] = ["route", "name", "request_id"];

/// Fields of an object that still fits a line, and columns of a table.
const FEW: usize = 8;

/// Writes what a document holds: first what fits a line each, then what is
/// nested, under its name.
fn write(text: &mut String, depth: usize, value: &Value) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
            fields.sort_by_key(|(key, _)| !FIRST.contains(&key.as_str()));
            let (nested, lines): (Vec<_>, Vec<_>) =
                fields.into_iter().partition(|(_, value)| is_nested(value));
            let width = lines.iter().map(|(key, _)| key.chars().count()).max().unwrap_or(0);
            for (key, value) in lines {
                let (name, value) = (words(key), field(key, value));
                let _ = writeln!(text, "{indent}{name:<width$}  {value}");
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
        other => {
            let _ = writeln!(text, "{indent}{}", line(other));
        }
    }
}

/// Items that have the same few keys, and no object under one, as a table.
fn rows(items: &[Value]) -> Option<Table> {
    let objects: Option<Vec<&Map<String, Value>>> = items.iter().map(Value::as_object).collect();
    let objects = objects.filter(|objects| objects.len() > 1)?;
    let keys: Vec<&String> = objects[0].keys().collect();
    let alike = objects.iter().all(|object| {
        object.keys().eq(keys.iter().copied())
            && !object.values().any(|value| value.is_object() || is_nested(value))
    });
    if !alike || keys.len() > FEW {
        return None;
    }
    let header: Vec<String> = keys.iter().map(|key| words(key).to_uppercase()).collect();
    let mut table = Table::new(&header.iter().map(String::as_str).collect::<Vec<_>>());
    objects
        .iter()
        .for_each(|object| table.row(object.iter().map(|(key, value)| field(key, value))));
    Some(table)
}

/// Whether it takes more than a line.
fn is_nested(value: &Value) -> bool {
    let is_deep = |value: &Value| value.is_object() || value.is_array();
    match value {
        Value::Object(fields) => fields.len() > FEW || fields.values().any(is_deep),
        Value::Array(items) => items.iter().any(is_deep),
        _ => false,
    }
}

fn field(key: &str, value: &Value) -> String {
    match (key, value.as_u64()) {
        ("at" | "since", Some(at)) if at > 0 => output::utc(at),
        _ => line(value),
    }
}

/// What is not nested, on one line.
fn line(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => output::plain(text),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => rounded(float),
            _ => number.to_string(),
        },
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(line).collect::<Vec<_>>().join(", "),
        Value::Object(fields) if fields.is_empty() => "none".to_owned(),
        Value::Object(fields) => {
            let pairs = fields.iter().map(|(key, value)| format!("{} {}", words(key), line(value)));
            pairs.collect::<Vec<_>>().join(", ")
        }
        Value::Bool(truth) => truth.to_string(),
    }
}

/// Five digits of a number; very small ones with their power of ten.
fn rounded(number: f64) -> String {
    let magnitude = if number == 0.0 { 0.0 } else { number.abs().log10().floor() };
    if magnitude < -4.0 {
        return format!("{number:.2e}");
    }
    let decimals = (4.0 - magnitude).clamp(0.0, 8.0) as usize;
    let text = format!("{number:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
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
            "since": 1_795_262_400_000_u64,
            "compared_share": null,
            "requests": {"compared": 10, "failed": 1},
            "dropped": {},
            "kinds": [
                {"name": "p", "comparisons": 10, "disagreements": 1},
                {"name": "\u{1b}[31m", "comparisons": 9, "disagreements": 0},
            ],
            "outputs": [{
                "name": "y",
                "absolute": {"count": 3, "p50": 0.123_456_789, "p99": 1e-9, "max": 12_345.678},
                "rate": 0.5,
            }],
            "compute": {"primary": {"runs": 3, "p50_us": null}, "shadow": {"runs": 0}},
            "samples": [{"request_id": "r-1", "inputs": [{"name": "x", "data": [1, 2]}]}],
        });
        let mut text = String::new();
        write(&mut text, 0, &report);
        for line in [
            "route           fraud",
            "shadow          4",
            "since           2026-11-21 12:00:00Z",
            "compared share  -",
            "requests        compared 10, failed 1",
            "dropped         none",
            "kinds:",
            "  COMPARISONS  DISAGREEMENTS  NAME",
            "  10           1              p",
            "outputs:",
            "  name      y",
            "  absolute  count 3, max 12346, p50 0.12346, p99 1.00e-9",
            "  rate      0.5",
            "compute:",
            "  primary  p50 us -, runs 3",
            "samples:",
            "  request id  r-1",
            "    data  1, 2",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line:?} is not in\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
    }
}
