//! The protocol's wire forms: pure functions between bytes and requests.

pub mod pb;
