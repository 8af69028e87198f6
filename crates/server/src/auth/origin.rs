//! Checks that a request is meant for this server and was sent by our own page.
//!
//! The `Host` check stops DNS rebinding: a request of a page whose name resolves to our address still
//! has that page's name in `Host`. The origin check stops cross-site request forgery: browsers send
//! the origin of a request in `Sec-Fetch-Site` and `Origin`.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, Method, Uri, header};

use super::identity::Via;

/// The host and port in a `Host` header or an origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Authority {
    host: String,
    port: Option<u16>,
}

impl Authority {
    fn parse(text: &str) -> Option<Authority> {
        let (host, port) = match text.rfind(':') {
            Some(colon) if !text[colon..].contains(']') => {
                (&text[..colon], Some(text[colon + 1..].parse().ok()?))
            }
            _ => (text, None),
        };
        let host = match host.strip_prefix('[') {
            Some(v6) => {
                let v6 = v6.strip_suffix(']')?;
                v6.parse::<std::net::Ipv6Addr>().ok()?.to_string()
            }
            None => host.to_ascii_lowercase(),
        };
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
        (!host.is_empty() && host.bytes().all(is_allowed)).then_some(Authority { host, port })
    }

    fn with_default_port(&self, port: u16) -> (&str, u16) {
        (&self.host, self.port.unwrap_or(port))
    }
}

/// The request's authority, if it is an address, `localhost` or an allowed name.
///
/// # Errors
/// The reason for the client, as a sentence.
pub(super) fn check_host(
    headers: &HeaderMap,
    uri: &Uri,
    allowed: &[String],
) -> Result<Authority, String> {
    let host = single(headers, &header::HOST)?.ok_or("the request has no Host header")?;
    let authority = Authority::parse(host).ok_or_else(|| format!("{host:?} is not a host"))?;
    let also = uri.authority().map(|also| Authority::parse(also.as_str()));
    if also.is_some_and(|also| also.as_ref() != Some(&authority)) {
        return Err("the request line and the Host header name different hosts".to_owned());
    }
    let known = authority.host == "localhost"
        || authority.host.parse::<IpAddr>().is_ok()
        || allowed.contains(&authority.host);
    if known {
        Ok(authority)
    } else {
        Err(format!(
            "{:?} is not a name of this server; if it should be, add it to allowed_hosts",
            authority.host
        ))
    }
}

/// Checks that a request that changes something comes from our own page or from a program.
///
/// `via` is the proof of identity, or `None` for a sign-in, which another site's page must not do
/// either. Browsers never add a bearer token by themselves, so a client with one may omit both
/// headers. Wrong headers are refused from every client.
///
/// # Errors
/// The reason for the client, as a sentence.
pub(super) fn check_origin(
    method: &Method,
    headers: &HeaderMap,
    host: &Authority,
    https: bool,
    via: Option<Via>,
) -> Result<(), String> {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let site = single(headers, &HeaderName::from_static("sec-fetch-site"))?;
    let origin = single(headers, &header::ORIGIN)?;
    if site.is_some_and(|site| site != "same-origin") {
        return Err("the request comes from another site".to_owned());
    }
    // The browser has compared the whole origin for Sec-Fetch-Site. A proxy on a port of its own may
    // have removed the port from Host.
    let any_port = site.is_some() && host.port.is_none();
    if let Some(origin) = origin
        && !is_same_origin(origin, host, https, any_port)
    {
        return Err(format!(
            "the request comes from {origin:?}, which is not this server"
        ));
    }
    if via.is_none_or(Via::is_ambient) && site.is_none() && origin.is_none() {
        let reason = "the request has neither Origin nor Sec-Fetch-Site, so it may come from \
                      another site; a program must send the token";
        return Err(reason.to_owned());
    }
    Ok(())
}

