//! Authentication: who sent a request, and whether it comes from our own page.
//!
//! [`Auth::admit`] looks for a proof of identity in this order:
//!
//! 1. the user header, if the peer is a trusted proxy. If that header is refused, the other proofs
//!    still count;
//! 2. the `Authorization` header. If present, it must be `Bearer` with the API token;
//! 3. the session cookie.
//!
//! Without a proof the response is 401, with the reason if a header was refused. A request that
//! changes something must also come from our own page ([`origin`]). All decisions depend only on the
//! arguments, so tests can check them as a table.

mod backoff;
mod codes;
mod identity;
mod name;
mod origin;
mod proxy;
mod session;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};

pub use identity::{Identity, Via};
pub use proxy::Peer;
pub use session::{COOKIE, LIFETIME_S};

use crate::problem::Problem;
use backoff::{Backoff, RecentRefusals};
use breakglass_config::{ApiToken, AuthConfig};
use codes::Codes;
use proxy::Proxies;
use session::Sessions;

/// Identifies the sender of a request. Cheap to clone.
#[derive(Clone)]
pub struct Auth {
    inner: Arc<Inner>,
}

struct Inner {
    proxies: Proxies,
    token: Option<ApiToken>,
    token_identity: String,
    allowed_hosts: Vec<String>,
    secure_cookie: bool,
    sessions: Sessions,
    codes: Codes,
    backoff: Backoff,
    refusals: RecentRefusals,
}

/// The reason why authentication can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// No key for cookies or code for a link can be generated.
    #[error("the system has no random numbers ({0}); see that /dev/urandom works")]
    NoRandomness(#[from] getrandom::Error),
}

/// The parts of a request that authentication needs.
#[derive(Debug, Clone, Copy)]
pub struct Request<'r> {
    /// The other end of the connection. An unknown peer is not trusted.
    pub peer: Option<Peer>,
    /// The method.
    pub method: &'r Method,
    /// The request target.
    pub uri: &'r Uri,
    /// The headers.
    pub headers: &'r HeaderMap,
}

impl<'r> From<&'r Parts> for Request<'r> {
    /// Takes the peer from the extension that the listener adds.
    fn from(parts: &'r Parts) -> Request<'r> {
        Request {
            peer: parts.extensions.get().copied(),
            method: &parts.method,
            uri: &parts.uri,
            headers: &parts.headers,
        }
    }
}

