//! What is allowed in a route, but is hardly meant.

use super::document::{
    HeaderMatch, Matcher, OnNewVersion, RouteDocument, RuleSpec, VariantSpec, VersionRef,
};
use crate::types::Weight;

/// Warnings about a route that is valid, each a sentence that begins with the
/// key it is about.
pub fn lint(document: &RouteDocument) -> Vec<String> {
    let spec = &document.spec;
    let mut found = Vec::new();
    let champion = spec.variants.iter().find(|variant| variant.name.is_champion());
    let champion = champion.map_or(VersionRef::Default, |variant| variant.version.clone());
    for (place, variant) in spec.variants.iter().enumerate() {
        if !variant.name.is_champion() {
            lint_variant(place, variant, &champion, &spec.rules, &mut found);
        }
    }
    lint_rules(&spec.rules, &mut found);
    if spec.stickiness.key.is_empty() && spec.variants.iter().any(has_share) {
        found.push(
            "spec.stickiness.key: there is a split and no key, so that each request is a unit of \
             its own, and a caller sees answers of several variants"
                .to_owned(),
        );
    }
    match &spec.shadow {
        None if spec.on_new_version == OnNewVersion::Shadow => found.push(
            "spec.onNewVersion: new versions are mirrored to with the defaults, because there is \
             no spec.shadow"
                .to_owned(),
        ),
        Some(shadow) => {
            if shadow.version == champion {
                found.push(format!(
                    "spec.shadow.version: {} is what the champion points at, and a version is not \
                     mirrored to itself",
                    shadow.version
                ));
            }
            if shadow.compare.samples > 0 && !spec.private {
                found.push(
                    "spec.shadow.compare.samples: inputs and outputs that differ are kept and can \
                     be read by whoever reaches the admin API; set private: true where they are \
                     personal"
                        .to_owned(),
                );
            }
        }
        None => {}
    }
    found
}

fn has_share(variant: &VariantSpec) -> bool {
    let weight = variant.weight.unwrap_or(Weight::NONE);
    !variant.name.is_champion() && !weight.is_none()
}

fn lint_variant(
    place: usize,
    variant: &VariantSpec,
    champion: &VersionRef,
    rules: &[RuleSpec],
    found: &mut Vec<String>,
) {
    let name = &variant.name;
    let is_named = rules.iter().any(|rule| rule.variant == *name);
    if !has_share(variant) && !is_named {
        found.push(format!(
            "spec.variants.{place}: {name} has no weight, and no rule names it: it gets no request"
        ));
    }
    if variant.version == *champion {
        found.push(format!(
            "spec.variants.{place}.version: {name} points at {champion} like the champion, so that \
             both answer the same"
        ));
    }
}

fn lint_rules(rules: &[RuleSpec], found: &mut Vec<String>) {
    for (place, rule) in rules.iter().enumerate() {
        if let Some(earlier) = rules[..place].iter().position(|earlier| covers(earlier, rule)) {
            found.push(format!(
                "spec.match.{place}: never reached, because whatever fits it fits \
                 spec.match.{earlier} before"
            ));
        }
        for (number, header) in rule.headers.iter().enumerate() {
            if let Ok(Matcher::Regex(pattern)) = header.matcher()
                && is_literal(pattern)
            {
                found.push(format!(
                    "spec.match.{place}.headers.{number}.regex: '{pattern}' fits one value only; \
                     exact says so and is cheaper"
                ));
            }
        }
    }
}

/// Whether all that an earlier rule asks for is asked for by a later one, too.
fn covers(earlier: &RuleSpec, later: &RuleSpec) -> bool {
    earlier.headers.iter().all(|asked| later.headers.iter().any(|other| implies(other, asked)))
}

/// Whether what fits one condition fits another in any case.
fn implies(given: &HeaderMatch, wanted: &HeaderMatch) -> bool {
    if !given.name.eq_ignore_ascii_case(&wanted.name) {
        return false;
    }
    match (given.matcher(), wanted.matcher()) {
        (Ok(Matcher::Exact(value) | Matcher::Prefix(value)), Ok(Matcher::Prefix(prefix))) => {
            value.starts_with(prefix)
        }
        (Ok(given), Ok(wanted)) => given == wanted,
        _ => false,
    }
}

/// Whether a pattern is plain text, but for anchors that change nothing.
fn is_literal(pattern: &str) -> bool {
    let inner = pattern.strip_prefix('^').unwrap_or(pattern);
    let inner = inner.strip_suffix('$').unwrap_or(inner);
    !inner.contains(|c: char| r"\.+*?()|[]{}^$".contains(c))
}

#[cfg(test)]
#[path = "lint_tests.rs"]
mod tests;
