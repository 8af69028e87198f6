//! The identity in a trusted proxy's header. A proxy is recognised by the address of its connection,
//! never by a header.
//!
//! Two kinds of peers are never trusted, even if listed: this server's own addresses and the guests.
//! The agent can connect from both, so it could claim to be an operator and approve its own commands.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use super::identity::{Identity, Via};
use breakglass_config::local_addresses::is_own as is_local;

use super::name;

/// The peer address of a connection. The listener adds it to each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    address: SocketAddr,
    local: bool,
}

impl Peer {
    /// The other end of a connection that was accepted at `listener`. Checks for each connection
    /// whether the address belongs to this machine, because addresses change.
    #[must_use]
    pub fn accepted(address: SocketAddr, listener: Option<SocketAddr>) -> Peer {
        let local = is_local(address, listener);
        Peer { address, local }
    }

    /// The address. An IPv4-mapped IPv6 address is returned as IPv4.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        self.address.ip().to_canonical()
    }

    /// Whether the address belongs to this machine or pod. The agent may have such an address too.
    #[must_use]
    pub const fn is_local(self) -> bool {
        self.local
    }

    /// The address under which wrong tokens are counted. All local addresses count as one, because a
    /// local process can use many of them.
    pub(super) fn backoff_key(self) -> IpAddr {
        if self.local {
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        } else {
            self.ip()
        }
    }

    #[cfg(test)]
    pub(crate) const fn remote(address: SocketAddr) -> Peer {
        let local = false;
        Peer { address, local }
    }
}

/// The trusted proxies, and the header in which they send the identity.
#[derive(Debug, Clone)]
pub(super) struct Proxies {
    networks: Vec<IpNet>,
    guests: Vec<IpAddr>,
    header: HeaderName,
}

impl Proxies {
    pub(super) fn new(networks: &[IpNet], guests: &[IpAddr], header: &HeaderName) -> Proxies {
        Proxies {
            networks: networks.to_vec(),
            guests: guests.iter().map(IpAddr::to_canonical).collect(),
            header: header.clone(),
        }
    }

    fn is_listed(&self, peer: Peer) -> bool {
        let ip = peer.ip();
        self.networks.iter().any(|network| network.contains(&ip))
    }

    /// The identity in the header; `None` without the header, or if the peer is not listed.
    ///
    /// # Errors
    /// The reason why the header of a listed peer is refused, as a sentence.
    pub(super) fn identify(
        &self,
        peer: Option<Peer>,
        headers: &HeaderMap,
    ) -> Result<Option<Identity>, String> {
        let Some(peer) = peer.filter(|peer| self.is_listed(*peer)) else {
            return Ok(None);
        };
        let mut values = headers.get_all(&self.header).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        let refused = |reason: &str| format!("The header {} was refused: {reason}.", self.header);
        if let Some(reason) = self.distrust_reason(peer) {
            return Err(refused(&reason));
        }
        if values.next().is_some() {
            return Err(refused("it was sent twice"));
        }
        let named = name::decode(value.as_bytes());
        let named = named.and_then(|name| Identity::new(&name, Via::Proxy));
        named.map(Some).map_err(refused)
    }

    /// The reason why a listed peer is not trusted.
    fn distrust_reason(&self, peer: Peer) -> Option<String> {
        let ip = peer.ip();
        if peer.local {
            return Some(format!(
                "it comes from {ip}, which is one of this server's own addresses, and the agent can \
                 use those too; give the proxy another address"
            ));
        }
        self.guests.contains(&ip).then(|| {
            format!(
                "it comes from {ip}, which is a guest's address, and the agent can run commands there"
            )
        })
    }

    /// Whether a listed peer reports that the browser connected with TLS. That only makes checks
    /// stricter, so local peers are accepted here.
    pub(super) fn is_https(&self, peer: Option<Peer>, headers: &HeaderMap) -> bool {
        let proto = headers
            .get("x-forwarded-proto")
            .and_then(|value| value.to_str().ok());
        peer.is_some_and(|peer| self.is_listed(peer))
            && proto.is_some_and(|proto| proto.eq_ignore_ascii_case("https"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(networks: &[&str]) -> Proxies {
        let networks: Vec<IpNet> = networks.iter().map(|net| net.parse().unwrap()).collect();
        let guests = ["10.42.9.9".parse().unwrap()];
        Proxies::new(&networks, &guests, &HeaderName::from_static("x-user"))
    }

    fn named() -> HeaderMap {
        let name = HeaderName::from_static("x-user");
        HeaderMap::from_iter([(name, "ann".parse().unwrap())])
    }

    #[test]
    fn ipv4_mapped_peers_match_ipv4_networks() {
        let proxies = proxies(&["10.42.0.0/16"]);
        let believed = |peer: &str| {
            let peer = Peer::remote(peer.parse().unwrap());
            matches!(proxies.identify(Some(peer), &named()), Ok(Some(_)))
        };
        assert!(believed("10.42.3.4:5"));
        assert!(believed("[::ffff:10.42.3.4]:5"));
        assert!(!believed("10.43.0.1:5"));
        assert!(!believed("[::a2a:304]:5"));
        assert!(matches!(proxies.identify(None, &named()), Ok(None)));
    }

    #[test]
    fn listed_local_addresses_are_refused_with_the_reason() {
        let proxies = proxies(&["127.0.0.0/8", "::1/128", "10.0.0.0/8"]);
        let local = "10.42.3.4:8080".parse().unwrap();
        for peer in [
            "127.0.0.1:5",
            "127.9.9.9:5",
            "[::ffff:127.0.0.1]:5",
            "[::1]:5",
            "10.42.3.4:5",
            "[::ffff:10.42.3.4]:5",
        ] {
            let peer = Peer::accepted(peer.parse().unwrap(), Some(local));
            let why = proxies.identify(Some(peer), &named()).unwrap_err();
            assert!(why.contains("own addresses"), "{why}");
        }
    }

    #[test]
    fn guests_are_refused_even_if_their_network_is_listed() {
        let proxies = proxies(&["10.42.0.0/16"]);
        for guest in ["10.42.9.9:5", "[::ffff:10.42.9.9]:5"] {
            let peer = Peer::remote(guest.parse().unwrap());
            let why = proxies.identify(Some(peer), &named()).unwrap_err();
            assert!(why.contains("a guest's address"), "{why}");
        }
    }
}
