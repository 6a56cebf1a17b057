//! What is served, for people.

use std::fmt::Write as _;

use crate::cli::output::{Table, age, bytes, plain, utc};
use crate::control::{AuditEntry, Hold, ModelStatus, Status, VersionStatus};
use crate::types::{Dim, ModelName, Stage, TensorSpec, Version};

/// One line a version, and what is wrong with registries.
pub(super) fn list(status: &Status) -> String {
    let mut table = Table::new(&["MODEL", "VERSION", "STAGE", "SERVES", "DIGEST", "SINCE", "NOTE"]);
    for model in &status.models {
        for version in &model.versions {
            table.row([
                model.name.to_string(),
                version.version.to_string(),
                version.stage.label().to_owned(),
                serves(model, version).join(","),
                version.digest.hex().chars().take(12).collect(),
                age(version.since),
                note(version),
            ]);
        }
        if model.versions.is_empty() {
            let nothing = ["-", "unloaded", "", "", ""].map(str::to_owned);
            let versions = format!("in the registry: {}", numbers(&model.unloaded));
            table.row([model.name.to_string()].into_iter().chain(nothing).chain([versions]));
        }
    }
    let mut text = table.to_string();
    for model in &status.models {
        if let Some(error) = &model.options_error {
            text.push_str(&plain(&format!("model {}: options not taken: {error}", model.name)));
            text.push('\n');
        }
    }
    for registry in &status.registries {
        if let Some(error) = &registry.error {
            let stale = if registry.stale { ", serving an older listing" } else { "" };
            text.push_str(&plain(&format!("registry {}{stale}: {error}", registry.name)));
            text.push('\n');
        }
        for unfinished in &registry.unfinished {
            text.push_str(&plain(&format!("registry {}: unfinished {unfinished}", registry.name)));
            text.push('\n');
        }
    }
    text
}

/// What a version is for.
fn serves(model: &ModelStatus, version: &VersionStatus) -> Vec<String> {
    let mut roles = Vec::new();
    if version.stage == Stage::Ready {
        if model.default == Some(version.version) {
            roles.push("default".to_owned());
        }
        let labels = model.labels.iter().filter(|(_, labelled)| **labelled == version.version);
        roles.extend(labels.map(|(label, _)| label.clone()));
    }
    if model.hold.as_ref().is_some_and(|hold| hold.digest == version.digest) {
        roles.push("held".to_owned());
    }
    if version.kept {
        roles.push("kept".to_owned());
    }
    roles
}

fn note(version: &VersionStatus) -> String {
    match (&version.reason, version.rejected) {
        (Some(reason), Some(kind)) if !reason.starts_with(kind.label()) => {
            format!("{}: {reason}", kind.label())
        }
        (Some(reason), _) => reason.clone(),
        (None, Some(kind)) => kind.label().to_owned(),
        (None, None) if version.stage == Stage::Fetching => {
            format!("{} of {}", bytes(version.fetched_bytes), bytes(version.bytes))
        }
        (None, None) => String::new(),
    }
}

fn numbers(versions: &[Version]) -> String {
    if versions.is_empty() {
        return "none".to_owned();
    }
    versions.iter().map(Version::to_string).collect::<Vec<_>>().join(", ")
}

/// Everything about one model; nothing is cut.
pub(super) fn show(model: &ModelStatus) -> String {
    let mut text = String::new();
    line(&mut text, "", "model", model.name.as_str());
    line(&mut text, "", "registry", &model.registry);
    let default = model.default.map_or("none".to_owned(), |version| version.to_string());
    line(&mut text, "", "default", &default);
    if let Some(hold) = &model.hold {
        line(&mut text, "", "hold", &hold_text(hold));
    }
    if !model.labels.is_empty() {
        let labels = model.labels.iter().map(|(label, version)| format!("{label}={version}"));
        line(&mut text, "", "labels", &labels.collect::<Vec<_>>().join(", "));
    }
    if model.explicit {
        line(&mut text, "", "mode", "explicit: loaded by request only");
    }
    if !model.unloaded.is_empty() {
        line(&mut text, "", "unloaded", &numbers(&model.unloaded));
    }
    if let Some(error) = &model.options_error {
        line(&mut text, "", "options", &format!("not taken: {error}"));
    }
    for version in &model.versions {
        let _ = writeln!(text, "\nversion {}", version.version);
        show_version(&mut text, model, version);
    }
    text
}

fn show_version(text: &mut String, model: &ModelStatus, version: &VersionStatus) {
    let mut entry = |key: &str, value: &str| line(text, "  ", key, value);
    entry("stage", &format!("{} since {}", version.stage.label(), utc(version.since)));
    let reason = note(version);
    if !reason.is_empty() {
        entry("reason", &reason);
    }
    let serves = serves(model, version);
    if !serves.is_empty() {
        entry("serves", &serves.join(", "));
    }
    entry("digest", &version.digest.to_string());
    entry("files", &bytes(version.bytes));
    if let Some(memory) = version.memory_bytes {
        entry("memory", &bytes(memory));
    }
    if let Some(probe) = &version.probe {
        let run = probe.run_us.map_or(String::new(), |run| format!(", a row in {run:.0} us"));
        let (load, peak) = (probe.load_ms, bytes(probe.peak_bytes));
        let golden = probe.golden_cases;
        entry(
            "probe",
            &format!("loaded in {load} ms{run}, at most {peak}, {golden} golden inputs"),
        );
    }
    if let Some(signature) = &version.signature {
        for (what, tensors) in [("input", &signature.inputs), ("output", &signature.outputs)] {
            tensors.iter().for_each(|spec| entry(what, &tensor(spec)));
        }
    }
}

fn tensor(spec: &TensorSpec) -> String {
    let dims: Vec<String> = spec.dims.iter().map(|dim: &Dim| dim.wire().to_string()).collect();
    format!("{} {} [{}]", spec.name, spec.dtype.name(), dims.join(", "))
}

fn line(text: &mut String, indent: &str, key: &str, value: &str) {
    let _ = writeln!(text, "{indent}{key:<9} {}", plain(value));
}

/// Who holds what, since when and why.
pub(in crate::cli) fn hold_text(hold: &Hold) -> String {
    let reason = if hold.reason.is_empty() { "no reason given" } else { &hold.reason };
    format!("version {} since {} by {}: {reason}", hold.version, utc(hold.since), hold.actor)
}

/// After a rollback.
pub(super) fn held(name: &ModelName, hold: &Hold) -> String {
    let (version, digest) = (hold.version, hold.digest);
    plain(&format!(
        "{name} serves version {version} ({digest}) until it is released: modelgate models release {name}"
    ))
}

pub(super) fn audit(entries: &[AuditEntry]) -> String {
    let mut table = Table::new(&["AT", "ACTOR", "ACTION", "MODEL", "VERSION", "OUTCOME", "REASON"]);
    for entry in entries {
        table.row([
            utc(entry.at),
            entry.actor.clone(),
            entry.action.clone(),
            entry.model.as_ref().map_or(String::new(), ModelName::to_string),
            entry.version.map_or(String::new(), |version| version.to_string()),
            entry.outcome.clone(),
            entry.reason.clone().unwrap_or_default(),
        ]);
    }
    table.to_string()
}
