//! modelgate: a model serving gateway.
//!
//! The map, from the bottom up; a folder imports only from folders above it in
//! this list, and siblings do not import each other (`tests/layers.rs`):
//!
//! - [`background`]: threads that yield to those that answer requests
//! - [`types`]: tensors, shapes, names, versions, requests, errors
//! - [`telemetry`]: metric names, handles and rendering; logs
//! - [`onnx`]: the ONNX protobuf read safely, before ONNX Runtime sees it
//! - [`engine`]: sessions of ONNX Runtime; [`routing`]: which version answers;
//!   [`admission`]: budgets, limits, breakers; [`registry`]: where models come from;
//!   [`predictions`]: what was asked and answered, durable; [`drift`]: whether
//!   traffic still looks like what a model was trained on
//! - [`quality`]: labels joined with predictions, live metrics;
//!   [`serving`]: the catalog of what is loaded, and where runs take place
//! - [`shadow`]: requests mirrored to another version, and how its answers compare
//! - [`request`]: the life of a request; [`control`]: the life of a version,
//!   from a registry to its end
//! - [`api`]: the wire faces and their codecs
//! - [`app`]: configuration and its reload, wiring, start and stop
//! - [`cli`]: one file per verb

pub mod admission;
pub mod api;
pub mod app;
pub mod background;
pub mod cli;
pub mod control;
pub mod drift;
pub mod engine;
pub mod onnx;
pub mod predictions;
pub mod quality;
pub mod registry;
pub mod request;
pub mod routing;
pub mod serving;
pub mod shadow;
pub mod telemetry;
pub mod types;
