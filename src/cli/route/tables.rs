//! Routes as text for people.

use std::fmt::Write as _;

use crate::cli::models::hold_text;
use crate::cli::output::{Table, plain, utc};
use crate::control::{RouteChange, RouteStatus, TrafficChange, VariantState, VariantStatus};

/// `ln` of the Bayes factor above which a split is not as configured (p < 0.001).
const SRM_ALARM: f64 = 6.9;

/// One line a variant, and what is the matter with routes.
pub(super) fn list(routes: &[RouteStatus]) -> String {
    let header = ["ROUTE", "VARIANT", "VERSION", "STATE", "WEIGHT", "REQUESTS", "NOTE"];
    let mut table = Table::new(&header);
    for route in routes {
        for variant in route.variants.iter().chain(&route.shadow) {
            table.row([route.name.to_string()].into_iter().chain(row(variant)));
        }
    }
    let mut text = table.to_string();
    for route in routes {
        for remark in remarks(route) {
            let _ = writeln!(text, "{}", plain(&format!("route {}: {remark}", route.name)));
        }
    }
    text
}

/// Everything about one route; nothing is cut but notes.
pub(super) fn show(route: &RouteStatus) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(text, "{key:<9} {}", plain(value));
    };
    line("route", route.name.as_str());
    line("model", route.model.as_str());
    line("origin", &format!("{}, revision {}", route.origin, route.revision));
    let keys: Vec<String> = route.document.spec.stickiness.key.iter().map(key).collect();
    line("sticky by", &if keys.is_empty() { "request id".to_owned() } else { keys.join(", ") });
    for remark in remarks(route) {
        line("note", &remark);
    }
    let mut table = Table::new(&["VARIANT", "VERSION", "STATE", "WEIGHT", "REQUESTS", "NOTE"]);
    for variant in route.variants.iter().chain(&route.shadow) {
        table.row(row(variant));
    }
    format!("{text}\n{table}")
}

fn key(key: &crate::routing::Key) -> String {
    use crate::routing::Key;
    match key {
        Key::Header(name) => format!("header {name}"),
        Key::Metadata(name) => format!("metadata {name}"),
        Key::Parameter(name) => format!("parameter {name}"),
    }
}

fn row(variant: &VariantStatus) -> [String; 6] {
    [
        variant.name.clone(),
        variant.version.map_or("-".to_owned(), |version| version.to_string()),
        state(variant.state).to_owned(),
        variant.weight.to_string(),
        variant.assigned.to_string(),
        note(variant),
    ]
}

pub(super) fn state(state: VariantState) -> &'static str {
    match state {
        VariantState::Ready => "ready",
        VariantState::Loading => "loading",
        VariantState::Missing => "missing",
        VariantState::Rejected => "rejected",
        VariantState::Incompatible => "incompatible",
    }
}

fn note(variant: &VariantStatus) -> String {
    let mut parts = vec![variant.declared.to_string()];
    if variant.weight != variant.declared_weight {
        parts.push(format!("declared weight {}", variant.declared_weight));
    }
    if variant.fell_back > 0 {
        parts.push(format!("{} fell back", variant.fell_back));
    }
    if variant.breaker_open {
        parts.push("left alone: it kept failing".to_owned());
    }
    parts.extend(variant.reason.clone());
    parts.join("; ")
}

/// What is not as the document says, or should be looked at.
fn remarks(route: &RouteStatus) -> Vec<String> {
    let mut remarks = Vec::new();
    remarks.extend(route.traffic.as_ref().map(by_hand));
    remarks.extend(route.champion.as_ref().map(|hold| format!("champion: {}", hold_text(hold))));
    if let Some(version) = route.held_back {
        let name = &route.name;
        remarks.push(format!("version {version} is held back: modelgate traffic promote {name}"));
    }
    if route.srm_log_bayes_factor > SRM_ALARM {
        let evidence = route.srm_log_bayes_factor;
        remarks.push(format!(
            "distinct units are not split as configured: ln of the Bayes factor is {evidence:.1}"
        ));
    }
    remarks.extend(route.problems.iter().cloned());
    remarks
}

/// Who set the weights, when and why.
pub(in crate::cli) fn by_hand(change: &TrafficChange) -> String {
    let weights = change.weights.iter().map(|(name, weight)| format!("{name}={weight}"));
    let weights = weights.collect::<Vec<_>>().join(" ");
    let reason = if change.reason.is_empty() { "no reason given" } else { &change.reason };
    format!("weights {weights} since {} by {}: {reason}", utc(change.since), change.actor)
}

/// What applying did, or would do.
pub(super) fn changes(changes: &[RouteChange], dry_run: bool) -> String {
    let mut table = Table::new(&["ROUTE", "OUTCOME", "REVISION", "MOVED UNITS"]);
    for change in changes {
        table.row([
            change.name.to_string(),
            change.outcome.clone(),
            change.revision.to_string(),
            format!("{} %", change.moved_units),
        ]);
    }
    let mut text = table.to_string();
    for change in changes {
        for warning in &change.warnings {
            let _ = writeln!(text, "{}", plain(&format!("warning: {}: {warning}", change.name)));
        }
    }
    if dry_run {
        text.push_str("nothing was changed: this was a dry run\n");
    }
    text
}
