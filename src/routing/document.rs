//! A route as people write it: `kind: Route` in YAML, the same in JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::types::{ModelName, Priority, VariantName, Version, Weight};

/// The only version of the form.
pub const API_VERSION: &str = "modelgate.dev/v1";
pub const KIND: &str = "Route";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RouteDocument {
    pub api_version: String,
    pub kind: String,
    pub metadata: Metadata,
    #[serde(default)]
    pub spec: RouteSpec,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Metadata {
    /// What applications call.
    pub name: ModelName,
    /// For people and their tools; nothing here reads them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct RouteSpec {
    /// The model that all variants are versions of; null means the one of the route's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelName>,
    /// In the order in which they take their ranges of the split; the champion
    /// has what the others leave, and is there also where it is not named.
    pub variants: Vec<VariantSpec>,
    /// The first that fits decides, before the split.
    #[serde(rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleSpec>,
    pub stickiness: Stickiness,
    pub version_pin: VersionPin,
    pub priority: Priority,
    pub fallback: Fallback,
    pub on_new_version: OnNewVersion,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowSpec>,
    /// Inputs and outputs of its requests are shown to nobody: no samples are kept.
    pub private: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct VariantSpec {
    pub name: VariantName,
    #[serde(default)]
    pub version: VersionRef,
    /// Percent of the split. Of the champion it may be left out: it has the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
    /// The most it will ever get: its range of the split begins behind the
    /// greatest ranges of those before it, so that a growing weight moves no
    /// unit that was exposed before. Null means an equal part of the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_weight: Option<Weight>,
}

/// What a variant points at: a number, `default` (what the model itself would
/// answer with), `latest` (its newest that is ready), or a label of the model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum VersionRef {
    #[default]
    Default,
    Latest,
    Number(Version),
    Label(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RuleSpec {
    pub variant: VariantName,
    /// All of them have to fit.
    pub headers: Vec<HeaderMatch>,
}

/// One header of HTTP or one key of gRPC metadata, which are the same here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HeaderMatch {
    /// Case does not matter.
    pub name: String,
    // One of the three.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Has to fit the whole value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
}

/// The one way in which a [`HeaderMatch`] compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matcher<'a> {
    Exact(&'a str),
    Prefix(&'a str),
    Regex(&'a str),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Stickiness {
    /// The first that a request carries is its unit; without any it is the request id.
    pub key: Vec<Key>,
    /// Whoever shares a salt shares the buckets. Null means `<route>/r-01`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub salt: Option<String>,
}

/// Where a request's unit stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Key {
    Header(String),
    /// Of gRPC; the same as `header`.
    Metadata(String),
    /// Of the request's own `parameters`: a text, a whole number or a truth value.
    Parameter(String),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VersionPin {
    /// A request may name a version or label, in its path or by `x-model-version`.
    #[default]
    Allow,
    Refuse,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fallback {
    /// The champion answers where another variant fails or is not ready.
    #[default]
    Champion,
    None,
}

/// What a push does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnNewVersion {
    /// The champion follows the model.
    #[default]
    Swap,
    /// The champion stays; the new version is loaded, and requests are mirrored to it.
    Shadow,
    /// The champion stays; the new version is loaded and waits for a promotion.
    Hold,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct ShadowSpec {
    /// What requests are mirrored to, unless it is what answers.
    pub version: VersionRef,
    /// Of the units.
    pub percent: Weight,
    /// Requests that may wait; more are dropped.
    pub queue: usize,
    /// Runs at a time.
    pub concurrency: usize,
    /// Of one core.
    pub cpu_percent: Weight,
    /// For one run.
    pub timeout_ms: u64,
    pub compare: Comparison,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Comparison {
    /// Numbers agree when they differ by at most `atol + rtol * |primary's|`.
    pub rtol: f64,
    pub atol: f64,
    /// Class scores: how many of the best are compared.
    pub top_k: usize,
    /// Mismatches that are kept to be looked at; none of a private route.
    pub samples: usize,
    /// By name; what is not named is inferred.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, OutputComparison>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct OutputComparison {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<OutputKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtol: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub atol: Option<f64>,
}

/// What the numbers of an output mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OutputKind {
    /// A score a class and row: agree when the best class is the same.
    ClassScores,
    /// A number a row: agree when it is close.
    Regression,
    /// Anything else: agree when all elements are close, or the same.
    Values,
}

impl Default for ShadowSpec {
    fn default() -> ShadowSpec {
        ShadowSpec {
            version: VersionRef::Latest,
            percent: Weight::from_percent(25.0).unwrap_or_default(),
            queue: 256,
            concurrency: 1,
            cpu_percent: Weight::from_percent(25.0).unwrap_or_default(),
            timeout_ms: 2_000,
            compare: Comparison::default(),
        }
    }
}

impl Default for Comparison {
    fn default() -> Comparison {
        Comparison { rtol: 1e-3, atol: 1e-5, top_k: 5, samples: 100, outputs: BTreeMap::new() }
    }
}

/// What is wrong with a route, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key, dotted from the root, such as `spec.variants.1.weight`.
    pub path: String,
    /// What was expected, what came, how to put it right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl Problem {
    pub(super) fn at(path: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem { path: path.into(), message: message.into() }
    }
}

impl RouteDocument {
    pub fn new(name: ModelName, spec: RouteSpec) -> RouteDocument {
        RouteDocument {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            metadata: Metadata { name, labels: BTreeMap::new() },
            spec,
        }
    }

    pub fn name(&self) -> &ModelName {
        &self.metadata.name
    }

    /// The model that all variants are versions of.
    pub fn model(&self) -> &ModelName {
        self.spec.model.as_ref().unwrap_or(&self.metadata.name)
    }
}

impl fmt::Display for VersionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VersionRef::Default => f.write_str("default"),
            VersionRef::Latest => f.write_str("latest"),
            VersionRef::Number(version) => version.fmt(f),
            VersionRef::Label(label) => f.write_str(label),
        }
    }
}

impl VersionRef {
    /// A number, one of the two words, or a label.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<VersionRef, String> {
        match text {
            "default" => Ok(VersionRef::Default),
            "latest" => Ok(VersionRef::Latest),
            "" => Err("expected a version's number, default, latest or a label".to_owned()),
            number if number.starts_with(|c: char| c.is_ascii_digit()) => {
                Version::parse(number).map(VersionRef::Number).map_err(|error| error.to_string())
            }
            label if label.len() <= 128 => Ok(VersionRef::Label(label.to_owned())),
            _ => Err("a label has at most 128 characters".to_owned()),
        }
    }
}

