use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 64;

/// A loopback port that is ours for the whole run, whether somebody listens on it or not.
///
/// Bound but not listening, the kernel refuses whoever dials it: exactly what a machine does that
/// is there but has no SSH server yet.
pub(super) struct Port {
    addr: SocketAddr,
    socket: Socket,
}

enum Socket {
    Closed(TcpSocket),
    Open(TcpListener),
    /// The kernel did not let us have it back yet.
    Lost,
}

impl Port {
    /// A free port, closed.
    pub(super) fn bind() -> io::Result<Port> {
        let socket = bound((Ipv4Addr::LOCALHOST, 0).into())?;
        Ok(Port {
            addr: socket.local_addr()?,
            socket: Socket::Closed(socket),
        })
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Opens the port, if it is not open, and gives its listener.
    pub(super) fn open(&mut self) -> io::Result<&TcpListener> {
        let listener = match std::mem::replace(&mut self.socket, Socket::Lost) {
            Socket::Open(listener) => listener,
            Socket::Closed(socket) => socket.listen(BACKLOG)?,
            Socket::Lost => bound(self.addr)?.listen(BACKLOG)?,
        };
        self.socket = Socket::Open(listener);
        match &self.socket {
            Socket::Open(listener) => Ok(listener),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Closes the port: from now on it refuses.
    pub(super) fn close(&mut self) {
        if !matches!(self.socket, Socket::Closed(_)) {
            self.socket = Socket::Lost;
            // If the kernel keeps it for a moment, it refuses all the same, and `open` tries again.
            if let Ok(socket) = bound(self.addr) {
                self.socket = Socket::Closed(socket);
            }
        }
    }
}

fn bound(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}
