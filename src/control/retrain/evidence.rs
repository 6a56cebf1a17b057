//! What speaks for training a version anew, in one look. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::facts::{Alert, AlertKind, Quality, QualitySource, Served};
use crate::drift::State;
use crate::drift::live::{Feature, InWindow};
use crate::types::{Digest, Version};

/// Features whose counts evidence carries, those that drift most; the others
/// are only counted. With 24 bins each an event stays under 32 KiB.
pub const MOST_FEATURES: usize = 32;

/// What is needed for evidence to count.
#[derive(Clone, Debug, PartialEq)]
pub struct EvidenceRule {
    /// Inputs that have to drift.
    pub features: usize,
    /// Or one that is at least this important, 0 to 1.
    pub importance: f64,
    /// How important features are, by name, where that is known.
    pub importances: BTreeMap<String, f64>,
    /// Share of predictions that need a label before quality is compared: early
    /// labels are not like late ones.
    pub min_coverage: f64,
    pub min_labels: u64,
}

/// Why training is asked for; a stronger reason stands below a weaker one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Inputs drift. Whether that does any harm is not known.
    InputDrift,
    /// What the model answers drifts, and nothing says that it is right.
    OutputDrift,
    EstimatedQuality,
    Quality,
}

impl Rule {
    pub fn label(self) -> &'static str {
        match self {
            Rule::InputDrift => "input_drift",
            Rule::OutputDrift => "output_drift",
            Rule::EstimatedQuality => "estimated_quality",
            Rule::Quality => "quality",
        }
    }

    /// The `reason` of events and metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Rule::InputDrift | Rule::OutputDrift => "drift",
            Rule::EstimatedQuality => "estimated_quality",
            Rule::Quality => "quality",
        }
    }
}

/// What is attached to a request, or to a page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The same for the same evidence, on every replica.
    pub id: String,
    pub version: Version,
    pub digest: Digest,
    pub profile: String,
    /// None where it is about data that broke.
    pub rule: Option<Rule>,
    /// From when on it was seen without a break, and until when.
    pub from: i64,
    pub to: i64,
    /// In words.
    pub findings: Vec<String>,
    pub features: Vec<Drifted>,
    pub quality: Vec<Quality>,
    pub alerts: Vec<Alert>,
    /// The greatest of all features, of the detector between windows.
    pub evidence_log10: Option<f64>,
}

impl Evidence {
    /// Nothing, for an event that only tries the way.
    pub fn of_a_test(id: String, version: Version, digest: Digest, at: i64) -> Evidence {
        Evidence {
            id,
            version,
            digest,
            profile: String::new(),
            rule: None,
            from: at,
            to: at,
            findings: vec!["a test: nothing is to be trained".to_owned()],
            features: Vec::new(),
            quality: Vec::new(),
            alerts: Vec::new(),
            evidence_log10: None,
        }
    }
}

/// A feature that drifts, in the window in which it drifts most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drifted {
    pub name: String,
    /// `input` or `output`.
    pub face: String,
    pub window: String,
    pub rows: u64,
    pub psi_adj: f64,
    pub js: f64,
    pub chi2: f64,
    pub df: usize,
    pub p: f64,
    pub z: f64,
    pub dispersion: f64,
    pub ref_counts: Vec<u64>,
    pub live_counts: Vec<u64>,
    /// Share of values.
    pub missing: f64,
}

/// What one look at a version finds.
#[derive(Debug)]
pub struct Finding<'a> {
    pub served: &'a Served,
    pub inputs: Vec<&'a str>,
    pub outputs: Vec<&'a str>,
    pub breaches: Vec<&'a Quality>,
    pub alerts: Vec<&'a Alert>,
    pub rule: Option<Rule>,
}

