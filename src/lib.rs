//! modelgate: a model serving gateway.

pub mod engine;
pub mod types;
