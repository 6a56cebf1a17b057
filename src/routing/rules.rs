//! Rules over headers, which come before the split: the first that fits decides.
//!
//! Rules are bits of one word. Each header that any rule asks for is looked up
//! once, and takes out the rules that it does not fit; the lowest bit that is
//! left is the first rule.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::document::{HeaderMatch, Matcher, Problem, RuleSpec};
use super::key;
use super::pattern::Pattern;
use crate::types::VariantName;

/// Rules that a route may have: the bits of a word.
pub const MAX_RULES: usize = 64;
/// Headers that a rule may ask for.
pub const MAX_HEADERS: usize = 8;

#[derive(Debug)]
pub(super) struct Rules {
    /// By rule.
    variants: Box<[usize]>,
    /// A bit for each rule.
    all: u64,
    /// In the order in which the rules name them.
    headers: Box<[Header]>,
}

/// A header that rules ask for.
#[derive(Debug)]
struct Header {
    name: HeaderName,
    /// Rules that ask for it.
    asking: u64,
    /// Rules of which this is the last header.
    judged: u64,
    conditions: Vec<Condition>,
}

#[derive(Debug)]
struct Condition {
    rule: u64,
    test: Test,
}

#[derive(Debug)]
enum Test {
    Exact(Box<[u8]>),
    Prefix(Box<[u8]>),
    Regex(Box<Pattern>),
}

impl Rules {
    /// `place` tells where a variant stands.
    pub(super) fn new(
        rules: &[RuleSpec],
        place: impl Fn(&VariantName) -> Option<usize>,
    ) -> Result<Rules, Problem> {
        if rules.len() > MAX_RULES {
            return Err(Problem::at(
                "spec.match",
                format!("expected at most {MAX_RULES} rules, found {}", rules.len()),
            ));
        }
        let mut variants = Vec::new();
        let mut all = 0;
        let mut headers: Vec<Header> = Vec::new();
        for (number, rule) in rules.iter().enumerate() {
            let path = format!("spec.match.{number}");
            variants.push(place(&rule.variant).ok_or_else(|| {
                Problem::at(
                    format!("{path}.variant"),
                    format!("there is no variant {}: name one of spec.variants", rule.variant),
                )
            })?);
            let count = rule.headers.len();
            if !(1..=MAX_HEADERS).contains(&count) {
                return Err(Problem::at(
                    format!("{path}.headers"),
                    format!("expected 1 to {MAX_HEADERS} headers, found {count}"),
                ));
            }
            let bit = 1 << number;
            all |= bit;
            let mut last = 0;
            for (number, asked) in rule.headers.iter().enumerate() {
                let path = format!("{path}.headers.{number}");
                let name = key::header(&asked.name, format!("{path}.name"))?;
                let condition = Condition { rule: bit, test: Test::new(asked, &path)? };
                let known = headers.iter().position(|header| header.name == name);
                let place = known.unwrap_or(headers.len());
                if known.is_none() {
                    headers.push(Header { name, asking: 0, judged: 0, conditions: Vec::new() });
                }
                headers[place].asking |= bit;
                headers[place].conditions.push(condition);
                last = last.max(place);
            }
            headers[last].judged |= bit;
        }
        Ok(Rules { variants: variants.into(), all, headers: headers.into() })
    }

    /// The first rule that fits, and the place of its variant.
    pub(super) fn first_fit(&self, headers: &HeaderMap) -> Option<(usize, usize)> {
        let mut judged = 0;
        let mut fitting = self.all;
        for header in &self.headers {
            let values = headers.get_all(&header.name);
            if values.iter().next().is_none() {
                fitting &= !header.asking;
            } else {
                for condition in &header.conditions {
                    let is_open = fitting & condition.rule != 0;
                    if is_open && !values.iter().any(|value| condition.test.fits(value)) {
                        fitting &= !condition.rule;
                    }
                }
            }
            judged |= header.judged;
            let first = fitting & fitting.wrapping_neg();
            if first == 0 {
                return None;
            }
            if first & judged != 0 {
                let rule = first.trailing_zeros() as usize;
                return Some((rule, self.variants[rule]));
            }
        }
        None
    }
}

impl Test {
    fn new(asked: &HeaderMatch, path: &str) -> Result<Test, Problem> {
        let matcher = asked.matcher().map_err(|error| Problem::at(path, error))?;
        Ok(match matcher {
            Matcher::Exact(text) => Test::Exact(text.as_bytes().into()),
            Matcher::Prefix(text) => Test::Prefix(text.as_bytes().into()),
            Matcher::Regex(text) => {
                let pattern = Pattern::new(text);
                let at = |error| Problem::at(format!("{path}.regex"), error);
                Test::Regex(Box::new(pattern.map_err(at)?))
            }
        })
    }

    fn fits(&self, value: &HeaderValue) -> bool {
        let value = value.as_bytes();
        match self {
            Test::Exact(expected) => value == &**expected,
            Test::Prefix(expected) => value.starts_with(expected),
            Test::Regex(pattern) => pattern.fits(value),
        }
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
