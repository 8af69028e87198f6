//! Where the agent's proxy lets connections through: a closed list of hosts and ports.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;

/// The API of the CLI's vendor.
const VENDOR: (&str, u16) = ("api.anthropic.com", 443);

/// Where the vendor's CLI renews the sign-in of a person.
const SIGN_IN: [&str; 2] = ["console.anthropic.com", "platform.claude.com"];

/// One host and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AllowedHost {
    /// A name in lower case, or an address; an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl AllowedHost {
    /// The vendor's own, where no other is configured.
    pub fn vendor() -> AllowedHost {
        AllowedHost {
            host: VENDOR.0.to_owned(),
            port: VENDOR.1,
        }
    }

    /// Where the vendor's CLI renews the sign-in of a person.
    pub fn sign_in() -> impl Iterator<Item = AllowedHost> {
        SIGN_IN.into_iter().map(|host| AllowedHost {
            host: host.to_owned(),
            port: 443,
        })
    }

    /// That of an `http://` or `https://` address; none where it has no host.
    pub fn of_url(url: &str) -> Option<AllowedHost> {
        AllowedHost::of(&url.parse().ok()?)
    }

    /// That of a request: `CONNECT host:port`, or a whole address. None where it is neither, or has a
    /// user name in it.
    pub fn of(uri: &Uri) -> Option<AllowedHost> {
        let authority = uri.authority()?;
        if authority.as_str().contains('@') {
            return None;
        }
        let usual = match uri.scheme_str() {
            Some("http") => Some(80),
            Some("https") => Some(443),
            _ => None,
        };
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None => usual?,
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
            .ok_or_else(|| format!("{text:?} is no host and port"))
    }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_read_from_a_request_or_an_address() {
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
    fn a_configured_destination_is_a_host_and_a_port_and_nothing_else() {
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