impl Serialize for VersionRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            VersionRef::Number(version) => version.serialize(serializer),
            word => serializer.collect_str(word),
        }
    }
}

impl<'de> Deserialize<'de> for VersionRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<VersionRef, D::Error> {
        struct Reference;
        impl Visitor<'_> for Reference {
            type Value = VersionRef;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a version's number, default, latest or a label")
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<VersionRef, E> {
                let version = std::num::NonZeroU64::new(number);
                let version = version.ok_or_else(|| E::custom("versions are positive integers"))?;
                Ok(VersionRef::Number(Version::from(version)))
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<VersionRef, E> {
                let number = u64::try_from(number);
                self.visit_u64(number.map_err(|_| E::custom("versions are positive integers"))?)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<VersionRef, E> {
                VersionRef::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Reference)
    }
}

impl HeaderMatch {
    /// # Errors
    /// When it does not say exactly one way.
    pub fn matcher(&self) -> Result<Matcher<'_>, String> {
        match (&self.exact, &self.prefix, &self.regex) {
            (Some(exact), None, None) => Ok(Matcher::Exact(exact)),
            (None, Some(prefix), None) => Ok(Matcher::Prefix(prefix)),
            (None, None, Some(regex)) => Ok(Matcher::Regex(regex)),
            _ => Err("expected one of exact, prefix and regex".to_owned()),
        }
    }
}
