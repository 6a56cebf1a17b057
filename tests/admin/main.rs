//! The admin API and the command line as its client, in front of a scripted
//! lifecycle.

#[path = "../support/mod.rs"]
mod support;

mod api;
mod cli;
mod refusals;
mod scripted;
