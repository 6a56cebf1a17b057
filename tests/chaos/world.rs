//! A registry, a data folder, and a model whose answers tell which version gave them.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use modelgate::control::{ModelStatus, Status, VersionStatus};
use modelgate::registry::Manifest;
use modelgate::types::DType;
use tempfile::TempDir;

use crate::support::gateway::{Gateway, Launch};
use crate::support::http::{Connection, Request};
use crate::support::onnx_builder::{Graph, constant, graph, node, tensor};
use crate::support::predict::{Predict, tensor as input};
use crate::support::versions::manifest;
use crate::support::zoo::floats;

pub const MODEL: &str = "m";

/// Far beyond what anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

const F32: i32 = 1;

/// `y = x + version`.
pub fn telling(version: u64) -> Graph {
    graph()
        .input("x", tensor(F32, &["1"]))
        .output("y", tensor(F32, &["1"]))
        .constant(constant("version", DType::Fp32, &[1], floats(&[version as f32])))
        .node(node("Add", &["x", "version"], &["y"]))
}

/// What outlives a gateway.
pub struct World {
    folder: TempDir,
}

impl World {
    /// With version 1 of the model.
    pub fn new() -> World {
        let world = World { folder: tempfile::tempdir().expect("a folder") };
        fs::create_dir_all(world.registry().join(MODEL)).expect("a folder");
        world.push(1, &telling(1).model());
        world
    }

    pub fn registry(&self) -> PathBuf {
        self.folder.path().join("registry")
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Where the registry is while it is away.
    pub fn elsewhere(&self) -> PathBuf {
        self.folder.path().join("elsewhere")
    }

    pub fn launch(&self) -> Launch {
        Launch::new().models(&self.registry()).data(&self.data())
    }

    /// Pushes a whole version, as `modelgate push` does: staged, then renamed.
    pub fn push(&self, version: u64, model: &[u8]) {
        self.push_with(version, &[("model.onnx", model)], |manifest| {
            manifest.to_json().expect("a sound manifest")
        });
    }

    /// Pushes files and what `write` makes of their manifest.
    pub fn push_with(
        &self,
        version: u64,
        files: &[(&str, &[u8])],
        write: impl FnOnce(Manifest) -> String,
    ) {
        let model = self.registry().join(MODEL);
        let staged = model.join(format!(".{version}.staged"));
        fs::create_dir_all(&staged).expect("a folder");
        for (name, content) in files {
            fs::write(staged.join(name), content).expect("a file");
        }
        let text = write(manifest(&staged));
        fs::write(staged.join("manifest.json"), text).expect("a file");
        fs::rename(&staged, model.join(version.to_string())).expect("a free number");
    }

    /// Leftovers of the cache: what is unfinished, or neither an entry nor a folder of staging.
    pub fn cache_leftovers(&self) -> Vec<PathBuf> {
        let mut left = Vec::new();
        for entry in fs::read_dir(self.data().join("cache")).expect("a cache").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == ".staging" {
                let own: Vec<_> = fs::read_dir(entry.path()).expect("a folder").flatten().collect();
                // The running gateway's own folder, which is to be empty.
                for folder in &own {
                    let inside = fs::read_dir(folder.path()).expect("a folder").flatten();
                    left.extend(inside.map(|inside| inside.path()));
                }
                left.extend(own.iter().skip(1).map(|folder| folder.path()));
            } else if name.len() != 64 || !entry.path().join("model.onnx").is_file() {
                left.push(entry.path());
            }
        }
        left
    }
}

/// Looks until there is something to see.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "it never came: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[track_caller]
pub fn status(gateway: &Gateway) -> Status {
    let reply = to_admin(Request::get("/admin/v1/models")).send(gateway.admin);
    assert_eq!(reply.status, 200, "{}", reply.text());
    serde_json::from_slice(&reply.body).expect("a status")
}

#[track_caller]
pub fn model(gateway: &Gateway) -> ModelStatus {
    let models = status(gateway).models;
    models.into_iter().find(|model| model.name.as_str() == MODEL).expect("the model is known")
}

/// The newest entry of a version, where there is one.
#[track_caller]
pub fn version(gateway: &Gateway, number: u64) -> Option<VersionStatus> {
    let models = status(gateway).models;
    let model = models.into_iter().find(|model| model.name.as_str() == MODEL)?;
    model.versions.into_iter().find(|version| version.version.get() == number)
}

#[track_caller]
pub fn wait_until_serves(gateway: &Gateway, number: u64) {
    until(&format!("version {number} serves"), || (ask(gateway.http) == Ok(number)).then_some(()));
}

/// Lists the registry once more, from beginning to end.
#[track_caller]
pub fn list_again(gateway: &Gateway) {
    let synced = |gateway| status(gateway).registries[0].synced_at;
    let before = synced(gateway);
    poke(gateway);
    until("another listing", || (synced(gateway) > before).then_some(()));
}

/// Asks for a listing of the registry.
#[track_caller]
pub fn poke(gateway: &Gateway) {
    let poke = Request::post("/admin/v1/registry/events", "{}");
    let poke = to_admin(poke).header("content-type", "application/json");
    assert_eq!(poke.send(gateway.admin).status, 202);
}

/// The admin API answers only who calls it by a name of this machine.
fn to_admin(request: Request) -> Request {
    request.header("host", "127.0.0.1")
}

fn question() -> Request {
    Predict::of(MODEL, [input("x", DType::Fp32, &[1], floats(&[0.5]))]).json_request()
}

/// Asks the model over a connection of its own: the version that answered.
pub fn ask(gateway: SocketAddr) -> Result<u64, String> {
    ask_over(&mut Connection::open(gateway))
}

fn ask_over(connection: &mut Connection) -> Result<u64, String> {
    connection.write(&question().bytes()).map_err(|error| error.to_string())?;
    let reply = connection.try_reply().map_err(|error| error.to_string())?;
    if reply.status != 200 {
        return Err(format!("{}: {}", reply.status, reply.text()));
    }
    let named = reply.header("x-model-version").and_then(|text| text.parse().ok());
    let told = reply.json()["outputs"][0]["data"][0].as_f64().map(|y| y.floor() as u64);
    match (named, told) {
        (Some(named), Some(told)) if named == told => Ok(named),
        _ => Err(format!("a mixed answer: {named:?} named, {told:?} told")),
    }
}

/// Somebody who asks all the time and takes note of what goes wrong.
pub struct Asker {
    stop: Arc<AtomicBool>,
    asking: JoinHandle<Result<u64, String>>,
}

impl Asker {
    pub fn start(gateway: &Gateway) -> Asker {
        let stop = Arc::new(AtomicBool::new(false));
        let (address, stopped) = (gateway.http, Arc::clone(&stop));
        let asking = thread::spawn(move || {
            let mut connection = Connection::open(address);
            let mut answers = 0;
            while !stopped.load(Ordering::Relaxed) {
                ask_over(&mut connection)?;
                answers += 1;
                thread::sleep(Duration::from_millis(2));
            }
            Ok(answers)
        });
        Asker { stop, asking }
    }

    /// Asserts that every answer was right.
    #[track_caller]
    pub fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        let answers = self.asking.join().expect("no panic").expect("every answer is right");
        assert!(answers > 0, "nobody asked");
    }
}
