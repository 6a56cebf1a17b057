//! Registries that are away, pushes that stay half done, disks that are full:
//! serving goes on, and all is well again by itself afterwards.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use modelgate::types::{DType, Stage};

use crate::support::http;
use crate::support::onnx_builder::constant;
use crate::support::zoo::floats;
use crate::world::{
    Asker, World, ask, list_again, model, poke, status, telling, until, version, wait_until_serves,
};

/// A model of about `mebibytes`.
fn heavy(number: u64, mebibytes: usize) -> Vec<u8> {
    let count = mebibytes << 18;
    let weights = constant("weights", DType::Fp32, &[count as i64], floats(&vec![1.0; count]));
    telling(number).constant(weights).model()
}

#[test]
fn a_registry_that_is_away_at_the_start_leaves_the_cache_to_serve() {
    let world = World::new();
    drop(world.launch().start());
    fs::rename(world.registry(), world.elsewhere()).expect("moved away");
    let gateway = world.launch().start();
    assert_eq!(ask(gateway.http), Ok(1), "from the cache");
    let asker = Asker::start(&gateway);
    let registry = until("it is told that the registry is away", || {
        let registry = status(&gateway).registries.remove(0);
        registry.error.is_some().then_some(registry)
    });
    assert!(registry.stale, "{registry:#?}");
    until("readiness tells it too", || {
        let reply = http::get(gateway.ops, "/readyz");
        assert_eq!(reply.status, 200, "ready all the same");
        reply.text().contains("stale").then_some(())
    });
    fs::rename(world.elsewhere(), world.registry()).expect("back again");
    world.push(2, &telling(2).model());
    wait_until_serves(&gateway, 2);
    asker.finish();
    assert!(!status(&gateway).registries[0].stale);
}

fn away_while_running(for_so_long: Duration) {
    let world = World::new();
    let gateway = world.launch().start();
    let asker = Asker::start(&gateway);
    fs::rename(world.registry(), world.elsewhere()).expect("moved away");
    let end = Instant::now() + for_so_long;
    until("it is told", || status(&gateway).registries[0].error.clone());
    while Instant::now() < end {
        let model = model(&gateway);
        assert_eq!(model.default.map(|version| version.get()), Some(1), "nothing is retired");
        thread::sleep(Duration::from_millis(100));
    }
    fs::rename(world.elsewhere(), world.registry()).expect("back again");
    world.push(2, &telling(2).model());
    wait_until_serves(&gateway, 2);
    asker.finish();
    until("it is told that all is well", || {
        status(&gateway).registries[0].error.is_none().then_some(())
    });
}

#[test]
fn a_registry_that_goes_away_retires_nothing() {
    away_while_running(Duration::from_secs(3));
}

#[test]
#[ignore = "takes a minute"]
fn a_registry_that_is_away_for_a_minute_retires_nothing() {
    away_while_running(Duration::from_secs(60));
}

#[test]
fn a_registry_that_is_empty_for_a_moment_retires_nothing() {
    let world = World::new();
    let gateway = world.launch().start();
    let asker = Asker::start(&gateway);
    fs::rename(world.registry(), world.elsewhere()).expect("moved away");
    fs::create_dir(world.registry()).expect("an empty folder");
    for _ in 0..20 {
        poke(&gateway);
        assert_eq!(ask(gateway.http), Ok(1));
        thread::sleep(Duration::from_millis(50));
    }
    fs::remove_dir(world.registry()).expect("still empty");
    fs::rename(world.elsewhere(), world.registry()).expect("back again");
    world.push(2, &telling(2).model());
    wait_until_serves(&gateway, 2);
    asker.finish();
}

#[test]
fn a_push_that_stays_half_done_is_not_touched_until_it_is_whole() {
    let world = World::new();
    let gateway = world.launch().start();
    let asker = Asker::start(&gateway);
    let bytes = heavy(2, 1);
    let folder = world.registry().join("m").join("2");
    fs::create_dir(&folder).expect("a folder");
    let mut file = fs::File::create(folder.join("model.onnx")).expect("a file");
    file.write_all(&bytes[..bytes.len() / 2]).expect("a half");
    for _ in 0..3 {
        list_again(&gateway);
        let status = status(&gateway);
        assert_eq!(status.registries[0].unfinished.len(), 1, "{:#?}", status.registries);
        assert!(version(&gateway, 2).is_none(), "nothing is fetched of it");
    }
    file.write_all(&bytes[bytes.len() / 2..]).expect("the rest");
    drop(file);
    wait_until_serves(&gateway, 2);
    asker.finish();
}

/// A file system of a certain size, until it is dropped.
struct Disk<'a>(&'a Path);

impl Disk<'_> {
    fn new(at: &Path, mebibytes: u32) -> Disk<'_> {
        fs::create_dir_all(at).expect("a folder");
        let size = format!("size={mebibytes}m");
        mount(&["-t", "tmpfs", "-o", &size, "tmpfs"], at);
        Disk(at)
    }

    fn grow(&self, mebibytes: u32) {
        mount(&["-o", &format!("remount,size={mebibytes}m")], self.0);
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

fn mount(options: &[&str], at: &Path) {
    let mounted = Command::new("mount").args(options).arg(at).status().expect("mount(8)");
    assert!(mounted.success(), "this test mounts a file system: run it as root");
}

#[test]
#[ignore = "mounts a file system, as root"]
fn a_full_disk_delays_a_version_and_nothing_else() {
    let world = World::new();
    let data = world.data();
    let disk = Disk::new(&data, 8);
    // The prediction log would reserve the space that is made for the version.
    let gateway = world.launch().config("predictions: {defaults: {level: off}}").start();
    let asker = Asker::start(&gateway);
    world.push(2, &heavy(2, 16));
    let waiting = until("it is told that there is no room", || {
        let version = version(&gateway, 2)?;
        version.reason.is_some().then_some(version)
    });
    assert_eq!(waiting.stage, Stage::Fetching, "{waiting:#?}");
    let reason = waiting.reason.expect("seen above");
    assert!(reason.contains("no space"), "{reason}");
    assert_eq!(ask(gateway.http), Ok(1));
    disk.grow(64);
    wait_until_serves(&gateway, 2);
    asker.finish();
    drop(gateway);
}
