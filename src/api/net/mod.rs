//! Sockets: listeners, network threads, connections and their time limits.

mod connection;
mod io;
mod listener;
pub mod spin;
mod timeouts;
mod worker;

pub use connection::{ActiveRequest, Connection};
pub use listener::{Listener, bind};
pub use timeouts::TimeLimits;
pub use worker::{Pool, Workers};
