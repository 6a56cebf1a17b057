//! The prediction log: what was asked and answered, durable, ready to train on.
//!
//! A [`Recorder`] knows what of a version's tensors is written (`policy`,
//! `schema`, `redact`). The [`Log`] appends records to segments (`store`,
//! `frame`), from which the archive makes Parquet (`archive`). `layout` names
//! every file.

mod digest;
pub mod frame;
pub mod hash;
pub mod layout;
pub mod policy;
pub mod record;
mod recorder;
mod redact;
pub mod schema;
pub mod store;

pub use frame::Kind;
pub use policy::{Level, OnFailure, Policy, Treatment};
pub use hash::Hasher;
pub use record::{Assignment, Form, Label, Prediction, Role, TensorRecord, Truth};
pub use recorder::{Recorder, encode_bare};
pub use schema::{Column, Schema, SchemaId, Schemas, TensorSchema};
pub use store::{Appended, Log, LogError, LogOptions, Place};
