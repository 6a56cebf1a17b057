//! modelgate: a model serving gateway.

pub mod api;
pub mod engine;
pub mod telemetry;
pub mod types;
