//! `registries`: where models come from beside `models.dir`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::expand;
use super::range::{Problem, Validate, within};
use crate::registry::Secret;
use crate::types::ModelName;

/// One registry; `models.dir` is one that is a folder, with the defaults.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RegistryConfig {
    Dir(DirConfig),
    S3(S3Config),
    Gcs(GcsConfig),
    Azure(AzureConfig),
}

/// A folder: `<name>/<version>/model.onnx`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct DirConfig {
    #[serde(deserialize_with = "expand::value")]
    pub path: PathBuf,
    /// From one look to the next; changes are seen sooner where the system tells of them.
    pub poll_ms: u64,
    /// For how long a version without a manifest must have been the same.
    pub settle_ms: u64,
}

/// An S3 bucket, or that of a compatible store. What is null comes from `AWS_*`
/// in the environment, or from the machine's role.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct S3Config {
    #[serde(deserialize_with = "expand::value")]
    pub bucket: String,
    #[serde(deserialize_with = "expand::value")]
    pub prefix: String,
    #[serde(deserialize_with = "expand::optional")]
    pub region: Option<String>,
    #[serde(deserialize_with = "expand::optional")]
    pub endpoint: Option<String>,
    pub allow_http: bool,
    #[serde(deserialize_with = "expand::optional")]
    pub access_key_id: Option<String>,
    #[serde(deserialize_with = "expand::optional")]
    pub secret_access_key: Option<Secret>,
    #[serde(deserialize_with = "expand::optional")]
    pub session_token: Option<Secret>,
    pub poll_ms: u64,
    /// A transfer on which nothing comes for so long is given up.
    pub stall_ms: u64,
}

/// A bucket of Google Cloud Storage. What is null comes from `GOOGLE_*` in the
/// environment, or from the machine's account.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct GcsConfig {
    #[serde(deserialize_with = "expand::value")]
    pub bucket: String,
    #[serde(deserialize_with = "expand::value")]
    pub prefix: String,
    /// A file with the key of a service account.
    #[serde(deserialize_with = "expand::optional")]
    pub service_account_path: Option<String>,
    pub poll_ms: u64,
    pub stall_ms: u64,
}

/// A container of Azure Blob Storage. What is null comes from `AZURE_*` in the
/// environment, or from the machine's identity.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AzureConfig {
    #[serde(deserialize_with = "expand::value")]
    pub account: String,
    #[serde(deserialize_with = "expand::value")]
    pub container: String,
    #[serde(deserialize_with = "expand::value")]
    pub prefix: String,
    #[serde(deserialize_with = "expand::optional")]
    pub endpoint: Option<String>,
    pub allow_http: bool,
    #[serde(deserialize_with = "expand::optional")]
    pub access_key: Option<Secret>,
    pub poll_ms: u64,
    pub stall_ms: u64,
}

/// The name of a registry, which is a metric's label too.
pub(super) fn check_name(name: &str) -> Result<(), Problem> {
    if name == "models" {
        return Err(Problem::new(name, "this is the name of models.dir; choose another"));
    }
    match ModelName::parse(name) {
        Ok(_) => Ok(()),
        Err(_) => {
            let expected = "1 to 128 of A-Z a-z 0-9 . _ -, the first a letter or digit";
            Err(Problem::new(name, format!("expected a name of {expected}")))
        }
    }
}

/// Each poll of an object store costs money.
const OBJECT_POLL_MS: u64 = 30_000;
const STALL_MS: u64 = 30_000;
const HOUR_MS: u64 = 3_600_000;

impl Default for DirConfig {
    fn default() -> DirConfig {
        DirConfig { path: PathBuf::new(), poll_ms: 5_000, settle_ms: 500 }
    }
}

impl Default for S3Config {
    fn default() -> S3Config {
        S3Config {
            bucket: String::new(),
            prefix: String::new(),
            region: None,
            endpoint: None,
            allow_http: false,
            access_key_id: None,
            secret_access_key: None,
            session_token: None,
            poll_ms: OBJECT_POLL_MS,
            stall_ms: STALL_MS,
        }
    }
}

impl Default for GcsConfig {
    fn default() -> GcsConfig {
        GcsConfig {
            bucket: String::new(),
            prefix: String::new(),
            service_account_path: None,
            poll_ms: OBJECT_POLL_MS,
            stall_ms: STALL_MS,
        }
    }
}

impl Default for AzureConfig {
    fn default() -> AzureConfig {
        AzureConfig {
            account: String::new(),
            container: String::new(),
            prefix: String::new(),
            endpoint: None,
            allow_http: false,
            access_key: None,
            poll_ms: OBJECT_POLL_MS,
            stall_ms: STALL_MS,
        }
    }
}

impl Validate for RegistryConfig {
    fn validate(&self) -> Result<(), Problem> {
        match self {
            RegistryConfig::Dir(dir) => dir.validate().map_err(|problem| problem.within("dir")),
            RegistryConfig::S3(s3) => s3.validate().map_err(|problem| problem.within("s3")),
            RegistryConfig::Gcs(gcs) => gcs.validate().map_err(|problem| problem.within("gcs")),
            RegistryConfig::Azure(azure) => {
                azure.validate().map_err(|problem| problem.within("azure"))
            }
        }
    }
}