impl Auth {
    /// `guests` are addresses that are never trusted as a proxy. Without a token the key for session
    /// cookies is random, so sessions end with this process.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn new(
        config: &AuthConfig,
        allowed_hosts: &[String],
        guests: &[IpAddr],
    ) -> Result<Auth, AuthError> {
        let session_key = match &config.token {
            Some(token) => token.session_key(),
            None => random()?,
        };
        let inner = Inner {
            proxies: Proxies::new(&config.trusted_proxies, guests, &config.user_header),
            token: config.token.clone(),
            token_identity: config.token_identity.clone(),
            allowed_hosts: allowed_hosts.to_vec(),
            secure_cookie: config.secure_cookie,
            sessions: Sessions::new(session_key),
            codes: Codes::default(),
            backoff: Backoff::default(),
            refusals: RecentRefusals::default(),
        };
        Ok(Auth {
            inner: Arc::new(inner),
        })
    }

    /// Checks that the request is meant for this server.
    ///
    /// # Errors
    /// 421 otherwise.
    pub fn check_host(&self, request: Request<'_>) -> Result<(), Problem> {
        self.host(request).map(drop)
    }

    fn host(&self, request: Request<'_>) -> Result<origin::Authority, Problem> {
        origin::check_host(request.headers, request.uri, &self.inner.allowed_hosts)
            .map_err(Problem::misdirected)
    }

    /// Identifies the sender, and checks that a request that changes something comes from our page.
    ///
    /// # Errors
    /// 401 without a valid proof, 429 after too many wrong tokens, 403 for a request from another
    /// site, 421 for a request to another host.
    pub fn admit(&self, request: Request<'_>) -> Result<Identity, Problem> {
        let identity = self.identify(request)?;
        self.check_origin(request, Some(identity.via()))?;
        Ok(identity)
    }

    fn check_origin(&self, request: Request<'_>, via: Option<Via>) -> Result<(), Problem> {
        let host = self.host(request)?;
        let https = self.inner.proxies.is_https(request.peer, request.headers);
        origin::check_origin(request.method, request.headers, &host, https, via)
            .map_err(Problem::cross_site)
    }

    fn identify(&self, request: Request<'_>) -> Result<Identity, Problem> {
        let by_proxy = self.inner.proxies.identify(request.peer, request.headers);
        let header_refusal = match by_proxy {
            Ok(Some(identity)) => return Ok(identity),
            Ok(None) => None,
            Err(reason) => Some(reason),
        };
        self.identify_client(request)
            .map_err(|problem| match header_refusal {
                // For a client that sent a token, the reason why that was refused is more useful.
                Some(reason) if !request.headers.contains_key(header::AUTHORIZATION) => {
                    self.refused(request.peer, &reason)
                }
                _ => problem,
            })
    }

    /// Identifies the client by its token or its session cookie.
    fn identify_client(&self, request: Request<'_>) -> Result<Identity, Problem> {
        let refused = |reason| self.refused(request.peer, reason);
        if request.headers.contains_key(header::AUTHORIZATION) {
            let token = bearer(request.headers).map_err(refused)?;
            return self.token_holder(token, Via::Token, request.peer);
        }
        let cookie = session_cookie(request.headers).map_err(refused)?;
        cookie
            .and_then(|cookie| self.inner.sessions.identify(cookie, unix_now()))
            .ok_or_else(Problem::unauthorized)
    }

    fn token_holder(&self, token: &str, via: Via, peer: Option<Peer>) -> Result<Identity, Problem> {
        let peer = peer.map(Peer::backoff_key);
        let known = self.inner.token.as_ref();
        if known.is_some_and(|known| known.matches(token)) {
            self.inner.backoff.succeeded(peer);
            return Identity::new(&self.inner.token_identity, via)
                .map_err(|_| Problem::unauthorized());
        }
        Err(self.wrong_token(peer))
    }

    fn wrong_token(&self, peer: Option<IpAddr>) -> Problem {
        let failed = self.inner.backoff.failed(peer, Instant::now());
        if failed.is_log_due {
            let peer = display(peer);
            let before = failed.unlogged;
            tracing::warn!(%peer, before, "wrong token; further ones from this peer are only counted");
        }
        failed
            .retry_after
            .map_or_else(Problem::wrong_token, Problem::too_many_wrong_tokens)
    }

    /// The response to a malformed or unaccepted proof. Logs the reason at most once per minute.
    fn refused(&self, peer: Option<Peer>, reason: &str) -> Problem {
        let peer = display(peer.map(Peer::ip));
        let refusal = format!("{peer} {reason}");
        if self.inner.refusals.is_log_due(&refusal, Instant::now()) {
            tracing::warn!(%peer, reason, "the proof of identity was refused");
        }
        Problem::refused_proof(reason)
    }

    /// Signs in with the API token or a one-time code. Returns the identity and the session cookie to
    /// set.
    ///
    /// # Errors
    /// As [`Auth::admit`]; 503 if the system has no random numbers.
    pub fn sign_in(
        &self,
        request: Request<'_>,
        secret: &str,
    ) -> Result<(Identity, HeaderValue), Problem> {
        self.check_origin(request, None)?;
        let identity = match self.inner.codes.redeem(secret, Instant::now()) {
            Some(identity) => identity,
            None => self.token_holder(secret, Via::Session, request.peer)?,
        };
        let id = random().map_err(|_| Problem::unavailable("The system has no random numbers."))?;
        let value = self
            .inner
            .sessions
            .issue(&identity, unix_now(), &hex(&id[..16]));
        Ok((identity, self.set_cookie(request, &value, LIFETIME_S)?))
    }

    /// Revokes the session of the request's cookie. Returns the header that clears the cookie.
    ///
    /// # Errors
    /// Never in practice: the cookie is plain ASCII.
    pub fn sign_out(&self, request: Request<'_>) -> Result<HeaderValue, Problem> {
        if let Ok(Some(cookie)) = session_cookie(request.headers) {
            self.inner.sessions.revoke(cookie, unix_now());
        }
        self.set_cookie(request, "", 0)
    }

    fn set_cookie(
        &self,
        request: Request<'_>,
        value: &str,
        max_age: u64,
    ) -> Result<HeaderValue, Problem> {
        let https = self.inner.proxies.is_https(request.peer, request.headers);
        let secure = if https || self.inner.secure_cookie {
            "; Secure"
        } else {
            ""
        };
        let cookie = format!(
            "{COOKIE}={value}; HttpOnly; SameSite=Strict; Path=/; Max-Age={max_age}{secure}"
        );
        HeaderValue::try_from(cookie)
            .map_err(|_| Problem::unavailable("The cookie is not a valid header."))
    }

    /// Creates a code (256 random bits, hexadecimal) for one sign-in as `identity` within 15 minutes.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn one_time_code(&self, identity: &str) -> Result<String, AuthError> {
        let code = hex(&random()?);
        self.inner.codes.add(&code, identity, Instant::now());
        Ok(code)
    }

    #[cfg(test)]
    pub(crate) fn forget_failures(&self) {
        self.inner
            .backoff
            .succeeded(Some(IpAddr::from([127, 0, 0, 1])));
        self.inner
            .backoff
            .succeeded(Some(IpAddr::from([127, 0, 0, 2])));
    }

    #[cfg(test)]
    pub(crate) fn cookie_issued_at(&self, name: &str, issued: u64, id: &str) -> String {
        let identity = Identity::new(name, Via::Session).unwrap();
        self.inner.sessions.issue(&identity, issued, id)
    }
}

fn display(peer: Option<IpAddr>) -> String {
    peer.map_or_else(|| "unknown".to_owned(), |ip| ip.to_string())
}

fn bearer(headers: &HeaderMap) -> Result<&str, &'static str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or("There is no Authorization header.")?;
    if values.next().is_some() {
        return Err("There are two Authorization headers.");
    }
    let value = value
        .to_str()
        .map_err(|_| "The Authorization header is not ASCII.")?;
    let (scheme, token) = value
        .split_once(' ')
        .ok_or("The Authorization header has no token.")?;
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok(token)
    } else {
        Err("The Authorization header is not Bearer.")
    }
}

/// The session cookie. Two of them are refused: a sibling domain may have planted one.
fn session_cookie(headers: &HeaderMap) -> Result<Option<&str>, &'static str> {
    let values = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut ours = values
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='));
    let first = ours.next();
    if ours.next().is_some() {
        Err("There are two session cookies; sign out and sign in again.")
    } else {
        Ok(first)
    }
}

fn random() -> Result<[u8; 32], getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
