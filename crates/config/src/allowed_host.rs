//! A host and port to which the egress proxy allows connections.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;

/// Host and port of the API of the CLI's vendor.
const VENDOR_API: (&str, u16) = ("api.anthropic.com", 443);

/// Hosts at which the vendor's CLI renews its own sign-in.
const SIGN_IN_HOSTS: [&str; 2] = ["console.anthropic.com", "platform.claude.com"];

/// One host and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AllowedHost {
    /// A name in lower case, or an address; an IPv6 address has no brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl AllowedHost {
    /// The API of the CLI's vendor, used unless another is configured.
    pub fn vendor() -> AllowedHost {
        AllowedHost {
            host: VENDOR_API.0.to_owned(),
            port: VENDOR_API.1,
        }
    }

    /// The hosts at which the vendor's CLI renews its own sign-in.
    pub fn sign_in() -> impl Iterator<Item = AllowedHost> {
        SIGN_IN_HOSTS.into_iter().map(|host| AllowedHost {
            host: host.to_owned(),
            port: 443,
        })
    }

    /// The host of an `http://` or `https://` address; `None` if it has no host.
    pub fn of_url(url: &str) -> Option<AllowedHost> {
        AllowedHost::of(&url.parse().ok()?)
    }

    /// The host of a request: `CONNECT host:port`, or a full address. `None` for anything else, and if the
    /// address contains a user name.
    pub fn of(uri: &Uri) -> Option<AllowedHost> {
        let authority = uri.authority()?;
        if authority.as_str().contains('@') {
            return None;
        }
        let default_port = match uri.scheme_str() {
            Some("http") => Some(80),
            Some("https") => Some(443),
            _ => None,
        };
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None => default_port?,
        };
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        (!host.is_empty()).then(|| AllowedHost {
            host: host.to_ascii_lowercase(),
            port,
        })
    }
}

impl FromStr for AllowedHost {
    type Err = String;

    /// Reads `host:port`.
    fn from_str(text: &str) -> Result<AllowedHost, String> {
        let uri = text.parse().ok();
        let found = uri.filter(|uri: &Uri| uri.scheme().is_none() && uri.path().is_empty());
        found
            .and_then(|uri| AllowedHost::of(&uri))
            .ok_or_else(|| format!("{text:?} is not a host and port"))
    }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_is_read_from_a_request_or_an_address() {
        for (text, expected) in [
            ("api.anthropic.com:443", Some("api.anthropic.com:443")),
            ("API.Anthropic.COM:443", Some("api.anthropic.com:443")),
            ("http://10.0.0.1:8000/v1", Some("10.0.0.1:8000")),
            ("http://model.local/v1", Some("model.local:80")),
            ("https://model.local/v1", Some("model.local:443")),
            ("[::1]:443", Some("[::1]:443")),
            ("api.anthropic.com", None),
            ("user@api.anthropic.com:443", None),
            ("/v1/messages", None),
            ("http://user:word@host/", None),
            (":443", None),
        ] {
            let read = text.parse().ok().and_then(|uri| AllowedHost::of(&uri));
            let read = read.map(|destination| destination.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn configured_host_is_a_host_and_a_port_and_nothing_else() {
        for text in ["proxy.local:8080", "[fd00::1]:443", "10.0.0.1:1"] {
            assert_eq!(text.parse::<AllowedHost>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "host",
            "https://host:443",
            "host:443/path",
            "a b:1",
            "host:70000",
        ] {
            assert!(text.parse::<AllowedHost>().is_err(), "{text}");
        }
    }
}
