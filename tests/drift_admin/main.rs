//! Drift of a started gateway, as the admin API, its pictures and the command
//! line show it.

#[path = "../support/mod.rs"]
mod support;

mod against;
mod api;
mod cli;
mod world;
