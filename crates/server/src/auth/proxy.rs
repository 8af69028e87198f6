//! The identity that an edge names in a header: believed only from the peers that the operator
//! listed, and those are told by the socket, never by a header.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use super::identity::{Identity, Via};

/// The peer of a connection, as the socket says; the listener puts it into each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

impl Peer {
    /// The address; an IPv4 one that arrived at an IPv6 socket is IPv4.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        self.0.ip().to_canonical()
    }
}

/// Whom to believe, and about which header.
#[derive(Debug, Clone)]
pub(super) struct Proxies {
    networks: Vec<IpNet>,
    header: HeaderName,
}

impl Proxies {
    pub(super) fn new(networks: &[IpNet], header: &HeaderName) -> Proxies {
        Proxies {
            networks: networks.to_vec(),
            header: header.clone(),
        }
    }

    pub(super) fn trusts(&self, peer: Option<Peer>) -> bool {
        peer.is_some_and(|peer| {
            self.networks
                .iter()
                .any(|network| network.contains(&peer.ip()))
        })
    }

    /// The identity in the header: `None` if the header does not count or is not there.
    ///
    /// # Errors
    /// From a trusted peer, a header that does not name exactly one person. Nothing else in the
    /// request makes up for it: a proxy that says something odd may be passing on an attack.
    pub(super) fn identify(
        &self,
        peer: Option<Peer>,
        headers: &HeaderMap,
    ) -> Result<Option<Identity>, String> {
        if !self.trusts(peer) {
            return Ok(None);
        }
        let mut values = headers.get_all(&self.header).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(format!("{} is there twice", self.header));
        }
        let name = value
            .to_str()
            .map_err(|_| format!("{} is not ASCII", self.header))?;
        match Identity::new(name, Via::Proxy) {
            Ok(identity) => Ok(Some(identity)),
            Err(problem) => Err(format!("{}: {problem}", self.header)),
        }
    }

    /// Whether a trusted peer says that the browser spoke TLS to it.
    pub(super) fn says_https(&self, peer: Option<Peer>, headers: &HeaderMap) -> bool {
        let proto = headers
            .get("x-forwarded-proto")
            .and_then(|value| value.to_str().ok());
        self.trusts(peer) && proto.is_some_and(|proto| proto.eq_ignore_ascii_case("https"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_its_address_however_it_was_accepted() {
        let header = HeaderName::from_static("x-user");
        let proxies = Proxies::new(&["10.42.0.0/16".parse().unwrap()], &header);
        let trusts = |peer: &str| proxies.trusts(Some(Peer(peer.parse().unwrap())));
        assert!(trusts("10.42.3.4:5"));
        assert!(trusts("[::ffff:10.42.3.4]:5"));
        assert!(!trusts("10.43.0.1:5"));
        assert!(!trusts("[::a2a:304]:5"));
        assert!(!proxies.trusts(None));
    }
}
