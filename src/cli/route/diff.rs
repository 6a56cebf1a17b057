//! What applying a route would change, as a small unified diff of its YAML.

use std::fmt;

use serde::Serialize;

use crate::cli::output::plain;
use crate::control::RouteChange;
use crate::routing::{Route, RouteDocument};

/// Lines of the same around what differs.
const CONTEXT: usize = 3;

#[derive(Debug, Serialize)]
pub(super) struct Difference {
    #[serde(flatten)]
    change: RouteChange,
    /// Weights in percent that would be others: variant, before and after.
    weights: Vec<(String, Option<f64>, Option<f64>)>,
    diff: String,
}

impl Difference {
    pub(super) fn new(change: RouteChange, after: &RouteDocument) -> Difference {
        let before = change.before.as_ref();
        let diff = unified(&before.map(yaml).unwrap_or_default(), &yaml(after));
        let weights = weights(before, after);
        Difference { change, weights, diff }
    }

    /// Whether anything would change.
    pub(super) fn is_one(&self) -> bool {
        self.change.outcome != "unchanged"
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let change = &self.change;
        writeln!(f, "route {}: {}", change.name, plain(&change.outcome))?;
        for line in self.diff.lines() {
            writeln!(f, "  {}", plain(line))?;
        }
        let percent =
            |weight: Option<f64>| weight.map_or("-".to_owned(), |weight| weight.to_string());
        for (variant, before, after) in &self.weights {
            let (before, after) = (percent(*before), percent(*after));
            writeln!(f, "  weight of {variant}: {before} -> {after} %")?;
        }
        if change.moved_units > 0.0 {
            writeln!(f, "  {} % of the units get another variant", change.moved_units)?;
        }
        for warning in &change.warnings {
            writeln!(f, "  warning: {}", plain(warning))?;
        }
        Ok(())
    }
}

fn yaml(document: &RouteDocument) -> String {
    serde_saphyr::to_string(document).unwrap_or_default()
}

fn weights(
    before: Option<&RouteDocument>,
    after: &RouteDocument,
) -> Vec<(String, Option<f64>, Option<f64>)> {
    let of = |document: Option<&RouteDocument>| -> Vec<(String, f64)> {
        let route = document.and_then(|document| Route::compile(document, None).ok());
        let variants = route.map(|route| route.variants).unwrap_or_default();
        variants.iter().map(|one| (one.name.to_string(), one.weight.percent())).collect()
    };
    let (before, after) = (of(before), of(Some(after)));
    let find = |list: &[(String, f64)], name: &str| {
        list.iter().find(|(one, _)| one == name).map(|(_, weight)| *weight)
    };
    let gone = before.iter().filter(|(name, _)| find(&after, name).is_none());
    after
        .iter()
        .chain(gone)
        .map(|(name, _)| (name.clone(), find(&before, name), find(&after, name)))
        .filter(|(_, before, after)| before != after)
        .collect()
}

/// Lines with `-` are only in `before`, those with `+` only in `after`; of the
/// others those that stand near. Empty where nothing differs.
fn unified(before: &str, after: &str) -> String {
    let lines = compare(&before.lines().collect::<Vec<_>>(), &after.lines().collect::<Vec<_>>());
    let differs = |place: usize| lines.get(place).is_some_and(|(sign, _)| *sign != ' ');
    let is_near = |place: usize| (place.saturating_sub(CONTEXT)..=place + CONTEXT).any(differs);
    let mut text = String::new();
    let mut left_out = false;
    for (place, (sign, line)) in lines.iter().enumerate() {
        if is_near(place) {
            if left_out && !text.is_empty() {
                text.push_str("  ...\n");
            }
            text.push_str(&format!("{sign} {line}\n"));
        }
        left_out = !is_near(place);
    }
    text
}

/// Each line with its sign, by the longest common subsequence.
fn compare<'a>(before: &[&'a str], after: &[&'a str]) -> Vec<(char, &'a str)> {
    // Length of the longest common subsequence of what is left from here on.
    let mut common = vec![vec![0_u32; after.len() + 1]; before.len() + 1];
    for old in (0..before.len()).rev() {
        for new in (0..after.len()).rev() {
            common[old][new] = if before[old] == after[new] {
                common[old + 1][new + 1] + 1
            } else {
                common[old + 1][new].max(common[old][new + 1])
            };
        }
    }
    let (mut old, mut new) = (0, 0);
    let mut lines = Vec::new();
    while old < before.len() || new < after.len() {
        if old < before.len() && new < after.len() && before[old] == after[new] {
            lines.push((' ', before[old]));
            (old, new) = (old + 1, new + 1);
        } else if new == after.len()
            || old < before.len() && common[old + 1][new] >= common[old][new + 1]
        {
            lines.push(('-', before[old]));
            old += 1;
        } else {
            lines.push(('+', after[new]));
            new += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_differs_is_shown_with_its_surroundings() {
        let before = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\n";
        let after = "a\nB\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\n";
        let expected = "  a\n- b\n+ B\n  c\n  d\n  e\n  ...\n  i\n  j\n  k\n+ l\n";
        assert_eq!(unified(before, after), expected);
        assert_eq!(unified(before, before), "");
        assert_eq!(unified("", "a\n"), "+ a\n");
    }

    proptest! {
        #[test]
        fn both_sides_can_be_read_from_it(
            before in proptest::collection::vec("[a-c]", 0..12),
            after in proptest::collection::vec("[a-c]", 0..12),
        ) {
            let before: Vec<&str> = before.iter().map(String::as_str).collect();
            let after: Vec<&str> = after.iter().map(String::as_str).collect();
            let lines = compare(&before, &after);
            let side = |other: char| -> Vec<&str> {
                lines.iter().filter(|(sign, _)| *sign != other).map(|(_, line)| *line).collect()
            };
            prop_assert_eq!(side('+'), before);
            prop_assert_eq!(side('-'), after);
        }
    }
}
