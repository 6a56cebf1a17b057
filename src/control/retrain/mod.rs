//! When a model is to be trained anew, and asking for it.
//!
//! - `facts`, `gather`: what is known of a model, and collecting it
//! - `alertmanager`: what Prometheus knows of all replicas
//! - `evidence`, `guard`: what speaks for training, and what forbids it
//! - `policy`, `decision`, `follow`, `budget`, `blackout`: what is decided; pure
//! - `event`, `bodies`, `signature`: what is sent
//! - `outbox`, `deliver`: sending it, at least once
//! - `lineage`, `status`: what came of it, and how that is shown
//! - `books`, `service`: what is remembered, and the loop around all of it

mod alertmanager;
mod blackout;
mod bodies;
mod books;
mod budget;
mod decision;
mod deliver;
#[cfg(test)]
mod deliver_tests;
mod event;
mod evidence;
mod facts;
mod follow;
mod gather;
mod guard;
mod lineage;
mod outbox;
mod policy;
#[cfg(test)]
mod policy_tests;
mod service;
mod signature;
#[cfg(test)]
mod simulations;
mod status;

pub use alertmanager::{MAX_BYTES as MAX_ALERT_BYTES, Taken};
pub use blackout::{Blackout, Day};
pub use bodies::Body;
pub use deliver::{CommandTarget, Courier, HttpTarget, Target, TargetError};
pub use evidence::EvidenceRule;
pub use gather::Sources;
pub use guard::GuardRule;
pub use policy::{ClearRule, Policy};
pub use service::{Retrain, RetrainError, RetrainOptions};
pub use signature::{KeyError, Signer};
pub use status::{DeliveryStatus, ModelRetrain, RequestStatus, RetrainStatus, StepStatus};
