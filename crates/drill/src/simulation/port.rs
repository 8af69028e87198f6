use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

/// Maximum number of connections that wait to be accepted.
const BACKLOG: u32 = 64;

/// A loopback port that stays reserved for the whole drill, also while no server listens.
///
/// While it is bound but not open, the kernel refuses connections: as on a machine without an SSH
/// server.
pub(super) struct Port {
    addr: SocketAddr,
    socket: Socket,
}

enum Socket {
    Closed(TcpSocket),
    Open(TcpListener),
    /// The kernel has not released the address yet.
    Released,
}

impl Port {
    /// Reserves a free port, closed.
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

    /// Opens the port unless it is open, and returns its listener.
    pub(super) fn open(&mut self) -> io::Result<&TcpListener> {
        let listener = match std::mem::replace(&mut self.socket, Socket::Released) {
            Socket::Open(listener) => listener,
            Socket::Closed(socket) => socket.listen(BACKLOG)?,
            Socket::Released => bound(self.addr)?.listen(BACKLOG)?,
        };
        self.socket = Socket::Open(listener);
        match &self.socket {
            Socket::Open(listener) => Ok(listener),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Closes the port: connections are refused.
    pub(super) fn close(&mut self) {
        if !matches!(self.socket, Socket::Closed(_)) {
            self.socket = Socket::Released;
            // Until the kernel releases the address it refuses as well, and `open` tries again.
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
