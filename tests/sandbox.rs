//! What the sandbox of a probe forbids, tried from inside. A program of its own with a
//! single test: it never gets out again.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;

use modelgate::engine::{Confinement, enter_sandbox};

/// Set in the process that is to be confined.
const INSIDE: &str = "MODELGATE_TEST_INSIDE";

#[test]
fn a_confined_process_reaches_nothing_but_its_folder() {
    if std::env::var_os(INSIDE).is_some() {
        return confined();
    }
    // A process whose output is a pipe: inside, no file may grow, not even a log of the tests.
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "a_confined_process_reaches_nothing_but_its_folder", "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("this program runs");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{output:?}");
}

fn confined() {
    let outside = tempfile::tempdir().expect("a folder");
    let secret = outside.path().join("secret");
    fs::write(&secret, "a secret").expect("a file");
    let folder = tempfile::tempdir().expect("a folder");
    let own = folder.path().join("model.onnx");
    fs::write(&own, "a model").expect("a file");
    std::os::unix::fs::symlink(&secret, folder.path().join("link")).expect("a link");
    let server = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = server.local_addr().expect("an address");
    let _unix = UnixListener::bind(outside.path().join("socket")).expect("a listener");

    let lacks_landlock = fs::read_to_string("/sys/kernel/security/lsm")
        .is_ok_and(|modules| !modules.contains("landlock"));

    let in_force = enter_sandbox(&Confinement {
        folder: folder.path(),
        cpu_ms: 60_000,
        mapped_bytes: 4 << 30,
    })
    .expect("a sandbox");

    let refused = |what: &str, error: Option<std::io::Error>| {
        let error = error.unwrap_or_else(|| panic!("{what} is possible; in force: {in_force:?}"));
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{what}: {error}");
    };
    assert_eq!(fs::read_to_string(&own).expect("its own file"), "a model");
    assert_eq!(std::thread::spawn(|| 7).join().expect("threads are allowed"), 7);
    // Without Landlock files stay readable, which the report says.
    if !lacks_landlock {
        refused("reading a file outside", File::open(&secret).err());
        refused("following a link", File::open(folder.path().join("link")).err());
        refused("listing a folder", fs::read_dir("/etc").err());
        refused("reading its own process", File::open("/proc/self/environ").err());
    }
    let write = OpenOptions::new().write(true).open(&own).err();
    refused("writing to the model", write);
    refused("making a file", File::create(folder.path().join("new")).err());
    refused("removing the model", fs::remove_file(&own).err());
    refused("renaming it", fs::rename(&own, folder.path().join("other")).err());
    refused("connecting", TcpStream::connect(address).err());
    refused("listening", TcpListener::bind("127.0.0.1:0").err());
    refused("sending", UdpSocket::bind("127.0.0.1:0").err());
    refused("a socket", UnixStream::connect(outside.path().join("socket")).err());
    refused("a pair of sockets", UnixStream::pair().err());
    refused("a program", Command::new("/bin/true").spawn().err());
    let other = rustix::process::getppid().expect("a parent");
    let kill = rustix::process::kill_process(other, rustix::process::Signal::TERM);
    refused("a signal", kill.err().map(Into::into));
    let nice = rustix::process::setpriority_process(None, 0);
    refused("another priority", nice.err().map(Into::into));
    let unlimited = rustix::process::Rlimit { current: None, maximum: None };
    let raised = rustix::process::setrlimit(rustix::process::Resource::As, unlimited);
    refused("a higher limit", raised.err().map(Into::into));
    let folders = rustix::process::chroot("/");
    refused("another root", folders.err().map(Into::into));
    // Beyond the limit of address space.
    let mut much: Vec<u8> = Vec::new();
    assert!(much.try_reserve_exact(16 << 30).is_err());
}
