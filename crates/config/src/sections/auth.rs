//! `[auth]`: who may sign in.

use std::net::IpAddr;

use axum::http::HeaderName;
use ipnet::IpNet;

use crate::identity::check_identity;
use crate::reader::SectionReader;
use crate::token::ApiToken;
use crate::types::AuthConfig;

/// Reads `[auth]`. Returns `None` if no one could sign in, after reporting that.
pub(super) fn auth(section: &mut SectionReader<'_>) -> Option<AuthConfig> {
    let trusted_proxies = section
        .list(
            "trusted_proxies",
            "write addresses as in \"10.42.3.7\", or networks as in \"10.42.3.0/28\"",
            network,
        )
        .unwrap_or_default();
    let is_loopback = |network: &&IpNet| network.addr().is_loopback();
    for network in trusted_proxies.iter().filter(is_loopback) {
        let problem = format!(
            "{network} is this machine, which the agent can use too: user headers from there are ignored"
        );
        section.warn("trusted_proxies", problem, LOOPBACK_REMEDY);
    }
    let remedy = "write a header's name, as in \"x-authentik-username\"";
    let user_header = section
        .parsed("user_header", remedy, |text| {
            HeaderName::try_from(text.to_ascii_lowercase())
                .map_err(|_| format!("{text:?} is not a header name"))
        })
        .unwrap_or(HeaderName::from_static("x-authentik-username"));
    let remedy = "make one with: openssl rand -hex 32";
    let has_token_file = section.has("token_file");
    let token = section.file("token_file").and_then(|found| {
        let (path, text) = &found.value;
        section.note_secret(path, &found.origin, &found.key);
        ApiToken::new(text.trim_end_matches(['\r', '\n']))
            .map_err(|weak| {
                let problem = format!("{}: {weak}", path.display());
                section
                    .problems()
                    .error(&found.origin, &found.key, problem, remedy);
            })
            .ok()
    });
    let token_identity = section
        .parsed(
            "token_identity",
            "write a name of up to 128 printable characters",
            |text| {
                check_identity(text)
                    .map(|()| text.to_owned())
                    .map_err(str::to_owned)
            },
        )
        .unwrap_or_else(|| "operator".to_owned());
    let secure_cookie = section.boolean("secure_cookie", false);
    if trusted_proxies.is_empty() && token.is_none() && !has_token_file {
        let remedy = "set token_file (openssl rand -hex 32 > FILE), or trusted_proxies if a proxy \
                      signs people in";
        section.error(
            "token_file",
            "nobody could sign in: neither token_file nor trusted_proxies is set",
            remedy,
        );
        return None;
    }
    Some(AuthConfig {
        trusted_proxies,
        user_header,
        token,
        token_identity,
        secure_cookie,
    })
}

const LOOPBACK_REMEDY: &str = "give the proxy an address of its own (a container, a network namespace), or remove \
                               this entry and sign in with the API token";

fn network(text: &str) -> Result<IpNet, String> {
    let network = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    match network {
        Ok(network) if network.prefix_len() == 0 => {
            Err(format!("{text:?} would trust the user header of everyone"))
        }
        Ok(network) => Ok(network.trunc()),
        Err(_) => Err(format!("{text:?} is not a network")),
    }
}
