//! Changes routes and versions all the while.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{MODEL, ROUTE};
use crate::Result;
use crate::models::telling;
use crate::probe::Probe;
use crate::server::Server;

const PACE: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(60);
/// A version is pushed with every so manieth change.
const PUSH_EVERY: u64 = 5;
/// Versions that stay in the folder: the champion, the two that the candidate changes between, and
/// the one that is on its way.
const KEPT: u64 = 5;

/// What the champion is; it stays, so that its answers are known.
const CHAMPION: u64 = 1;

pub struct Churn {
    folder: PathBuf,
    pushed: u64,
    ticks: u64,
}

impl Churn {
    /// A folder with the first versions.
    pub fn new(folder: PathBuf) -> Result<Churn> {
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("model.yaml"), "versions: {latest: 2}\nkeep_previous: 2\n")?;
        let mut churn = Churn { folder, pushed: 0, ticks: 0 };
        for _ in 0..3 {
            churn.push()?;
        }
        Ok(churn)
    }

    /// Puts the route of a run into force.
    pub fn begin(&mut self, gateway: &Server, percent: u32) -> Result<()> {
        self.wait_ready(gateway, self.pushed)?;
        apply(gateway, &[route(ROUTE, percent, self.pushed, None)])?;
        let begun = Instant::now();
        while !is_route_ready(gateway)? {
            if begun.elapsed() > PATIENCE {
                return Err("the route does not become ready".into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Changes something every 100 ms until it is `over`: what the candidate stands for, rules,
    /// another route, and the versions that there are.
    pub fn run(
        &mut self,
        gateway: &Server,
        percent: u32,
        over: &AtomicBool,
        changed: &AtomicU64,
    ) -> Result<()> {
        let mut due = Instant::now();
        let mut ready = self.pushed;
        while !over.load(Ordering::Relaxed) {
            self.ticks += 1;
            if self.ticks.is_multiple_of(PUSH_EVERY) && ready == self.pushed {
                self.push()?;
            }
            if ready < self.pushed && self.is_ready(gateway, self.pushed)? {
                ready = self.pushed;
            }
            let version = ready - self.ticks % 2;
            let tenant = format!("tenant-{}", self.ticks);
            let other = route("other", 50, version, Some(&tenant));
            apply(gateway, &[route(ROUTE, percent, version, Some(&tenant)), other])?;
            if self.ticks.is_multiple_of(3) {
                post(gateway, "/admin/v1/routes/other/delete", &json!({}))?;
            }
            changed.fetch_add(1, Ordering::Relaxed);
            due += PACE;
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        self.wait_ready(gateway, self.pushed)
    }

    fn push(&mut self) -> Result<()> {
        let version = self.pushed + 1;
        let staged = self.folder.join(format!(".{version}.staged"));
        fs::create_dir_all(&staged)?;
        fs::write(staged.join("model.onnx"), telling(version))?;
        fs::rename(&staged, self.folder.join(version.to_string()))?;
        self.pushed = version;
        if let Some(old) = version.checked_sub(KEPT).filter(|old| *old > CHAMPION) {
            let gone = self.folder.join(format!(".{old}.gone"));
            fs::rename(self.folder.join(old.to_string()), &gone)?;
            fs::remove_dir_all(gone)?;
        }
        Ok(())
    }

    fn is_ready(&self, gateway: &Server, version: u64) -> Result<bool> {
        let admin = gateway.admin.ok_or("the gateway has no admin address")?;
        let answer = Probe::connect(admin)?.get(&format!("/admin/v1/models/{MODEL}"))?;
        let shown: Value = serde_json::from_slice(&answer.body)?;
        let versions = shown["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(versions.iter().any(|one| one["version"] == version && one["stage"] == "ready"))
    }

    fn wait_ready(&self, gateway: &Server, version: u64) -> Result<()> {
        let begun = Instant::now();
        while !self.is_ready(gateway, version)? {
            if begun.elapsed() > PATIENCE {
                return Err(format!("version {version} does not become ready").into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

fn is_route_ready(gateway: &Server) -> Result<bool> {
    let admin = gateway.admin.ok_or("the gateway has no admin address")?;
    let answer = Probe::connect(admin)?.get(&format!("/admin/v1/routes/{ROUTE}"))?;
    let shown: Value = serde_json::from_slice(&answer.body)?;
    let variants = shown["variants"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(!variants.is_empty() && variants.iter().all(|one| one["state"] == "ready"))
}

fn route(name: &str, percent: u32, version: u64, tenant: Option<&str>) -> Value {
    let rules: Vec<Value> = tenant
        .map(|tenant| {
            let headers = json!([{"name": "x-tenant", "exact": tenant}]);
            json!({"variant": "candidate", "headers": headers})
        })
        .into_iter()
        .collect();
    json!({
        "apiVersion": "modelgate.dev/v1",
        "kind": "Route",
        "metadata": {"name": name},
        "spec": {
            "model": MODEL,
            "variants": [
                {"name": "champion", "version": CHAMPION},
                {"name": "candidate", "version": version, "weight": percent},
            ],
            "match": rules,
            "stickiness": {"key": [{"header": "x-user-id"}]},
        },
    })
}

fn apply(gateway: &Server, routes: &[Value]) -> Result<()> {
    post(gateway, "/admin/v1/routes", &json!({ "routes": routes, "actor": "floor" }))
}

fn post(gateway: &Server, path: &str, body: &Value) -> Result<()> {
    let admin = gateway.admin.ok_or("the gateway has no admin address")?;
    let json = [("content-type", "application/json".to_owned())];
    let answer = Probe::connect(admin)?.post(path, &json, body.to_string().as_bytes())?;
    match answer.status {
        200 => Ok(()),
        status => Err(format!("{path}: {status} {}", String::from_utf8_lossy(&answer.body)).into()),
    }
}