impl<'a> Finding<'a> {
    pub fn of(served: &'a Served, alerts: &'a [Alert], rule: &EvidenceRule) -> Finding<'a> {
        let is_ours = |alert: &&Alert| alert.version.is_none_or(|of| of == served.version);
        let alerts: Vec<&Alert> = alerts.iter().filter(is_ours).collect();
        let told = told(&alerts);
        let drifted = |face: &str| -> Vec<&'a str> {
            let features = served.report.features.iter().filter(|feature| feature.face == face);
            let is_drifted =
                |of: &&Feature| of.state == State::Drifted || told.contains(&&*of.name);
            features.filter(is_drifted).map(|feature| &*feature.name).collect()
        };
        let known: Vec<&Quality> =
            served.quality.iter().filter(|quality| rule.is_known(quality)).collect();
        let mut finding = Finding {
            served,
            inputs: drifted("input"),
            outputs: drifted("output"),
            breaches: known.iter().copied().filter(|quality| quality.is_breach()).collect(),
            alerts,
            rule: None,
        };
        // Labels that say that all is well outrank drift of what is answered.
        let is_fine = finding.breaches.is_empty()
            && known.iter().any(|quality| quality.source == QualitySource::Labels);
        finding.rule = finding.strongest(rule, is_fine);
        finding
    }

    fn strongest(&self, rule: &EvidenceRule, is_fine: bool) -> Option<Rule> {
        let is_breach = |source| self.breaches.iter().any(|quality| quality.source == source);
        let is_told = self.alerts.iter().any(|alert| alert.kind == AlertKind::Quality);
        let important = |name: &&str| {
            rule.importances.get(*name).is_some_and(|share| *share >= rule.importance)
        };
        if is_breach(QualitySource::Labels) || is_told {
            Some(Rule::Quality)
        } else if is_breach(QualitySource::Estimated) && !is_fine {
            Some(Rule::EstimatedQuality)
        } else if !self.outputs.is_empty() && !is_fine {
            Some(Rule::OutputDrift)
        } else if self.inputs.len() >= rule.features
            || self.inputs.iter().any(important)
            || !self.outputs.is_empty()
        {
            Some(Rule::InputDrift)
        } else {
            None
        }
    }

    /// Features that drift, by name.
    pub fn drifted(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.inputs.iter().chain(&self.outputs).copied()
    }

    /// In words, the strongest first.
    pub fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = self
            .breaches
            .iter()
            .map(|breach| {
                let Quality { metric, current, reference, labels, .. } = breach;
                format!("{metric} is {current:.4} over {labels} labels (reference: {reference:.4})")
            })
            .collect();
        let quality = self.alerts.iter().filter(|alert| alert.kind == AlertKind::Quality);
        words.extend(quality.map(|alert| format!("the alert {} fires", alert.name)));
        for (face, names) in [("output", &self.outputs), ("input", &self.inputs)] {
            words.extend(names.iter().map(|name| format!("{face} '{name}' drifts")));
        }
        words
    }

    /// What is told of the features that drift, those that do so most first.
    pub fn features(&self) -> Vec<Drifted> {
        let names: Vec<&str> = self.drifted().collect();
        let features = &self.served.report.features;
        let of = features.iter().filter(|feature| names.contains(&&*feature.name));
        let mut drifted: Vec<Drifted> = of.filter_map(described).collect();
        drifted.sort_by(|one, other| other.psi_adj.total_cmp(&one.psi_adj));
        drifted.truncate(MOST_FEATURES);
        drifted
    }

    pub fn evidence_log10(&self) -> Option<f64> {
        let features = self.served.report.features.iter();
        features.filter_map(|feature| feature.evidence_log10).reduce(f64::max)
    }
}

impl EvidenceRule {
    /// Whether enough labels came for a figure to mean something.
    fn is_known(&self, quality: &Quality) -> bool {
        match quality.source {
            QualitySource::Labels => {
                quality.coverage >= self.min_coverage && quality.labels >= self.min_labels
            }
            QualitySource::Estimated => true,
        }
    }
}

/// Features that alerts say drift.
pub fn told<'a>(alerts: &[&'a Alert]) -> Vec<&'a str> {
    let feature = |alert: &&'a Alert| match &alert.kind {
        AlertKind::Drift(feature) => Some(feature.as_str()),
        AlertKind::Quality => None,
    };
    alerts.iter().filter_map(feature).collect()
}

fn described(feature: &Feature) -> Option<Drifted> {
    let index = |window: &&InWindow| window.score.psi_adjusted;
    let worst = feature.windows.iter().max_by(|a, b| index(a).total_cmp(&index(b)))?;
    let score = &worst.score;
    Some(Drifted {
        name: feature.name.to_string(),
        face: feature.face.to_owned(),
        window: worst.window.to_string(),
        rows: score.rows,
        psi_adj: score.psi_adjusted,
        js: score.js_distance,
        chi2: score.significance.chi2,
        df: score.significance.df,
        p: score.significance.p,
        z: score.significance.z,
        dispersion: score.dispersion,
        ref_counts: feature.bins.iter().map(|bin| bin.reference).collect(),
        live_counts: worst.counts.clone(),
        missing: score.rates[0].live,
    })
}
