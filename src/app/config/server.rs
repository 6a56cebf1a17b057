//! `server`: listeners, threads and how the gateway stops.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::expand;
use super::range::{Problem, Validate, within};

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// Inference over HTTP. Each inference listener answers both protocols.
    /// Port 0 lets the system choose one, on any listener.
    #[serde(deserialize_with = "expand::value")]
    pub http: SocketAddr,
    /// Inference over gRPC.
    #[serde(deserialize_with = "expand::value")]
    pub grpc: SocketAddr,
    /// Metrics and health.
    #[serde(deserialize_with = "expand::value")]
    pub metrics: SocketAddr,
    /// The admin API: a loopback address.
    #[serde(deserialize_with = "expand::value")]
    pub admin: SocketAddr,
    /// Folder of what has to outlive the process: the cache of model files,
    /// holds, the audit log. One gateway at a time uses it.
    #[serde(deserialize_with = "expand::value")]
    pub data: PathBuf,
    /// Network threads; 0 means one per core.
    pub threads: usize,
    /// How long a network thread looks for the next request before it sleeps,
    /// while that tends to find one; 0 means not at all. Trades CPU time at low
    /// concurrency for latency.
    pub spin_us: u64,
    /// Whether gRPC clients may ask for the service's description.
    pub reflection: bool,
    pub shutdown: ShutdownConfig,
}

impl Default for ServerConfig {
    fn default() -> ServerConfig {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        ServerConfig {
            http: local(8000),
            grpc: local(8001),
            metrics: local(8002),
            admin: local(8003),
            data: PathBuf::from("modelgate-data"),
            threads: 0,
            spin_us: 100,
            reflection: false,
            shutdown: ShutdownConfig::default(),
        }
    }
}

impl Validate for ServerConfig {
    fn validate(&self) -> Result<(), Problem> {
        within("threads", self.threads, 0..=1024)?;
        within("spin_us", self.spin_us, 0..=1_000)?;
        if !self.admin.ip().is_loopback() {
            let message = format!(
                "expected a loopback address such as 127.0.0.1:8003, got {}: the admin API has \
                 no TLS and no authentication yet",
                self.admin
            );
            return Err(Problem::new("admin", message));
        }
        let listeners = [
            ("http", self.http),
            ("grpc", self.grpc),
            ("metrics", self.metrics),
            ("admin", self.admin),
        ];
        for (at, (name, address)) in listeners.iter().enumerate() {
            let taken = listeners[..at].iter().find(|(_, other)| other == address);
            if let Some((other, _)) = taken.filter(|_| address.port() != 0) {
                let message = format!("{address} is the address of server.{other} already");
                return Err(Problem::new(*name, message));
            }
        }
        self.shutdown.validate().map_err(|problem| problem.within("shutdown"))
    }
}

/// What happens between the first signal to stop and the exit. A second signal
/// stops at once.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShutdownConfig {
    /// How long to go on taking requests while already reported as not ready,
    /// so that load balancers turn away first. 0 means not at all; behind a
    /// load balancer 5000 to 10000 is usual.
    pub drain_delay_ms: u64,
    /// How long requests under way may then take before they are cut off;
    /// 0 cuts them off at once.
    pub grace_ms: u64,
}

impl Default for ShutdownConfig {
    fn default() -> ShutdownConfig {
        ShutdownConfig { drain_delay_ms: 0, grace_ms: 25_000 }
    }
}

impl Validate for ShutdownConfig {
    fn validate(&self) -> Result<(), Problem> {
        within("drain_delay_ms", self.drain_delay_ms, 0..=600_000)?;
        within("grace_ms", self.grace_ms, 0..=3_600_000)
    }
}
