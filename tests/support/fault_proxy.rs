//! A TCP proxy that does to answers what bad networks do.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What becomes of the bytes of each connection's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// So many bytes every so often.
    Slow(usize, Duration),
    /// The connection is cut after so many.
    Break(usize),
    /// Nothing more comes after so many.
    Stall(usize),
}

pub struct FaultProxy {
    pub address: SocketAddr,
    fault: Arc<Mutex<Fault>>,
    requests: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

impl FaultProxy {
    pub fn to(server: SocketAddr) -> FaultProxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let proxy = FaultProxy {
            address: listener.local_addr().expect("an address"),
            fault: Arc::new(Mutex::new(Fault::None)),
            requests: Arc::default(),
            connections: Arc::default(),
        };
        let (fault, requests) = (Arc::clone(&proxy.fault), Arc::clone(&proxy.requests));
        let connections = Arc::clone(&proxy.connections);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                connections.fetch_add(1, Ordering::SeqCst);
                let Ok(server) = TcpStream::connect(server) else { continue };
                let (fault, requests) = (Arc::clone(&fault), Arc::clone(&requests));
                let back =
                    (server.try_clone().expect("a socket"), client.try_clone().expect("one"));
                std::thread::spawn(move || forward(client, server, &requests));
                std::thread::spawn(move || answer(back.0, back.1, &fault));
            }
        });
        proxy
    }

    /// From now on, and for connections that are open.
    pub fn set(&self, fault: Fault) {
        *self.fault.lock().expect("no panic") = fault;
    }

    /// Requests that came, since the last call.
    pub fn take_requests(&self) -> usize {
        self.requests.swap(0, Ordering::SeqCst)
    }

    pub fn take_connections(&self) -> usize {
        self.connections.swap(0, Ordering::SeqCst)
    }
}

fn forward(mut client: TcpStream, mut server: TcpStream, requests: &AtomicUsize) {
    let mut buffer = [0; 64 * 1024];
    while let Ok(read @ 1..) = client.read(&mut buffer) {
        let bytes = &buffer[..read];
        if [b"GET ".as_slice(), b"PUT ", b"HEAD ", b"POST "].iter().any(|m| bytes.starts_with(m)) {
            requests.fetch_add(1, Ordering::SeqCst);
        }
        if server.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
}

fn answer(mut server: TcpStream, mut client: TcpStream, fault: &Mutex<Fault>) {
    let mut buffer = [0; 16 * 1024];
    let mut sent = 0;
    loop {
        let fault = *fault.lock().expect("no panic");
        let most = match fault {
            Fault::None => buffer.len(),
            Fault::Slow(bytes, pause) => {
                std::thread::sleep(pause);
                bytes.min(buffer.len())
            }
            Fault::Break(after) if sent >= after => break,
            Fault::Stall(after) if sent >= after => {
                std::thread::sleep(Duration::from_millis(10));
                continue;
            }
            Fault::Break(after) | Fault::Stall(after) => (after - sent).min(buffer.len()),
        };
        match server.read(&mut buffer[..most]) {
            Ok(read @ 1..) if client.write_all(&buffer[..read]).is_ok() => sent += read,
            _ => break,
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}