impl Validate for DirConfig {
    fn validate(&self) -> Result<(), Problem> {
        given("path", self.path.as_os_str().is_empty(), "the path of a folder")?;
        within("poll_ms", self.poll_ms, 100..=HOUR_MS)?;
        within("settle_ms", self.settle_ms, 0..=60_000)
    }
}

impl Validate for S3Config {
    fn validate(&self) -> Result<(), Problem> {
        given("bucket", self.bucket.is_empty(), "the name of a bucket")?;
        prefix(&self.prefix)?;
        endpoint(self.endpoint.as_deref(), self.allow_http)?;
        if self.access_key_id.is_some() != self.secret_access_key.is_some() {
            let message = "expected both of access_key_id and secret_access_key, or none of them";
            return Err(Problem::new("access_key_id", message));
        }
        object_times(self.poll_ms, self.stall_ms)
    }
}

impl Validate for GcsConfig {
    fn validate(&self) -> Result<(), Problem> {
        given("bucket", self.bucket.is_empty(), "the name of a bucket")?;
        prefix(&self.prefix)?;
        object_times(self.poll_ms, self.stall_ms)
    }
}

impl Validate for AzureConfig {
    fn validate(&self) -> Result<(), Problem> {
        given("account", self.account.is_empty(), "the name of a storage account")?;
        given("container", self.container.is_empty(), "the name of a container")?;
        prefix(&self.prefix)?;
        endpoint(self.endpoint.as_deref(), self.allow_http)?;
        object_times(self.poll_ms, self.stall_ms)
    }
}

fn given(key: &str, is_missing: bool, expected: &str) -> Result<(), Problem> {
    if is_missing { Err(Problem::new(key, format!("expected {expected}"))) } else { Ok(()) }
}

fn prefix(prefix: &str) -> Result<(), Problem> {
    let mut parts = prefix.trim_matches('/').split('/');
    let is_sound = prefix.is_empty() || parts.all(|part| !["", ".", ".."].contains(&part));
    if is_sound {
        Ok(())
    } else {
        Err(Problem::new("prefix", format!("expected a path such as team/models, got '{prefix}'")))
    }
}

fn endpoint(endpoint: Option<&str>, allow_http: bool) -> Result<(), Problem> {
    match endpoint {
        Some(url) if url.starts_with("http://") && !allow_http => {
            let message = "'http://' sends models unencrypted; allow_http: true allows it";
            Err(Problem::new("endpoint", message))
        }
        Some(url) if !url.starts_with("http://") && !url.starts_with("https://") => {
            Err(Problem::new("endpoint", format!("expected https://HOST, got '{url}'")))
        }
        _ => Ok(()),
    }
}

fn object_times(poll_ms: u64, stall_ms: u64) -> Result<(), Problem> {
    within("poll_ms", poll_ms, 500..=HOUR_MS)?;
    within("stall_ms", stall_ms, 100..=600_000)
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    fn parse(yaml: &str) -> Result<Config, String> {
        Config::parse(yaml, "test.yaml").map_err(|error| error.to_string())
    }

    #[test]
    fn every_kind_is_read_and_secrets_are_not_written() {
        let config = parse(
            "registries:
  a: {dir: {path: /srv/models}}
  b: {s3: {bucket: b, prefix: team/models, access_key_id: AKIA, secret_access_key: hush-1}}
  c: {gcs: {bucket: b}}
  d: {azure: {account: a, container: c, access_key: hush-2}}
",
        )
        .expect("valid");
        assert_eq!(config.registries.len(), 4);
        let written = serde_json::to_string(&config).expect("JSON");
        for shown in [written, format!("{config:?}")] {
            assert!(shown.contains("AKIA") && !shown.contains("hush"), "{shown}");
        }
    }

    #[test]
    fn mistakes_are_told_with_their_key() {
        for (yaml, key, part) in [
            ("{dir: {}}", "registries.a.dir.path", "the path of a folder"),
            ("{dir: {path: x, poll_ms: 1}}", "registries.a.dir.poll_ms", "expected 100 to"),
            ("{s3: {}}", "registries.a.s3.bucket", "the name of a bucket"),
            ("{s3: {bucket: b, prefix: a//b}}", "registries.a.s3.prefix", "got 'a//b'"),
            ("{s3: {bucket: b, prefix: ../b}}", "registries.a.s3.prefix", "got '../b'"),
            ("{s3: {bucket: b, endpoint: \"http://h\"}}", "registries.a.s3.endpoint", "allow_http"),
            ("{s3: {bucket: b, endpoint: h}}", "registries.a.s3.endpoint", "https://HOST"),
            ("{s3: {bucket: b, access_key_id: x}}", "registries.a.s3.access_key_id", "both of"),
            ("{s3: {buckt: b}}", "buckt", "did you mean 'bucket'"),
            ("{gcs: {bucket: b, stall_ms: 1}}", "registries.a.gcs.stall_ms", "expected 100 to"),
            ("{azure: {account: a}}", "registries.a.azure.container", "the name of a container"),
            ("{s4: {bucket: b}}", "s4", "expected one of dir, s3, gcs, azure"),
        ] {
            let error = parse(&format!("registries: {{a: {yaml}}}\n")).expect_err(yaml);
            assert!(error.contains(key) && error.contains(part), "{yaml}: {error}");
        }
        for name in ["models", "a b", "../x", ""] {
            let yaml = format!("registries: {{\"{name}\": {{dir: {{path: x}}}}}}\n");
            assert!(parse(&yaml).is_err(), "'{name}' is no name");
        }
    }
}
