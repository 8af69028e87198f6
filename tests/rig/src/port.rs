//! Ports for servers that cannot choose one themselves, or must return on the same one.

use std::fs::{self, File, TryLockError};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range of ports that the system assigns itself: no process gets one of these by chance
/// while its owner is down.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// An unused loopback port that no other test takes while this process lives.
///
/// # Panics
/// When all are taken, or the file that reserves one can't be made.
#[must_use]
pub fn own() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let spread = std::process::id().wrapping_mul(97) % u32::from(COUNT);
    let spread = u16::try_from(spread).unwrap();
    (0..COUNT)
        .map(|_| NEXT.fetch_add(1, Ordering::Relaxed))
        .map(|next| FIRST + (spread + next % COUNT) % COUNT)
        .find(|&port| held(port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        .expect("a free port")
}

/// A loopback address with a port from [`own`].
#[must_use]
pub fn own_address() -> String {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, own()).to_string()
}

/// Whether this process reserves `port` now, by a file lock that ends with the process.
fn held(port: u16) -> bool {
    let user = rustix::process::geteuid().as_raw();
    let directory = std::env::temp_dir().join(format!("breakglass-ports-{user}"));
    fs::create_dir_all(&directory).unwrap();
    let file = File::create(directory.join(port.to_string())).unwrap();
    match file.try_lock() {
        Ok(()) => {
            std::mem::forget(file);
            true
        }
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(error)) => panic!("port {port} can't be held: {error}"),
    }
}
