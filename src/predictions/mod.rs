//! The prediction log: what was asked and answered, durable, ready to train on.
//!
//! A [`Recorder`] knows what of a version's tensors is written (`policy`,
//! `schema`, `redact`). The [`Log`] appends records to segments (`store`,
//! `frame`), from which the archive makes Parquet (`archive`). `layout` names
//! every file.

pub mod account;
pub mod archive;
pub mod frame;
pub mod layout;
pub mod policy;
pub mod record;
pub mod schema;
pub mod store;

pub use account::{ArchivedFile, SegmentAccount};
pub use frame::Kind;
pub use policy::{Level, OnFailure, Policy, Treatment};
pub use record::{Assignment, Form, Label, Prediction, Role, TensorRecord, Truth};
pub use schema::{Column, Schema, SchemaId, Schemas, TensorSchema};
pub use store::{Appended, Log, LogError, LogOptions, Place};
