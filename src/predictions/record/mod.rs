//! The payloads of records, and their bytes.
//!
//! A prediction is one request as one version answered it, or failed to: its
//! rows become rows of Parquet later. Encoding appends to a buffer and
//! allocates nothing else; decoding borrows nothing and believes no length.
//!
//! `prediction`, `tensor`, `label` and `trace` say what a record holds;
//! `encoding` has the bytes of a prediction, `field` those of its texts and
//! numbers. Tensors and labels keep their bytes beside them.

mod encoding;
mod field;
mod label;
mod prediction;
mod tensor;
mod trace;

pub use label::{Label, Truth};
pub use prediction::{Assignment, Head, Prediction, Role};
pub use tensor::{
    Form, Statistics, TensorRecord, begin_list, begin_rows, end_data, end_list, put_digest, put_raw,
};
pub use trace::Trace;
