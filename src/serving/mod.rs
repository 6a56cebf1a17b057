//! Loaded versions and where their runs take place.
//!
//! A cheap run happens on the network thread that read the request, together
//! with whatever else that turn of the event loop decoded for the same model
//! ([`turn`]). A dear run goes to the version's own threads (`lane`).
//! Measured cost (`cost`) decides.

pub mod batching;
mod catalog;
mod champions;
mod cost;
mod execute;
mod job;
mod lane;
mod options;
mod queue;
mod route;
mod servable;
pub mod turn;

pub use catalog::{Catalog, KnownVersion, ModelEntry, Named, Snapshot};
pub use job::{Done, Timings, Wanted, Work};
pub use lane::lanes_at_work;
pub use options::{Execution, ExecutionOptions};
pub use route::{Mirrored, ServedRoute, Target};
pub use servable::{Loaded, Running, Servable};
