//! A real S3 server process, shared by the tests of one program.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use modelgate::registry::{Bucket, S3Options, Secret};

use super::gateway::Watchdog;

/// Ends with the test program.
pub struct Moto {
    pub address: SocketAddr,
    _child: Child,
    _watchdog: Watchdog,
}

pub fn server() -> &'static Moto {
    static SERVER: OnceLock<Moto> = OnceLock::new();
    SERVER.get_or_init(Moto::start)
}

impl Moto {
    fn start() -> Moto {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let program = root.join(".cache/moto/bin/moto_server");
        assert!(program.exists(), "{} is missing: make setup-tests", program.display());
        let mut child = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("moto starts");
        let watchdog = Watchdog::over(&child);
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            line.split_once("Running on http://")?.1.split_whitespace().next()?.parse().ok()
        });
        // It logs every request.
        std::thread::spawn(move || lines.for_each(drop));
        Moto { address: address.expect("moto listens"), _child: child, _watchdog: watchdog }
    }

    /// A new bucket, and how it is reached.
    pub fn bucket(&self) -> S3Options {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let bucket = format!("bucket-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let reply = request(self.address, &format!("PUT /{bucket}"), b"");
        assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
        S3Options {
            bucket,
            prefix: "team/models".to_owned(),
            region: Some("us-east-1".to_owned()),
            endpoint: Some(format!("http://{}", self.address)),
            allow_http: true,
            access_key_id: Some("test".to_owned()),
            secret_access_key: Some(Secret::new("hush-hush")),
            session_token: None,
        }
    }

    /// Writes an object by hand, below the bucket's prefix.
    pub fn put(&self, to: &S3Options, key: &str, bytes: &[u8]) {
        let path = format!("PUT /{}/{}/{key}", to.bucket, to.prefix);
        let reply = request(self.address, &path, bytes);
        assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    }

    pub fn delete(&self, from: &S3Options, key: &str) {
        request(self.address, &format!("DELETE /{}/{}/{key}", from.bucket, from.prefix), b"");
    }
}

/// The same bucket at another address.
pub fn at(options: &S3Options, address: SocketAddr) -> Bucket {
    let endpoint = Some(format!("http://{address}"));
    Bucket::s3(&S3Options { endpoint, ..options.clone() }).expect("a client")
}

fn request(address: SocketAddr, line: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("moto listens");
    let length = body.len();
    let head = format!(
        "{line} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {length}\r\nconnection: close\r\n\
         authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("sent");
    stream.write_all(body).expect("sent");
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).expect("an answer");
    String::from_utf8_lossy(&reply).into_owned()
}
