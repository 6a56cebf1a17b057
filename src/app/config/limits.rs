//! `limits`: what one request, one connection and all together may take.

use serde::{Deserialize, Serialize};

use super::range::{Problem, Validate, within};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const HOUR_MS: u64 = 3_600_000;

/// None of these can be switched off.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Most bytes of one request's body or message, compressed or not.
    pub max_body_bytes: usize,
    /// Most bytes of request bodies held at once, over all models.
    pub max_bytes_in_flight: usize,
    /// Most bytes of one request's head.
    pub max_head_bytes: usize,
    /// Most headers of one request.
    pub max_headers: usize,
    /// Most connections open at once, over all inference listeners.
    pub max_connections: usize,
    /// Most requests at once on one HTTP/2 connection.
    pub max_streams_per_connection: u32,
    /// Longest time for a request's head to arrive.
    pub head_timeout_ms: u64,
    /// Longest time for a request's body to arrive.
    pub body_timeout_ms: u64,
    /// Longest time a connection may stay open without a request.
    pub idle_timeout_ms: u64,
    /// Longest time for a client to take more of an answer.
    pub write_timeout_ms: u64,
    /// Longest time from a request's arrival to its answer; a client's own
    /// deadline may be shorter.
    pub max_request_ms: u64,
    /// Most inputs of one request.
    pub max_inputs: usize,
    /// Most outputs one request may ask for.
    pub max_outputs: usize,
    /// Most elements of one tensor.
    pub max_elements: usize,
}

impl Default for LimitsConfig {
    fn default() -> LimitsConfig {
        LimitsConfig {
            max_body_bytes: 64 * MIB,
            max_bytes_in_flight: 512 * MIB,
            max_head_bytes: 16 * KIB,
            max_headers: 100,
            max_connections: 10_000,
            max_streams_per_connection: 256,
            head_timeout_ms: 5_000,
            body_timeout_ms: 30_000,
            idle_timeout_ms: 60_000,
            write_timeout_ms: 30_000,
            max_request_ms: 60_000,
            max_inputs: 64,
            max_outputs: 64,
            max_elements: 64 * MIB,
        }
    }
}

impl Validate for LimitsConfig {
    fn validate(&self) -> Result<(), Problem> {
        // A gRPC message's length has 32 bits.
        within("max_body_bytes", self.max_body_bytes, KIB..=u32::MAX as usize)?;
        within("max_bytes_in_flight", self.max_bytes_in_flight, KIB..=1 << 50)?;
        if self.max_bytes_in_flight < self.max_body_bytes {
            let message = format!(
                "expected at least limits.max_body_bytes ({}), or the largest requests could \
                 never be taken; got {}",
                self.max_body_bytes, self.max_bytes_in_flight
            );
            return Err(Problem::new("max_bytes_in_flight", message));
        }
        // The HTTP library reads heads into buffers of at least 8 KiB.
        within("max_head_bytes", self.max_head_bytes, 8 * KIB..=MIB)?;
        within("max_headers", self.max_headers, 8..=4096)?;
        within("max_connections", self.max_connections, 1..=1_000_000)?;
        within("max_streams_per_connection", self.max_streams_per_connection, 1..=65_536)?;
        for (name, timeout) in [
            ("head_timeout_ms", self.head_timeout_ms),
            ("body_timeout_ms", self.body_timeout_ms),
            ("idle_timeout_ms", self.idle_timeout_ms),
            ("write_timeout_ms", self.write_timeout_ms),
            ("max_request_ms", self.max_request_ms),
        ] {
            within(name, timeout, 1..=HOUR_MS)?;
        }
        within("max_inputs", self.max_inputs, 1..=4096)?;
        within("max_outputs", self.max_outputs, 1..=4096)?;
        within("max_elements", self.max_elements, 1..=1 << 40)
    }
}
