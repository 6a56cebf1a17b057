//! Pushes versions into a registry folder, so that no reader sees half of one.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::MODELS;
use crate::Result;
use crate::models::telling;
use crate::probe::Probe;
use crate::server::Server;

const PACE: Duration = Duration::from_secs(1);
/// A swap that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at the gateway's status.
const LOOK: Duration = Duration::from_millis(20);
/// Versions that stay in the folder.
const KEPT: u64 = 3;

pub struct Pusher {
    folder: PathBuf,
    pushed: u64,
    due: Instant,
}

impl Pusher {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, pushed: 0, due: Instant::now() }
    }

    /// Pushes the next version, and takes an old one away.
    pub fn push(&mut self) -> Result<u64> {
        let version = self.pushed + 1;
        let staged = self.folder.join(format!(".{version}.staged"));
        fs::create_dir_all(&staged)?;
        let model = telling(version);
        let sha256: String =
            Sha256::digest(&model).iter().map(|byte| format!("{byte:02x}")).collect();
        let file = json!({
            "name": "model.onnx",
            "bytes": model.len(),
            "sha256": format!("sha256:{sha256}"),
        });
        let manifest = json!({ "schema": 1, "files": [file] });
        fs::write(staged.join("model.onnx"), model)?;
        fs::write(staged.join("manifest.json"), manifest.to_string())?;
        fs::rename(&staged, self.folder.join(version.to_string()))?;
        self.pushed = version;
        if let Some(old) = version.checked_sub(KEPT).filter(|old| *old > 0) {
            let gone = self.folder.join(format!(".{old}.gone"));
            fs::rename(self.folder.join(old.to_string()), &gone)?;
            fs::remove_dir_all(gone)?;
        }
        Ok(version)
    }

    /// Pushes once a second has passed since the last push, and waits until
    /// that version answers. Returns how long it took.
    pub fn push_and_wait(&mut self, gateway: &Server) -> Result<Duration> {
        thread::sleep(self.due.saturating_duration_since(Instant::now()));
        let begun = Instant::now();
        self.due = begun + PACE;
        let version = self.push()?;
        let admin = gateway.admin.ok_or("the gateway has no admin address")?;
        let mut status = Probe::connect(admin)?;
        loop {
            let answer = status.get(&format!("/admin/v1/models/{}", MODELS[0]))?;
            let shown: Value = serde_json::from_slice(&answer.body)?;
            if shown["default"] == version {
                return Ok(begun.elapsed());
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("version {version} does not serve: {shown:#}").into());
            }
            thread::sleep(LOOK);
        }
    }
}
