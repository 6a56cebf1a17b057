//! The bins of a feature as bars in a terminal. Pure.

use std::fmt::Write as _;

use super::answer::{Feature, InWindow};
use crate::cli::output::plain;
use crate::drift::effect::shares;
use crate::drift::significance::readable;

/// Columns of the longest bar, and of the longest label.
const LONGEST: usize = 40;
const LABEL: usize = 28;

/// What the terminal can show.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// Blocks of eighths of a column; else whole ones of `#`.
    pub(super) blocks: bool,
    pub(super) colours: bool,
}

const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// Grey for the reference, blue for live.
const COLOURS: [&str; 2] = ["\u{1b}[90m", "\u{1b}[34m"];
const PLAIN: &str = "\u{1b}[0m";

/// One feature in one window: two bars a bin.
pub(super) fn bars(feature: &Feature, window: &InWindow, style: Style) -> String {
    let (state, score) = (window.state.label(), &window.score);
    let mut text = format!(
        "{}: {}, {}, {}: {state}, psi {:.3}, p {}, {} rows\n\n",
        plain(&feature.name),
        feature.face,
        feature.kind,
        window.window,
        score.psi_adjusted,
        readable(score.p),
        score.rows
    );
    let reference: Vec<u64> = feature.bins.iter().map(|bin| bin.reference).collect();
    let (reference, live) = (shares(&reference, 0.0), shares(&window.counts, 0.0));
    let most = reference.iter().chain(&live).copied().fold(0.0, f64::max);
    let labels: Vec<String> = feature.bins.iter().map(|bin| cut(&plain(&bin.label))).collect();
    let width = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
    for (at, label) in labels.iter().enumerate() {
        let sides = [("reference", label.as_str(), &reference), ("live", "", &live)];
        for ((side, label, shares), colour) in sides.into_iter().zip(COLOURS) {
            let share = shares.get(at).copied().unwrap_or(0.0);
            let bar = bar(if most > 0.0 { share / most } else { 0.0 }, style);
            let gap = " ".repeat(LONGEST - bar.chars().count());
            let bar = if style.colours { format!("{colour}{bar}{PLAIN}") } else { bar };
            let percent = share * 100.0;
            let _ = writeln!(text, "{label:<width$}  {side:<9}  {bar}{gap}  {percent:>5.1} %");
        }
    }
    text
}

/// A bar of a share of the longest one. What is not nothing has one.
fn bar(share: f64, style: Style) -> String {
    if !style.blocks {
        let columns = (share * LONGEST as f64).round() as usize;
        return "#".repeat(columns.max(usize::from(share > 0.0)).min(LONGEST));
    }
    let eighths = (share * (LONGEST * 8) as f64).round() as usize;
    let eighths = eighths.max(usize::from(share > 0.0)).min(LONGEST * 8);
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

fn cut(label: &str) -> String {
    match label.chars().count() > LABEL {
        true => label.chars().take(LABEL - 3).chain("...".chars()).collect(),
        false => label.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ASCII: Style = Style { blocks: false, colours: false };

    fn feature(labels: &[&str], reference: &[u64], live: &[u64]) -> Feature {
        let bins = labels.iter().zip(reference);
        let bins: Vec<_> =
            bins.map(|(label, count)| json!({"label": label, "reference": count})).collect();
        serde_json::from_value(json!({
            "name": "plan", "face": "input", "kind": "categorical", "evidence_log10": null,
            "bins": bins,
            "windows": [{"window": "1h", "state": "drifted", "counts": live, "score": {
                "rows": live.iter().sum::<u64>(), "psi_adjusted": 0.25, "js_distance": 0.1,
                "p": 1e-9, "rates": {},
            }}],
        }))
        .expect("a feature")
    }

    fn drawn(feature: &Feature, style: Style) -> Vec<String> {
        let text = bars(feature, &feature.windows[0], style);
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn bars_are_as_long_as_shares() {
        let feature = feature(&["a", "größer", "other"], &[800, 200, 0], &[300, 100, 1]);
        let lines = drawn(&feature, ASCII);
        assert_eq!(
            lines[0],
            "plan: input, categorical, 1h: drifted, psi 0.250, p 1.0e-9, 401 rows"
        );
        let hashes: Vec<usize> = lines[2..].iter().map(|line| line.matches('#').count()).collect();
        assert_eq!(hashes, [40, 37, 10, 12, 0, 1]);
        assert_eq!(
            lines[4],
            format!("größer  reference  {}{}   20.0 %", "#".repeat(10), " ".repeat(30))
        );
        assert!(lines[5].starts_with("        live       ###"), "{}", lines[5]);
        let widths: Vec<usize> = lines[2..].iter().map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|width| *width == widths[0] && *width <= 100), "{widths:?}");
    }

    #[test]
    fn blocks_are_finer() {
        let feature = feature(&["a", "b"], &[640, 330], &[1, 0]);
        let lines = drawn(&feature, Style { blocks: true, colours: false });
        assert!(lines[2].contains(&format!("{}▋", "█".repeat(26))), "{}", lines[2]);
        assert!(lines[4].contains(&format!("{}▋ ", "█".repeat(13))), "{}", lines[4]);
        let coloured = drawn(&feature, Style { blocks: true, colours: true });
        assert!(coloured[2].contains("\u{1b}[90m█") && coloured[3].contains("\u{1b}[34m█"));
        let stripped: Vec<String> = coloured
            .iter()
            .map(|line| {
                [COLOURS[0], COLOURS[1], PLAIN]
                    .iter()
                    .fold(line.clone(), |line, code| line.replace(code, ""))
            })
            .collect();
        assert_eq!(stripped, lines);
    }

    #[test]
    fn nothing_and_hostile_names_are_drawn() {
        let empty = feature(&["a", "b"], &[0, 0], &[0, 0]);
        assert!(drawn(&empty, ASCII)[2..].iter().all(|line| line.ends_with("    0.0 %")));
        let hostile = feature(&["\u{1b}[31m\n", &"x".repeat(100)], &[1, 1], &[1, 1]);
        let lines = drawn(&hostile, ASCII);
        assert_eq!(lines.len(), 6);
        assert!(!lines.concat().contains('\u{1b}') && lines[4].contains("xxx...  reference"));
    }
}
