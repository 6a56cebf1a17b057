//! Numbers made of a value that cannot be binned itself: a text, or the
//! probabilities of all classes.

use serde::{Deserialize, Serialize};

/// What a column is of its tensor's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Derived {
    /// Characters of a text.
    Chars,
    /// Runs of characters that are not white space.
    Words,
    /// Share of a text's characters that are not ASCII.
    NonAsciiRatio,
    /// Place of the greatest probability; the first of several.
    Argmax,
    /// The greatest probability less the second.
    Margin,
    /// Entropy of the probabilities, in nats.
    Entropy,
}

impl Derived {
    /// Whether it is made of a text; else of the probabilities of a row.
    pub fn is_of_text(self) -> bool {
        matches!(self, Derived::Chars | Derived::Words | Derived::NonAsciiRatio)
    }

    /// As it is written in a profile.
    pub fn label(self) -> &'static str {
        match self {
            Derived::Chars => "chars",
            Derived::Words => "words",
            Derived::NonAsciiRatio => "non_ascii_ratio",
            Derived::Argmax => "argmax",
            Derived::Margin => "margin",
            Derived::Entropy => "entropy",
        }
    }

    /// The number of a text. NaN of an empty one, which so counts as missing,
    /// and of what is not made of texts.
    pub fn of_text(self, text: &str) -> f64 {
        let chars = text.chars().count();
        match self {
            _ if chars == 0 => f64::NAN,
            Derived::Chars => chars as f64,
            Derived::Words => text.split_whitespace().count() as f64,
            Derived::NonAsciiRatio => {
                text.chars().filter(|c| !c.is_ascii()).count() as f64 / chars as f64
            }
            Derived::Argmax | Derived::Margin | Derived::Entropy => f64::NAN,
        }
    }

    /// The number of one row's probabilities. NaN where there are fewer than
    /// two, where one is not a number, and of what is made of texts.
    pub fn of_probabilities(self, probabilities: &[f64]) -> f64 {
        if probabilities.len() < 2 || probabilities.iter().any(|p| p.is_nan()) {
            return f64::NAN;
        }
        let (mut at, mut first, mut second) = (0, f64::NEG_INFINITY, f64::NEG_INFINITY);
        for (place, p) in probabilities.iter().enumerate() {
            if *p > first {
                (at, first, second) = (place, *p, first);
            } else {
                second = second.max(*p);
            }
        }
        match self {
            Derived::Argmax => at as f64,
            Derived::Margin => first - second,
            Derived::Entropy => {
                -probabilities.iter().filter(|p| **p > 0.0).map(|p| p * p.ln()).sum::<f64>()
            }
            Derived::Chars | Derived::Words | Derived::NonAsciiRatio => f64::NAN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_lengths() {
        let text = "two  wörds\n";
        assert_eq!(Derived::Chars.of_text(text), 11.0);
        assert_eq!(Derived::Words.of_text(text), 2.0);
        assert!((Derived::NonAsciiRatio.of_text(text) - 1.0 / 11.0).abs() < 1e-15);
        assert_eq!(Derived::Words.of_text("  "), 0.0);
        assert!(Derived::Chars.of_text("").is_nan() && Derived::Entropy.of_text("a").is_nan());
    }

    #[test]
    fn probabilities_have_a_winner() {
        let p = [0.2, 0.5, 0.3];
        assert_eq!(Derived::Argmax.of_probabilities(&p), 1.0);
        assert!((Derived::Margin.of_probabilities(&p) - 0.2).abs() < 1e-15);
        let entropy = -(0.2 * 0.2f64.ln() + 0.5 * 0.5f64.ln() + 0.3 * 0.3f64.ln());
        assert!((Derived::Entropy.of_probabilities(&p) - entropy).abs() < 1e-15);
        assert_eq!(Derived::Entropy.of_probabilities(&[0.0, 1.0]), 0.0);
        assert_eq!(Derived::Argmax.of_probabilities(&[0.5, 0.5]), 0.0);
        assert_eq!(Derived::Margin.of_probabilities(&[0.5, 0.5]), 0.0);
        for derived in [Derived::Argmax, Derived::Margin, Derived::Entropy] {
            assert!(derived.of_probabilities(&[0.5, f64::NAN]).is_nan());
            assert!(derived.of_probabilities(&[1.0]).is_nan());
        }
    }
}
