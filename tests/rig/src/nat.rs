//! A router with address translation: clients behind it appear under the router's address.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

/// Forwards to one port on loopback; dropping it ends it.
#[derive(Debug)]
pub struct Nat {
    /// Its port on 127.0.0.1.
    pub port: u16,
    source: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Nat {
    /// Forwards to `port` from `source`, which must be a loopback address.
    ///
    /// # Panics
    /// When there is no port to listen on.
    #[must_use]
    pub fn new(port: u16, source: Ipv4Addr) -> Nat {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let own = listener.local_addr().unwrap().port();
        let (source, stop) = (
            Arc::new(AtomicU32::new(source.to_bits())),
            Arc::new(AtomicBool::new(false)),
        );
        let (from, ended) = (Arc::clone(&source), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for inner in listener.incoming().flatten() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let from = Ipv4Addr::from_bits(from.load(Ordering::SeqCst));
                // If the target is unreachable, close the connection.
                if let Ok(outer) = outward(from, port) {
                    join(inner, outer);
                }
            }
        });
        Nat {
            port: own,
            source,
            stop,
            thread: Some(thread),
        }
    }

    /// New connections come from another address from now on.
    pub fn renumber(&self, source: Ipv4Addr) {
        self.source.store(source.to_bits(), Ordering::SeqCst);
    }
}

impl Drop for Nat {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for the next connection.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn outward(source: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
    let address = |host, port| SocketAddr::V4(SocketAddrV4::new(host, port));
    let fd = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&fd, &address(source, 0))?;
    connect(&fd, &address(Ipv4Addr::LOCALHOST, port))?;
    Ok(TcpStream::from(fd))
}

/// Two threads, each of which ends with its connection.
fn join(inner: TcpStream, outer: TcpStream) {
    let (Ok(inner_too), Ok(outer_too)) = (inner.try_clone(), outer.try_clone()) else {
        return;
    };
    for (mut from, mut to) in [(inner, outer), (outer_too, inner_too)] {
        std::thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
}
