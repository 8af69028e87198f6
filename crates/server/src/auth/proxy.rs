//! The identity that an edge names in a header: believed only from the peers that the operator
//! listed, and those are told by the socket, never by a header.
//!
//! Some peers are never believed, whatever the list says: whoever has one of this server's own
//! addresses, and the guests. The agent lives here, and has a shell there, so it could name itself
//! any operator and approve its own commands.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use super::identity::{Identity, Via};
use breakglass_config::local_addresses::is_own as is_local;

use super::name;

/// The peer of a connection, as the socket says; the listener puts it into each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    address: SocketAddr,
    own: bool,
}

impl Peer {
    /// The other end of a connection that was accepted at `local`. Looks now whether its address is
    /// one of this machine's own: addresses come and go, and the agent can't change them.
    #[must_use]
    pub fn accepted(address: SocketAddr, local: Option<SocketAddr>) -> Peer {
        let own = is_local(address, local);
        Peer { address, own }
    }

    /// The address; an IPv4 one that arrived at an IPv6 socket is IPv4.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        self.address.ip().to_canonical()
    }

    /// Whether its address is one of this machine's own, or of this pod's, which the agent may have too.
    #[must_use]
    pub const fn is_own(self) -> bool {
        self.own
    }

    /// What wrong tokens are counted by. All own addresses are one: who has one has as many as it likes.
    pub(super) fn counted_as(self) -> IpAddr {
        match self.own {
            true => IpAddr::V4(Ipv4Addr::LOCALHOST),
            false => self.ip(),
        }
    }

    #[cfg(test)]
    pub(crate) const fn elsewhere(address: SocketAddr) -> Peer {
        let own = false;
        Peer { address, own }
    }
}

/// Whom to believe, and about which header.
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

    /// The identity in the header: `None` if it is not there, or comes from a peer that is not listed.
    ///
    /// # Errors
    /// Why the header of a listed peer does not count, as a sentence.
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
        let refused = |why: &str| format!("The header {} does not count: {why}.", self.header);
        if let Some(why) = self.distrust(peer) {
            return Err(refused(&why));
        }
        if values.next().is_some() {
            return Err(refused("it is there twice"));
        }
        let named = name::decode(value.as_bytes());
        let named = named.and_then(|name| Identity::new(&name, Via::Proxy));
        named.map(Some).map_err(refused)
    }

    /// Why a listed peer may not name anybody.
    fn distrust(&self, peer: Peer) -> Option<String> {
        let ip = peer.ip();
        if peer.own {
            return Some(format!(
                "it comes from {ip}, which is one of this server's own addresses, and the agent has \
                 those too; give the proxy an address of its own"
            ));
        }
        self.guests.contains(&ip).then(|| {
            format!(
                "it comes from {ip}, which is a guest's address, and the agent has a shell there"
            )
        })
    }

    /// Whether a listed peer says that the browser spoke TLS to it. It asks for stricter answers, so
    /// anyone on this machine may say it too.
    pub(super) fn says_https(&self, peer: Option<Peer>, headers: &HeaderMap) -> bool {
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
    fn a_peer_is_its_address_however_it_was_accepted() {
        let proxies = proxies(&["10.42.0.0/16"]);
        let believed = |peer: &str| {
            let peer = Peer::elsewhere(peer.parse().unwrap());
            matches!(proxies.identify(Some(peer), &named()), Ok(Some(_)))
        };
        assert!(believed("10.42.3.4:5"));
        assert!(believed("[::ffff:10.42.3.4]:5"));
        assert!(!believed("10.43.0.1:5"));
        assert!(!believed("[::a2a:304]:5"));
        assert!(matches!(proxies.identify(None, &named()), Ok(None)));
    }

    #[test]
    fn a_listed_address_that_is_the_servers_own_names_nobody_and_the_answer_says_why() {
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
    fn a_guest_names_nobody_even_where_its_network_is_listed() {
        let proxies = proxies(&["10.42.0.0/16"]);
        for guest in ["10.42.9.9:5", "[::ffff:10.42.9.9]:5"] {
            let peer = Peer::elsewhere(guest.parse().unwrap());
            let why = proxies.identify(Some(peer), &named()).unwrap_err();
            assert!(why.contains("a guest's address"), "{why}");
        }
    }
}
