//! The command line: one file per verb; `table` reads files of rows, `when` times.

mod asking;
mod bucket;
mod client;
mod drift;
mod feedback;
mod models;
mod output;
mod predictions;
mod probe;
mod profile;
mod push;
mod retrain;
mod route;
mod serve;
mod shadow;
mod table;
mod traffic;
mod when;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Serves ONNX models over gRPC and HTTP.
#[derive(Debug, Parser)]
#[command(name = "modelgate", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Start the gateway and serve until it is told to stop
    Serve(serve::Serve),
    /// See and steer what a running gateway serves
    Models(models::Models),
    /// Try a model in a sandbox, as the gateway does before it serves it
    Probe(probe::Probe),
    /// Describe what a model was trained on, and compare other rows with it
    Profile(profile::Profile),
    /// Bring a new version of a model into a registry
    Push(push::Push),
    /// Make, see and check routes, which decide what version answers
    Route(route::Route),
    /// See and move the weights of a route's variants, and promote one of them
    Traffic(traffic::Traffic),
    /// Say which variant of a route a user or request belongs to, and why
    Bucket(bucket::Bucket),
    /// Compare the answers that mirrored requests got
    Shadow(shadow::Shadow),
    /// See how far traffic is from what models were trained on
    ///
    /// Without a model: all versions that are watched, at a glance. A feature has drifted where it is
    /// far from the reference (PSI, less what chance adds), that is no chance (p), and both last.
    /// A feature is `insufficient` where there are too few rows to tell.
    Drift(drift::Drift),
    /// See whether models are to be trained anew, why, and what came of it
    Retrain(retrain::Retrain),
    /// Send what is known by now of predictions: labels, true values or rewards
    Feedback(feedback::Feedback),
    /// See, query, export and check what the prediction log has
    Predictions(predictions::Predictions),
}

/// Exit codes that scripts rely on; clap itself uses 2 for wrong usage.
const FAILED: u8 = 1;
const USAGE: u8 = 2;
const CONFIG_INVALID: u8 = 3;
const CANNOT_REACH: u8 = 4;
const WAIT_TIMED_OUT: u8 = 5;
const REJECTED: u8 = 6;
const INCONCLUSIVE: u8 = 7;

/// Parses the command line and runs the verb; `before_serving` first, where that is to serve.
pub fn run(before_serving: fn()) -> ExitCode {
    match Arguments::parse().verb {
        Verb::Serve(serve) => {
            before_serving();
            serve.run()
        }
        Verb::Models(models) => models.run(),
        Verb::Probe(probe) => probe.run(),
        Verb::Profile(profile) => profile.run(),
        Verb::Push(push) => push.run(),
        Verb::Route(route) => route.run(),
        Verb::Traffic(traffic) => traffic.run(),
        Verb::Bucket(bucket) => bucket.run(),
        Verb::Shadow(shadow) => shadow.run(),
        Verb::Drift(drift) => drift.run(),
        Verb::Retrain(retrain) => retrain.run(),
        Verb::Feedback(feedback) => feedback.run(),
        Verb::Predictions(predictions) => predictions.run(),
    }
}
