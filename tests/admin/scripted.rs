//! The admin API in this process, before a lifecycle that answers as told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use modelgate::api::{net, serve_admin};
use modelgate::control::{
    Asked, AuditEntry, Command, Control, ControlError, Hold, ModelStatus, ProbeStatus,
    RegistryStatus, Status, VersionStatus,
};
use modelgate::types::{
    DType, Digest, Dim, ModelName, RejectKind, Rejection, Signature, Stage, TensorSpec, Version,
};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

/// 2026-11-21 12:00:00Z.
pub const NOON: u64 = 1_795_262_400_000;

pub struct Admin {
    pub address: SocketAddr,
    control: Control,
    asked: Arc<Mutex<Vec<String>>>,
    stop: watch::Sender<bool>,
    server: tokio::task::JoinHandle<()>,
    // Ends what runs in it, so it goes last.
    runtime: tokio::runtime::Runtime,
}

/// Who answers commands.
pub enum Lifecycle {
    Answers,
    /// It takes none, and its queue fills up.
    Sleeps(mpsc::Receiver<Command>),
    /// It has ended.
    Gone,
}

impl Admin {
    pub fn start() -> Admin {
        Admin::with(status(), |commands| {
            drop(commands);
            Lifecycle::Answers
        })
    }

    /// An API whose commands nobody answers.
    pub fn unanswered() -> (Admin, mpsc::Receiver<Command>) {
        let (control, commands) = Control::scripted(status());
        (Admin::before(control), commands)
    }

    pub fn of(status: Status) -> Admin {
        let (control, mut commands) = Control::scripted(status);
        let admin = Admin::before(control);
        let asked = Arc::clone(&admin.asked);
        admin.runtime.spawn(async move {
            while let Some(command) = commands.recv().await {
                answer(command, &asked);
            }
        });
        admin
    }
}
