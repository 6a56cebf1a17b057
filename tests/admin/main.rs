//! The admin API, the command line as its client, and the protocol's repository
//! extension, in front of a scripted lifecycle.

#[path = "../support/mod.rs"]
mod support;

mod api;
mod cli;
mod extension;
mod refusals;
mod scripted;
