//! The admin API, the command line as its client, and the protocol's repository
//! extension, in front of a scripted lifecycle.

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/fake_gateway.rs"]
#[allow(dead_code, reason = "requests are not sent here")]
mod fake_gateway;

mod api;
mod cli;
mod cli_routes;
mod extension;
mod refusals;
mod routes;
mod scripted;
