//! `modelgate traffic`: how a route's requests are split, by hand.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::asking::{Asking, Because, Failure, end, name, version};
use super::models::hold_text;
use super::output::{self, Table};
use super::route::by_hand;
use crate::api::Traffic as Split;
use crate::control::RouteStatus;
use crate::types::{ModelName, VariantName, Version, Weight};

#[derive(Args, Debug)]
pub(super) struct Traffic {
    #[command(flatten)]
    asking: Asking,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Weights in force and as declared, of one route or all
    Get {
        #[arg(value_parser = name)]
        route: Option<ModelName>,
    },
    /// Set weights by hand; the champion has what the others leave
    Set {
        #[arg(value_parser = name)]
        route: ModelName,
        /// Percent of a variant, such as candidate=5 or candidate=0.5
        #[arg(value_name = "VARIANT=PERCENT", value_parser = weight, required_unless_present = "reset")]
        weights: Vec<(VariantName, Weight)>,
        /// Go back to the weights that the route declares
        #[arg(long, conflicts_with = "weights")]
        reset: bool,
        #[command(flatten)]
        because: Because,
    },
    /// Make another version the champion: the one that is held back, else the only other variant's
    Promote {
        #[arg(value_parser = name)]
        route: ModelName,
        /// The variant whose version it is
        #[arg(long, value_name = "VARIANT", value_parser = variant)]
        variant: Option<VariantName>,
        /// The version
        #[arg(long, value_name = "VERSION", value_parser = version, conflicts_with = "variant")]
        version: Option<Version>,
        #[command(flatten)]
        because: Because,
    },
}

fn variant(text: &str) -> Result<VariantName, String> {
    VariantName::parse(text).map_err(|error| error.to_string())
}

fn weight(text: &str) -> Result<(VariantName, Weight), String> {
    let expected = "expected VARIANT=PERCENT, such as candidate=5";
    let (name, percent) = text.split_once('=').ok_or(expected)?;
    let weight = percent.parse().ok().and_then(Weight::from_percent);
    let range = "expected a percentage from 0 to 100 with at most three decimals";
    Ok((variant(name)?, weight.ok_or_else(|| format!("'{percent}': {range}"))?))
}

impl Traffic {
    pub(super) fn run(self) -> ExitCode {
        end(self.try_run())
    }

    fn try_run(&self) -> Result<ExitCode, Failure> {
        let client = self.asking.client()?;
        let format = self.asking.shown.format;
        match &self.verb {
            Verb::Get { route: Some(route) } => {
                let split: Split = client.get(&format!("/admin/v1/routes/{route}/traffic"))?;
                output::print(format, &split, |split| table(std::slice::from_ref(split)))?;
            }
            Verb::Get { route: None } => {
                let routes: Vec<RouteStatus> = client.get("/admin/v1/routes")?;
                let splits: Vec<Split> = routes.iter().map(Split::from).collect();
                output::print(format, &splits, |splits| table(splits))?;
            }
            Verb::Set { route, weights, reset: _, because } => {
                let mut body = because.body();
                let weights: BTreeMap<&VariantName, &Weight> =
                    weights.iter().map(|(name, weight)| (name, weight)).collect();
                body.insert("weights".to_owned(), json!(weights));
                let path = format!("/admin/v1/routes/{route}/traffic");
                let status: RouteStatus = client.post(&path, &body)?;
                let split = Split::from(&status);
                output::print(format, &split, |split| table(std::slice::from_ref(split)))?;
            }
            Verb::Promote { route, variant, version, because } => {
                let mut body = because.body();
                body.extend(variant.iter().map(|variant| ("variant".to_owned(), json!(variant))));
                body.extend(version.iter().map(|version| ("version".to_owned(), json!(version))));
                let path = format!("/admin/v1/routes/{route}/promote");
                let status: RouteStatus = client.post(&path, &body)?;
                let split = Split::from(&status);
                output::print(format, &split, |split| table(std::slice::from_ref(split)))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// One line a variant, and who has changed what.
fn table(splits: &[Split]) -> String {
    let mut table = Table::new(&["ROUTE", "VARIANT", "VERSION", "WEIGHT", "DECLARED"]);
    for split in splits {
        for variant in &split.variants {
            table.row([
                split.route.to_string(),
                variant.name.clone(),
                variant.version.map_or("-".to_owned(), |version| version.to_string()),
                variant.weight.to_string(),
                variant.declared_weight.to_string(),
            ]);
        }
    }
    let mut text = table.to_string();
    for split in splits {
        let traffic = split.traffic.iter().map(by_hand);
        let champion = split.champion.iter().map(|hold| format!("champion: {}", hold_text(hold)));
        for remark in traffic.chain(champion) {
            text.push_str(&output::plain(&format!("route {}: {remark}", split.route)));
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_named() {
        let (name, set) = weight("candidate=0.5").expect("a weight");
        assert_eq!((name.as_str(), set.millipercent()), ("candidate", 500));
        for (text, part) in [
            ("candidate", "VARIANT=PERCENT"),
            ("candidate=lots", "0 to 100"),
            ("candidate=101", "0 to 100"),
            ("candidate=0.0001", "three decimals"),
            ("Candidate=1", "variant's name"),
        ] {
            let error = weight(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
