//! `modelgate feedback`: sends labels of predictions to a running gateway.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgGroup, Args};
use reqwest::Url;
use serde_json::{Map, Value, json};

use super::asking::{Failure, end};
use super::client::{Client, Patience, url};
use super::output::{self, Shown, Table};
use super::{FAILED, asking};
use crate::types::ModelName;

/// Items of one call; the gateway takes no more.
const AT_A_TIME: usize = 1000;

/// Longest line of a file.
const MAX_LINE_BYTES: usize = 64 << 10;

#[derive(Args, Debug)]
#[command(group(ArgGroup::new("what").required(true).args(["label", "score", "reward", "file"])))]
pub(super) struct Feedback {
    /// Inference listener of the running gateway
    #[arg(
        long,
        env = "MODELGATE_INFERENCE_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:8000",
        value_parser = url
    )]
    url: Url,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    shown: Shown,
    /// The prediction's id, as its answer told it: x-request-id
    #[arg(long, required_unless_present = "file")]
    id: Option<String>,
    /// Row of the request
    #[arg(long, value_name = "N", default_value_t = 0)]
    row: u32,
    /// The class that it was: its name, or its number
    #[arg(long, value_name = "CLASS")]
    label: Option<String>,
    /// The true value
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    score: Option<f64>,
    /// How good the answer was
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    reward: Option<f64>,
    /// When that became known, such as 2026-11-21T12:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    label_time: Option<String>,
    /// How much it counts
    #[arg(long, value_name = "WEIGHT")]
    weight: Option<f64>,
    /// Needed only where several models answered under one id
    #[arg(long, value_parser = asking::name)]
    model: Option<ModelName>,
    /// Send the items of a file: a JSON object a line, as POST /v1/feedback takes it; - for
    /// standard input
    #[arg(
        short,
        long,
        value_name = "FILE",
        conflicts_with_all = ["id", "row", "label_time", "weight", "model"]
    )]
    file: Option<PathBuf>,
}

impl Feedback {
    pub(super) fn run(self) -> ExitCode {
        end(self.try_run())
    }

    fn try_run(&self) -> Result<ExitCode, Failure> {
        let listener = "--url or MODELGATE_INFERENCE_URL names its inference listener";
        let client = Client::new(self.url.clone(), listener, self.patience.seconds)?;
        match &self.file {
            Some(file) => self.send_file(&client, file),
            None => self.send_one(&client),
        }
    }

    fn send_one(&self, client: &Client) -> Result<ExitCode, Failure> {
        let answer: Value = client.post("/v1/feedback", &self.item())?;
        let result = &answer["results"][0];
        output::print(self.shown.format, result, |result| text(result, "outcome"))?;
        Ok(ends_with(result["outcome"].as_str().into_iter()))
    }

    /// A label that reads as a whole number is one.
    fn item(&self) -> Value {
        let label = self.label.as_ref().map(|label| match label.parse::<i64>() {
            Ok(number) => json!(number),
            Err(_) => json!(label),
        });
        let fields = [
            ("id", self.id.as_ref().map(|id| json!(id))),
            ("row", Some(json!(self.row))),
            ("label", label),
            ("score", self.score.map(|score| json!(score))),
            ("reward", self.reward.map(|reward| json!(reward))),
            ("label_time", self.label_time.as_ref().map(|time| json!(time))),
            ("weight", self.weight.map(|weight| json!(weight))),
            ("model", self.model.as_ref().map(|model| json!(model.as_str()))),
        ];
        let fields = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Value::Object(fields.collect())
    }

    /// Sends a file in parts. A part that is refused ends it: its error names
    /// the item, and the lines before it have been taken.
    fn send_file(&self, client: &Client, file: &Path) -> Result<ExitCode, Failure> {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        let mut lines = Lines::open(file)?;
        loop {
            let first = lines.number + 1;
            let items = lines.next_items(AT_A_TIME)?;
            if items.is_empty() {
                break;
            }
            let answer: Value = client.post("/v1/feedback", &items).inspect_err(|_| {
                eprintln!("lines {first} to {} were refused:", lines.number);
            })?;
            for result in answer["results"].as_array().into_iter().flatten() {
                *counts.entry(text(result, "outcome")).or_default() += 1;
            }
        }
        output::print(self.shown.format, &counts, |counts| {
            let mut table = Table::new(&["OUTCOME", "LABELS"]);
            counts.iter().for_each(|(outcome, count)| {
                table.row([outcome.clone(), count.to_string()]);
            });
            table.to_string()
        })?;
        Ok(ends_with(counts.keys().map(String::as_str)))
    }
}

/// 1 where a label can never count; one that waits may.
fn ends_with<'a>(mut outcomes: impl Iterator<Item = &'a str>) -> ExitCode {
    let lost = ["unknown", "mismatched", "no_such_row", "ambiguous"];
    if outcomes.any(|outcome| lost.contains(&outcome)) {
        ExitCode::from(FAILED)
    } else {
        ExitCode::SUCCESS
    }
}

fn text(result: &Value, field: &str) -> String {
    result[field].as_str().unwrap_or("?").to_owned()
}

/// A file, line by line.
struct Lines {
    source: Box<dyn BufRead>,
    /// Of the line that was read last.
    number: u64,
}

impl Lines {
    fn open(file: &Path) -> Result<Lines, Failure> {
        let source: Box<dyn BufRead> = if file == Path::new("-") {
            Box::new(io::stdin().lock())
        } else {
            let opened = File::open(file).map_err(|error| {
                Failure::Invalid(format!("cannot read {}: {error}", file.display()))
            })?;
            Box::new(BufReader::new(opened))
        };
        Ok(Lines { source, number: 0 })
    }

    /// The next so many items; fewer at the end. Empty lines are passed over.
    fn next_items(&mut self, most: usize) -> Result<Vec<Map<String, Value>>, Failure> {
        let mut items = Vec::new();
        while items.len() < most {
            let mut line = Vec::new();
            let mut limited = io::Read::take(&mut self.source, MAX_LINE_BYTES as u64 + 1);
            if limited.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            self.number += 1;
            let invalid = |what: String| Failure::Invalid(format!("line {}: {what}", self.number));
            if line.len() > MAX_LINE_BYTES {
                return Err(invalid(format!("longer than {MAX_LINE_BYTES} bytes")));
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            let item = serde_json::from_slice(&line);
            items.push(item.map_err(|error| invalid(format!("expected a JSON object: {error}")))?);
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_in_parts_and_wrong_ones_named() {
        let mut lines =
            Lines { source: Box::new(&b"{\"id\":\"a\"}\n\n {\"id\":\"b\"}"[..]), number: 0 };
        assert_eq!(lines.next_items(1).expect("one").len(), 1);
        assert_eq!(lines.next_items(9).expect("one")[0]["id"], "b");
        assert_eq!((lines.next_items(9).expect("none").len(), lines.number), (0, 3));
        let mut lines = Lines { source: Box::new(&b"{}\n[]\n"[..]), number: 0 };
        let error = lines.next_items(9).expect_err("a list").to_string();
        assert!(error.starts_with("line 2: expected a JSON object"), "{error}");
        let long = Box::leak(vec![b'x'; MAX_LINE_BYTES + 1].into_boxed_slice());
        let error = Lines { source: Box::new(&*long), number: 0 }.next_items(1);
        assert!(error.expect_err("long").to_string().contains("longer than"));
    }
}
