//! `modelgate bucket`: which variant a unit belongs to, and why.

use std::borrow::Cow;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgGroup, Args, Subcommand};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::asking::{Asking, Failure, end, name};
use super::client::escaped;
use super::output;
use super::route::read_at;
use crate::api::Why;
use crate::routing::{Attributes, Explanation, Route};
use crate::types::{ModelName, Parameter};

#[derive(Args, Debug)]
pub(super) struct Bucket {
    #[command(flatten)]
    asking: Asking,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Say which variant would answer a request, and why
    Test(Test),
}

#[derive(Args, Debug)]
#[command(group(ArgGroup::new("request").required(true).multiple(true)))]
struct Test {
    /// The route [default: the only one of the file]
    #[arg(long, value_parser = name, required_unless_present = "file")]
    route: Option<ModelName>,
    /// The unit itself, wherever the route looks for it
    #[arg(long, group = "request", conflicts_with_all = ["headers", "parameters", "id"])]
    key: Option<String>,
    /// A header of the request, or a key of its metadata
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header, group = "request")]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// A parameter of the request
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = pair, group = "request")]
    parameters: Vec<(String, String)>,
    /// The request's id
    #[arg(long, group = "request")]
    id: Option<String>,
    /// Number or label that the request names
    #[arg(long, conflicts_with = "file")]
    version: Option<String>,
    /// Compute it from a file of routes, without a gateway; - for standard input
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = pair(text)?;
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
    let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|error| error.to_string())?;
    Ok((name, value))
}

impl Bucket {
    pub(super) fn run(self) -> ExitCode {
        end(self.try_run())
    }

    fn try_run(&self) -> Result<ExitCode, Failure> {
        let Verb::Test(test) = &self.verb;
        match (&test.file, &test.route) {
            (None, Some(route)) => {
                let path = format!("/admin/v1/routes/{route}/why?{}", test.query());
                let why: Why = self.asking.client()?.get(&path)?;
                output::print(self.asking.shown.format, &why, answered)?;
            }
            (file, route) => {
                let file = file.as_deref().unwrap_or("-".as_ref());
                let explanation = test.explain(file, route.as_ref())?;
                output::print(self.asking.shown.format, &explanation, explained)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Test {
    fn query(&self) -> String {
        let named = |what: &str, name: &str, value: &[u8]| {
            format!("{what}.{}={}", escaped(name.as_bytes()), escaped(value))
        };
        let plain = |what: &str, value: &Option<String>| {
            value.as_ref().map(|value| format!("{what}={}", escaped(value.as_bytes())))
        };
        let headers = self.headers.iter();
        let parameters = self.parameters.iter();
        headers
            .map(|(name, value)| named("header", name.as_str(), value.as_bytes()))
            .chain(parameters.map(|(name, value)| named("parameter", name, value.as_bytes())))
            .chain(plain("key", &self.key))
            .chain(plain("id", &self.id))
            .chain(plain("version", &self.version))
            .collect::<Vec<_>>()
            .join("&")
    }

    /// Decides by a file alone, as every gateway would.
    fn explain(
        &self,
        file: &std::path::Path,
        route: Option<&ModelName>,
    ) -> Result<Explanation, Failure> {
        let file = read_at(file)?;
        let names = || file.documents().map(|document| document.name());
        let document = match route {
            Some(route) => file.documents().find(|document| document.name() == route),
            None if names().count() == 1 => file.documents().next(),
            None => None,
        };
        let document = document.ok_or_else(|| {
            let names: Vec<String> = names().map(ModelName::to_string).collect();
            Failure::Invalid(format!("which route of the file? there is {}", names.join(", ")))
        })?;
        let route = Route::compile(document, None)
            .map_err(|problem| Failure::Invalid(problem.to_string()))?;
        if let Some(key) = &self.key {
            return Ok(route.explain_unit(key.as_bytes()));
        }
        let headers: HeaderMap = self.headers.iter().cloned().collect();
        let parameters: Vec<_> = self
            .parameters
            .iter()
            .map(|(name, value)| (Cow::from(name), Parameter::Text(Cow::from(value))))
            .collect();
        Ok(route.explain(&Attributes {
            headers: &headers,
            parameters: &parameters,
            request_id: self.id.as_deref().unwrap_or_default().as_bytes(),
        }))
    }
}

fn explained(explanation: &Explanation) -> String {
    text(explanation, Vec::new())
}

fn answered(why: &Why) -> String {
    let version = why.version.map_or("none can".to_owned(), |version| version.to_string());
    let stead = if why.falls_back { ", the champion's: it falls back" } else { "" };
    let mut more = vec![("answers", format!("{version}{stead}"))];
    more.extend(why.problem.clone().map(|problem| ("because", problem)));
    text(&why.explanation, more)
}

fn text(explanation: &Explanation, more: Vec<(&str, String)>) -> String {
    let range = match explanation.range {
        Some((start, end)) => format!("{start} to {}", end.saturating_sub(1)),
        None => "what the others leave".to_owned(),
    };
    let mirrored = match (explanation.mirrored, explanation.shadow_slot) {
        (true, Some(slot)) => format!("yes, by slot {slot}"),
        (false, Some(slot)) => format!("no, by slot {slot}"),
        _ => "no".to_owned(),
    };
    let variant = match &*explanation.by {
        "pin" => format!("pinned; without that {}", explanation.variant),
        by => format!("{}, by {by}", explanation.variant),
    };
    let mut rows = vec![("route", explanation.route.to_string()), ("variant", variant)];
    rows.extend(more);
    rows.extend([
        ("unit", format!("{} ({})", explanation.unit, explanation.unit_kind)),
        ("salt", explanation.salt.clone()),
        ("hash", explanation.hash.clone()),
        ("slot", format!("{} of 0 to 99999", explanation.slot)),
        ("slots", range),
        ("chance", explanation.propensity.to_string()),
        ("mirrored", mirrored),
    ]);
    let lines = rows.iter().map(|(key, value)| format!("{key:<9} {}", output::plain(value)));
    lines.collect::<Vec<_>>().join("\n")
}
