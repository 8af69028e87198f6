//! Whether an address belongs to this machine. All interfaces count, including loopback, as they are at this
//! moment in this process's network namespace. In a pod these are the addresses that all its containers share.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};

use nix::ifaddrs::{InterfaceAddress, getifaddrs};

/// Whether a connection from `peer` may come from this machine. `local` is the address at which it was
/// accepted; if that is unknown, the answer is yes.
#[must_use]
pub fn is_own(peer: SocketAddr, local: Option<SocketAddr>) -> bool {
    let ip = peer.ip().to_canonical();
    let local = local.map(|local| local.ip().to_canonical());
    ip.is_loopback()
        || ip.is_unspecified()
        || local.is_none_or(|local| local == ip)
        || can_bind(ip, scope(peer))
        || addresses().is_ok_and(|all| all.contains(&ip))
}

/// The addresses of all interfaces.
///
/// # Errors
/// Those of the system.
pub fn addresses() -> io::Result<Vec<IpAddr>> {
    Ok(getifaddrs()?.filter_map(|one| address(&one)).collect())
}

fn address(interface: &InterfaceAddress) -> Option<IpAddr> {
    let address = interface.address.as_ref()?;
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| Some(IpAddr::V6(address.as_sockaddr_in6()?.ip())))
}

/// Whether a program on this machine could send from `ip`. If that cannot be determined, the answer is yes.
fn can_bind(ip: IpAddr, scope: u32) -> bool {
    let mut from = SocketAddr::new(ip, 0);
    if let SocketAddr::V6(from) = &mut from {
        from.set_scope_id(scope);
    }
    match UdpSocket::bind(from) {
        Err(error) => error.kind() != ErrorKind::AddrNotAvailable,
        // With ip_nonlocal_bind, every address can be bound. For IPv4, only an address of this machine then
        // has a route; connecting a UDP socket sends nothing.
        Ok(socket) if ip.is_ipv4() => socket.connect((ip, 9)).is_ok(),
        Ok(_) => addresses().map_or(true, |all| all.contains(&ip)),
    }
}

/// The interface of a link-local IPv6 address; 0 for other addresses.
const fn scope(address: SocketAddr) -> u32 {
    match address {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(address) => address.scope_id(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(peer: &str) -> bool {
        let local = "203.0.113.1:8080".parse().unwrap();
        is_own(peer.parse().unwrap(), Some(local))
    }

    #[test]
    fn loopback_and_the_accepting_address_are_own_in_every_form() {
        for peer in [
            "127.0.0.1:1",
            "127.255.255.254:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
            "0.0.0.0:1",
            "[::]:1",
            "203.0.113.1:1",
            "[::ffff:203.0.113.1]:1",
        ] {
            assert!(own(peer), "{peer}");
        }
    }

    #[test]
    fn addresses_of_others_are_not_own() {
        for peer in [
            "203.0.113.2:1",
            "[::ffff:198.51.100.7]:1",
            "[2001:db8::7]:1",
            "[fe80::ffff:7%1]:1",
        ] {
            assert!(!own(peer), "{peer}");
        }
    }

    #[test]
    fn peer_of_a_connection_without_known_local_address_is_own() {
        assert!(is_own("198.51.100.7:1".parse().unwrap(), None));
    }
}
