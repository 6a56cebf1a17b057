//! Bins as people read them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::report::Bin;
use crate::drift::bins::Bins;
use crate::drift::profile::Column;

/// Digits that numbers are shown with, where so many tell them apart.
const DIGITS: usize = 6;

/// The bins of a column, in their order.
pub(super) fn bins(column: &Column) -> Arc<[Bin]> {
    let labels = labels(&column.bins).into_iter().map(Arc::from);
    let counts = column.reference.bins().iter().copied();
    labels.zip(counts).map(|(label, reference)| Bin { label, reference }).collect()
}

fn labels(bins: &Bins) -> Vec<String> {
    let other = || ["other".to_owned()];
    match bins {
        Bins::Edges(bins) => between(&numbers(bins.edges())),
        Bins::Values(bins) => numbers(bins.values()).into_iter().chain(other()).collect(),
        Bins::Categories(bins) => bins.categories().iter().cloned().chain(other()).collect(),
    }
}

/// `< 20`, `20 to 40`, `>= 40`.
fn between(edges: &[String]) -> Vec<String> {
    let [first, .., last] = edges else {
        return match edges {
            [edge] => vec![format!("< {edge}"), format!(">= {edge}")],
            _ => vec!["all".to_owned()],
        };
    };
    let inner = edges.windows(2).map(|pair| format!("{} to {}", pair[0], pair[1]));
    [format!("< {first}")].into_iter().chain(inner).chain([format!(">= {last}")]).collect()
}

/// With [`DIGITS`], or with as many as it takes to tell two from each other.
fn numbers(values: &[f64]) -> Vec<String> {
    let short: Vec<String> = values.iter().map(|value| text(rounded(*value))).collect();
    let distinct: BTreeSet<&String> = short.iter().collect();
    match distinct.len() == values.len() {
        true => short,
        false => values.iter().map(|value| text(*value)).collect(),
    }
}

/// Whole numbers stay as they are: they may be names of something.
fn rounded(value: f64) -> f64 {
    if value.fract() == 0.0 {
        return value;
    }
    format!("{value:.*e}", DIGITS - 1).parse().unwrap_or(value)
}

/// As short as it can be read back, without zeroes that say nothing.
fn text(value: f64) -> String {
    let text = format!("{value:?}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::bins::{CategoryBins, EdgeBins, Scale, ValueBins};

    fn edges(edges: &[f64]) -> Vec<String> {
        let scale = Scale::new(0.0, 1.0);
        labels(&Bins::Edges(EdgeBins::new(edges.to_vec(), 0.0, 1.0, scale, false)))
    }

    #[test]
    fn a_number_reads_as_people_write_it() {
        assert_eq!(edges(&[20.0, 40.0]), ["< 20", "20 to 40", ">= 40"]);
        assert_eq!(edges(&[0.5]), ["< 0.5", ">= 0.5"]);
        assert_eq!(edges(&[]), ["all"]);
        let single = f64::from(0.1f32);
        assert_eq!(edges(&[single, 1e20]), ["< 0.1", "0.1 to 1e20", ">= 1e20"]);
        assert_eq!(edges(&[20_191_231.0])[0], "< 20191231");
    }

    #[test]
    fn two_bins_never_read_alike() {
        let found = edges(&[0.123_456_78, 0.123_456_79]);
        assert_eq!(found[1], "0.12345678 to 0.12345679");
    }

    #[test]
    fn what_has_no_bin_is_other() {
        let values = ValueBins::new(vec![2.0, 4.0], None, Scale::new(2.0, 4.0));
        assert_eq!(labels(&Bins::Values(values)), ["2", "4", "other"]);
        let texts = CategoryBins::new(vec!["a".to_owned()], None);
        assert_eq!(labels(&Bins::Categories(texts)), ["a", "other"]);
    }
}
