//! A bound address that hands its connections to the network threads.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::worker::Workers;

/// Connections the kernel completes before we accept them.
const BACKLOG: i32 = 4096;

/// A socket that listens.
pub struct Listener {
    socket: TcpListener,
    pub address: SocketAddr,
}

/// Binds and listens. Must be called inside a tokio runtime.
pub fn bind(address: SocketAddr) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let socket = TcpListener::from_std(socket.into())?;
    let address = socket.local_addr()?;
    Ok(Listener { socket, address })
}

impl Listener {
    /// Accepts until `stop` turns true, and then what the kernel has completed
    /// by that moment: clients may have sent their requests.
    pub async fn accept_into(self, workers: Arc<Workers>, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                Some(socket) = self.accept() => workers.take(socket),
                else => {}
            }
        }
        let Ok(listener) = self.socket.into_std() else { return };
        // No more than there may be: others come all the time.
        for _ in 0..BACKLOG {
            let Ok((socket, _)) = listener.accept() else { return };
            let unblocked = socket.set_nonblocking(true);
            if let Ok(socket) = unblocked.and_then(|()| TcpStream::from_std(socket)) {
                workers.take(socket);
            }
        }
    }

    /// The next connection; `None` when accepting failed.
    pub async fn accept(&self) -> Option<TcpStream> {
        match self.socket.accept().await {
            Ok((socket, _)) => Some(socket),
            Err(error) => {
                self.after_error(&error).await;
                None
            }
        }
    }

    /// Out of file descriptors, accept fails at once for as long as it lasts:
    /// wait a little instead of spinning.
    async fn after_error(&self, error: &io::Error) {
        let peer_gone = matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
        );
        if !peer_gone {
            tracing::warn!(address = %self.address, %error, "cannot accept a connection");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Takes a socket out of one runtime, to be used in another.
pub(super) fn detach(socket: TcpStream) -> io::Result<std::net::TcpStream> {
    socket.set_nodelay(true)?;
    socket.into_std()
}
