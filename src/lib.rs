//! modelgate: a model serving gateway.

pub mod app;
pub mod engine;
pub mod telemetry;
pub mod types;
