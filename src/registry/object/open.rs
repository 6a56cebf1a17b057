//! Clients of object stores, from what the configuration says.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{BackoffConfig, ClientOptions, RetryConfig};

use super::Bucket;
use super::error::from_store;
use crate::registry::{Secret, SourceError};

/// What is null is taken from the environment (`AWS_*`, `GOOGLE_*`, `AZURE_*`),
/// or from the machine's identity where the cloud gives it one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct S3Options {
    pub bucket: String,
    pub prefix: String,
    pub region: Option<String>,
    pub endpoint: Option<String>,
    pub allow_http: bool,
    pub access_key_id: Option<String>,
    pub secret_access_key: Option<Secret>,
    pub session_token: Option<Secret>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcsOptions {
    pub bucket: String,
    pub prefix: String,
    /// A file with the account's key.
    pub service_account_path: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AzureOptions {
    pub account: String,
    pub container: String,
    pub prefix: String,
    pub endpoint: Option<String>,
    pub allow_http: bool,
    pub access_key: Option<Secret>,
}

impl Bucket {
    /// # Errors
    /// When the options do not make a client. Nothing is sent yet.
    pub fn s3(options: &S3Options) -> Result<Bucket, SourceError> {
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(&options.bucket)
            .with_client_options(client(options.allow_http || env_allows_http("AWS_ALLOW_HTTP")))
            .with_retry(retry());
        if let Some(region) = &options.region {
            builder = builder.with_region(region);
        }
        if let Some(endpoint) = &options.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(id) = &options.access_key_id {
            builder = builder.with_access_key_id(id);
        }
        if let Some(key) = &options.secret_access_key {
            builder = builder.with_secret_access_key(key.reveal());
        }
        if let Some(token) = &options.session_token {
            builder = builder.with_token(token.reveal());
        }
        let store = builder.build().map_err(|error| from_store(&error))?;
        Bucket::new(Arc::new(store), &format!("s3://{}", options.bucket), &options.prefix)
    }

    /// # Errors
    /// When the options do not make a client. Nothing is sent yet.
    pub fn gcs(options: &GcsOptions) -> Result<Bucket, SourceError> {
        let mut builder = GoogleCloudStorageBuilder::from_env()
            .with_bucket_name(&options.bucket)
            .with_client_options(client(false))
            .with_retry(retry());
        if let Some(path) = &options.service_account_path {
            builder = builder.with_service_account_path(path);
        }
        let store = builder.build().map_err(|error| from_store(&error))?;
        Bucket::new(Arc::new(store), &format!("gs://{}", options.bucket), &options.prefix)
    }

    /// # Errors
    /// When the options do not make a client. Nothing is sent yet.
    pub fn azure(options: &AzureOptions) -> Result<Bucket, SourceError> {
        let mut builder = MicrosoftAzureBuilder::from_env()
            .with_account(&options.account)
            .with_container_name(&options.container)
            .with_client_options(client(options.allow_http))
            .with_retry(retry());
        if let Some(endpoint) = &options.endpoint {
            builder = builder.with_endpoint(endpoint.clone());
        }
        if let Some(key) = &options.access_key {
            builder = builder.with_access_key(key.reveal());
        }
        let store = builder.build().map_err(|error| from_store(&error))?;
        let location = format!("az://{}/{}", options.account, options.container);
        Bucket::new(Arc::new(store), &location, &options.prefix)
    }
}

/// `object_store` reads it too, but into the options that [`client`] replaces.
fn env_allows_http(variable: &str) -> bool {
    std::env::var(variable).is_ok_and(|value| value.eq_ignore_ascii_case("true"))
}

/// Without a limit on a whole request: a large file over a slow line takes its
/// time. How long nothing may come is watched where bytes are awaited.
fn client(allow_http: bool) -> ClientOptions {
    ClientOptions::new()
        .with_allow_http(allow_http)
        .with_timeout_disabled()
        .with_connect_timeout(Duration::from_secs(5))
}

/// Few and soon: the next poll is another attempt.
fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(2),
            base: 2.0,
        },
        max_retries: 3,
        retry_timeout: Duration::from_secs(15),
    }
}
