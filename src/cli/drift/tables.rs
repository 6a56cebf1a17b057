//! Drift in tables.

use std::fmt::Write as _;

use super::answer::{
    Against, Compared, ComparedIn, Feature, InWindow, Overview, Profile, RoleGlance, Score,
    VersionDrift, VersionGlance,
};
use crate::cli::output::{self, Table};
use crate::drift::State;
use crate::drift::significance::readable;

/// All versions at a glance.
pub(super) fn overview(overview: &Overview) -> String {
    if !overview.enabled {
        return "drift is not watched here: drift.enabled is false".to_owned();
    }
    let header = ["MODEL", "VERSION", "ROLE", "STATE", "PROFILE", "LOOKED", "WORST"];
    let mut table = Table::new(&header);
    for version in &overview.versions {
        if version.roles.is_empty() {
            table.row(silent(version));
        }
        for role in &version.roles {
            table.row(of_role(version, role));
        }
    }
    table.to_string()
}

/// A version that no rows were looked at of.
fn silent(version: &VersionGlance) -> [String; 7] {
    let profiled = &version.profiled;
    let note = profiled.reason.clone().unwrap_or_else(|| "no rows so far".to_owned());
    [
        version.model.to_string(),
        version.version.to_string(),
        "-".to_owned(),
        "-".to_owned(),
        profiled.profile.as_ref().map_or(profiled.profile_state.clone(), |of| of.source.clone()),
        "-".to_owned(),
        note,
    ]
}

fn of_role(version: &VersionGlance, role: &RoleGlance) -> [String; 7] {
    let told = role.worst.iter().filter(|feature| feature.state >= State::Warning);
    let told: Vec<String> =
        told.map(|feature| format!("{} {:.3}", feature.name, feature.psi_adjusted)).collect();
    let source = version.profiled.profile.as_ref().map(|profile| profile.source.clone());
    [
        version.model.to_string(),
        version.version.to_string(),
        role.role.clone(),
        role.state.label().to_owned(),
        source.unwrap_or_default(),
        output::age(role.at / 1000),
        told.join(", "),
    ]
}

/// One version, feature by feature, and beside the champion.
pub(super) fn version(drift: &VersionDrift) -> String {
    let mut text = beside_profile(drift);
    if let Some(against) = &drift.against {
        text.push('\n');
        text.push_str(&beside_champion(against));
    }
    text
}

fn beside_profile(drift: &VersionDrift) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "model     {} version {}, {}", drift.model, drift.version, drift.role);
    let profiled = &drift.profiled;
    match &profiled.profile {
        Some(profile) => {
            let _ = writeln!(text, "profile   {}", output::plain(&of_profile(profile)));
        }
        None => {
            let reason = profiled.reason.as_deref().unwrap_or_default();
            let reason = output::plain(reason);
            let _ = writeln!(text, "profile   {}: {reason}", profiled.profile_state);
        }
    }
    let Some(report) = &drift.report else {
        if profiled.profile.is_some() {
            text.push_str("state     no rows so far\n");
        }
        return text;
    };
    let (state, age) = (report.state().label(), output::age(report.at / 1000));
    let _ = writeln!(text, "state     {state}, looked {age} ago\n");
    let header = ["FEATURE", "WINDOW", "STATE", "ROWS", "PSI", "P", "JS", "EVIDENCE", "RATES"];
    let mut table = Table::new(&header);
    for feature in &report.features {
        feature.windows.iter().for_each(|window| table.row(of_window(feature, window)));
    }
    let _ = write!(text, "{table}");
    if report.left_out > 0 {
        let _ = writeln!(text, "{} columns of the profile have no room", report.left_out);
    }
    text
}

fn beside_champion(against: &Against) -> String {
    let mut text = format!("against   version {}, the champion", against.champion);
    match (&against.reason, &against.comparison) {
        (Some(reason), _) => text.push_str(&format!(": {}\n", output::plain(reason))),
        (None, None) => text.push_str(": no rows so far\n"),
        (None, Some(comparison)) => {
            let age = output::age(comparison.since / 1000);
            let _ = writeln!(text, ", in the bins of its profile, since {age} ago\n");
            let header =
                ["FEATURE", "WINDOW", "STATE", "ROWS", "CHAMPION", "PSI", "P", "JS", "RATES"];
            let mut table = Table::new(&header);
            for compared in &comparison.features {
                compared.windows.iter().for_each(|window| table.row(of_both(compared, window)));
            }
            let _ = write!(text, "{table}");
        }
    }
    for incomparable in &against.incomparable {
        let _ = writeln!(text, "not compared: {}", output::plain(&incomparable.reason));
    }
    if against.left_out > 0 {
        let _ = writeln!(text, "{} more columns have no room", against.left_out);
    }
    text
}

fn of_both(compared: &Compared, window: &ComparedIn) -> [String; 9] {
    let score = &window.score;
    [
        compared.name.clone(),
        window.window.clone(),
        window.state.label().to_owned(),
        score.rows.to_string(),
        window.champion.iter().sum::<u64>().to_string(),
        format!("{:.4}", score.psi_adjusted),
        readable(score.p),
        format!("{:.4}", score.js_distance),
        rates(score),
    ]
}

fn of_profile(profile: &Profile) -> String {
    let mut text = format!("{}, {}", profile.id, profile.source);
    if let Some(rows) = profile.rows {
        let _ = write!(text, ", of {rows} rows");
    }
    if let Some(created) = &profile.created {
        let _ = write!(text, ", created {created}");
    }
    text
}

fn of_window(feature: &Feature, window: &InWindow) -> [String; 9] {
    let score = &window.score;
    [
        feature.name.clone(),
        window.window.clone(),
        window.state.label().to_owned(),
        score.rows.to_string(),
        format!("{:.4}", score.psi_adjusted),
        readable(score.p),
        format!("{:.4}", score.js_distance),
        feature.evidence_log10.map_or("-".to_owned(), |log10| format!("{log10:.1}")),
        rates(score),
    ]
}

/// Shares of live values that are no bin, where there are any on either side.
fn rates(score: &Score) -> String {
    let percent = |share: f64| format!("{:.1}", share * 100.0);
    let told = score.rates.iter().filter(|(_, rate)| rate.live + rate.reference > 0.0);
    let told: Vec<String> = told
        .map(|(name, rate)| {
            format!("{name} {}% (was {}%)", percent(rate.live), percent(rate.reference))
        })
        .collect();
    if told.is_empty() { "-".to_owned() } else { told.join(", ") }
}
