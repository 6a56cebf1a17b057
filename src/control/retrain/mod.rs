//! When a model is to be trained anew, and asking for it.

mod blackout;
mod bodies;
mod budget;
mod decision;
mod event;
mod evidence;
mod facts;
mod follow;
mod guard;
mod outbox;
mod policy;
#[cfg(test)]
mod policy_tests;
mod signature;
#[cfg(test)]
mod simulations;