/// Behind a proxy that terminates TLS the scheme is unknown, so `http` and `https` both match, each
/// with its default port. If a trusted proxy reports `https`, only `https` matches. With `any_port`,
/// ports are not compared.
fn is_same_origin(origin: &str, host: &Authority, https: bool, any_port: bool) -> bool {
    let (rest, port, secure) = match (
        origin.strip_prefix("https://"),
        origin.strip_prefix("http://"),
    ) {
        (Some(rest), _) => (rest, 443, true),
        (_, Some(rest)) => (rest, 80, false),
        _ => return false,
    };
    let Some(origin) = Authority::parse(rest) else {
        return false;
    };
    let same_port = origin.with_default_port(port) == host.with_default_port(port);
    (secure || !https) && origin.host == host.host && (any_port || same_port)
}

/// The value of a header that may appear at most once.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, String> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(format!("the request has two {name} headers"));
    }
    value
        .to_str()
        .map(Some)
        .map_err(|_| format!("the header {name} is not ASCII"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(host: &str, allowed: &[&str]) -> bool {
        let headers = HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]);
        let allowed: Vec<String> = allowed.iter().map(|&name| name.to_owned()).collect();
        check_host(&headers, &Uri::from_static("/"), &allowed).is_ok()
    }

    #[test]
    fn addresses_and_localhost_are_accepted_and_names_only_if_listed() {
        for host in [
            "127.0.0.1",
            "10.0.0.1:8080",
            "[::1]:80",
            "[2001:db8::1]",
            "localhost:1",
        ] {
            assert!(hosts(host, &[]), "{host}");
        }
        for host in [
            "evil.example",
            "rescue.example.org.",
            "127.0.0.1.nip.io",
            "localhost.evil",
        ] {
            assert!(!hosts(host, &["rescue.example.org"]), "{host}");
        }
        assert!(hosts("Rescue.Example.org:8080", &["rescue.example.org"]));
    }

    #[test]
    fn malformed_hosts_are_refused() {
        for host in [
            "",
            ":80",
            "a b",
            "user@127.0.0.1",
            "127.0.0.1:x",
            "[::1",
            "[evil]",
            "::1",
        ] {
            assert!(
                !hosts(host, &["evil", "a b", ""]) || host == "::1",
                "{host:?}"
            );
        }
    }

    #[test]
    fn origin_matches_by_host_port_and_known_scheme() {
        let plain = Authority::parse("box:8080").unwrap();
        let bare = Authority::parse("box").unwrap();
        let same = |origin, host, https| is_same_origin(origin, host, https, false);
        assert!(same("http://box:8080", &plain, false));
        assert!(!same("http://box", &plain, false));
        assert!(!same("http://box.evil:8080", &plain, false));
        assert!(same("https://BOX", &bare, false));
        assert!(same("https://box:443", &bare, true));
        assert!(!same("http://box", &bare, true));
        for origin in ["null", "", "box", "ftp://box", "http://", "http://box/path"] {
            assert!(!same(origin, &bare, false), "{origin:?}");
        }
    }

    #[test]
    fn host_without_port_matches_only_if_the_browser_reports_same_origin() {
        let ours = |host: &str, headers: &[(HeaderName, &str)]| {
            let headers = headers.iter();
            let headers = headers.map(|(name, value)| (name.clone(), value.parse().unwrap()));
            let host = Authority::parse(host).unwrap();
            let headers = HeaderMap::from_iter(headers);
            check_origin(&Method::POST, &headers, &host, true, Some(Via::Session)).is_ok()
        };
        let site = |word| (HeaderName::from_static("sec-fetch-site"), word);
        let from = |origin| (header::ORIGIN, origin);
        let (same, edge) = (site("same-origin"), from("https://box:8443"));
        assert!(ours("box", &[same.clone(), edge.clone()]));
        assert!(ours("box:8443", &[same.clone(), edge.clone()]));
        for (host, headers) in [
            ("box", &[edge.clone()][..]),
            ("box", &[site("same-site"), edge.clone()]),
            ("box", &[site("none"), edge.clone()]),
            ("box:443", &[same.clone(), edge.clone()]),
            ("box:8444", &[same.clone(), edge.clone()]),
            ("evil", &[same.clone(), edge.clone()]),
            ("box", &[same.clone(), from("https://evil:8443")]),
            ("box", &[same.clone(), from("http://box:8443")]),
            ("box", &[same.clone(), from("null")]),
        ] {
            assert!(!ours(host, headers), "{host} {headers:?}");
        }
    }
}
