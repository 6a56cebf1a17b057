//! The prediction log: what was asked and answered, durable, ready to train on.
//!
//! A [`Recorder`] knows what of a version's tensors is written (`policy`,
//! `schema`, `redact`). The [`Log`] appends records to segments (`store`,
//! `frame`), from which the archive makes Parquet (`archive`). `layout` names
//! every file.

pub mod account;
pub mod archive;
mod deferred;
mod digest;
pub mod features;
pub mod frame;
pub mod hash;
pub mod layout;
pub mod policy;
pub mod record;
mod recorder;
mod recording;
mod redact;
pub mod schema;
pub mod store;

pub use account::{ArchivedFile, SegmentAccount};
pub use deferred::{Deferred, Encoded};
pub use frame::Kind;
pub use hash::Hasher;
pub use policy::{Level, OnFailure, Policy, Treatment};
pub use record::{Assignment, Form, Head, Label, Prediction, Role, TensorRecord, Trace, Truth};
pub use recorder::{Recorder, encode_bare};
pub use recording::Recording;
pub use schema::{Column, Schema, SchemaId, Schemas, TensorSchema};
pub use store::{Appended, Encode, Log, LogError, LogOptions, NotKept, Place};
