//! A tunnel (CONNECT) through the egress proxy: TLS, whose first message must name the host of the CONNECT request.

use std::net::IpAddr;

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::hello::{self, Hello};
use super::{AllowedHost, Error, HEAD_TIMEOUT};

/// Maximum size of the first TLS message, including the headers of its records.
const HELLO_MAX_BYTES: usize = 32 << 10;

/// A tunnel whose upstream is connected.
pub(super) struct Tunnel {
    pub to: AllowedHost,
    pub client: OnUpgrade,
    pub upstream: TcpStream,
}

impl Tunnel {
    /// Checks the first message and forwards it. Returns both connections.
    ///
    /// # Errors
    /// If it names another host, or is not TLS. A host that is an address has no name, so nothing is checked then.
    pub(super) async fn begin(self) -> Result<(TokioIo<Upgraded>, TcpStream), Error> {
        let mut upstream = self.upstream;
        let client = self.client.await;
        let mut client = TokioIo::new(client.map_err(|_| Error::NoProxyRequest)?);
        if self.to.host.parse::<IpAddr>().is_ok() {
            return Ok((client, upstream));
        }
        let first = timeout(HEAD_TIMEOUT, first_message(&mut client)).await;
        let (bytes, name) = first.map_or((vec![], None), |first| first);
        if name.as_deref() != Some(self.to.host.as_str()) {
            return Err(Error::OtherName {
                expected: self.to.host,
                found: name.unwrap_or_else(|| "no host in TLS".to_owned()),
            });
        }
        let sent = upstream.write_all(&bytes).await;
        sent.map_err(|error| Error::Unreachable(error.to_string()))?;
        Ok((client, upstream))
    }
}

/// Reads the client's first message. Returns its bytes and the host that it names, if any.
async fn first_message(client: &mut TokioIo<Upgraded>) -> (Vec<u8>, Option<String>) {
    let mut bytes = Vec::with_capacity(1 << 10);
    while bytes.len() < HELLO_MAX_BYTES {
        match client.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        match hello::read(&bytes) {
            Hello::Incomplete => {}
            Hello::Name(name) => return (bytes, name),
            Hello::Invalid => break,
        }
    }
    (bytes, None)
}
