//! Who is asking, and may they?
//!
//! One guard stands before everything that needs an identity. It looks for proof in this order:
//!
//! 1. the user header, if the peer is a trusted proxy; one that is refused proves nothing, and hides
//!    no other proof;
//! 2. the `Authorization` header, which must be `Bearer` with the API token, and decides where it is
//!    present, for or against;
//! 3. the session cookie.
//!
//! No proof: 401, which says why a header was refused. A request that changes something must also come from our own page
//! ([`origin`]). Every decision is made from values that are passed in, so it can be tested as
//! a table.

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

use crate::http::Problem;
use backoff::{Backoff, Lately};
use breakglass_config::{ApiToken, AuthConfig};
use codes::Codes;
use proxy::Proxies;
use session::Sessions;

/// Decides who is asking. Cheap to clone.
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
    refusals: Lately,
}

/// Why identities can't be checked.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// No key for cookies, no code for links.
    #[error("the system has no random numbers ({0}); see that /dev/urandom works")]
    NoRandomness(#[from] getrandom::Error),
}

/// What of a request tells who sent it.
#[derive(Debug, Clone, Copy)]
pub struct Request<'r> {
    /// The other end of the connection; unknown: nobody trusts it.
    pub peer: Option<Peer>,
    /// The method.
    pub method: &'r Method,
    /// The request target.
    pub uri: &'r Uri,
    /// The headers.
    pub headers: &'r HeaderMap,
}

impl<'r> From<&'r Parts> for Request<'r> {
    /// The peer is the one that the listener put there.
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
    /// Takes the checked configuration; `guests` are addresses that never are a proxy's. Without a
    /// token there are no lasting cookies: their key is then as random as this process.
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
            refusals: Lately::default(),
        };
        Ok(Auth {
            inner: Arc::new(inner),
        })
    }

    /// Whether the request is meant for this server.
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

    /// Who sent the request, and that it may change what it means to change.
    ///
    /// # Errors
    /// 401 without proof or with a wrong one, 429 after too many wrong ones, 403 for another
    /// site's request, 421 for another host's.
    pub fn admit(&self, request: Request<'_>) -> Result<Identity, Problem> {
        let identity = self.identify(request)?;
        self.check_origin(request, Some(identity.via()))?;
        Ok(identity)
    }

    fn check_origin(&self, request: Request<'_>, via: Option<Via>) -> Result<(), Problem> {
        let host = self.host(request)?;
        let https = self.inner.proxies.says_https(request.peer, request.headers);
        origin::check_origin(request.method, request.headers, &host, https, via)
            .map_err(Problem::cross_site)
    }

    fn identify(&self, request: Request<'_>) -> Result<Identity, Problem> {
        let named = self.inner.proxies.identify(request.peer, request.headers);
        let refusal = match named {
            Ok(Some(identity)) => return Ok(identity),
            Ok(None) => None,
            Err(why) => Some(why),
        };
        // What became of a token says more to the one who sent it.
        let refusal = refusal.filter(|_| !request.headers.contains_key(header::AUTHORIZATION));
        self.prove(request).map_err(|problem| match refusal {
            Some(why) => self.refused(request.peer, &why),
            None => problem,
        })
    }

    /// By what the client itself has: token or session.
    fn prove(&self, request: Request<'_>) -> Result<Identity, Problem> {
        if request.headers.contains_key(header::AUTHORIZATION) {
            let token = bearer(request.headers).map_err(|why| self.refused(request.peer, why))?;
            return self.token_holder(token, Via::Token, request.peer);
        }
        let cookie =
            session_cookie(request.headers).map_err(|why| self.refused(request.peer, why))?;
        cookie
            .and_then(|cookie| self.inner.sessions.identify(cookie, unix_now()))
            .ok_or_else(Problem::unauthorized)
    }

    fn token_holder(&self, token: &str, via: Via, peer: Option<Peer>) -> Result<Identity, Problem> {
        let peer = peer.map(Peer::counted_as);
        if self
            .inner
            .token
            .as_ref()
            .is_some_and(|known| known.matches(token))
        {
            self.inner.backoff.succeeded(peer);
            return Identity::new(&self.inner.token_identity, via)
                .map_err(|_| Problem::unauthorized());
        }
        Err(self.wrong_token(peer))
    }

    fn wrong_token(&self, peer: Option<IpAddr>) -> Problem {
        let failed = self.inner.backoff.failed(peer, Instant::now());
        if failed.is_news {
            let peer = shown(peer);
            let before = failed.before;
            tracing::warn!(%peer, before, "a wrong token was presented; more from there are counted and not logged");
        }
        failed
            .retry_after
            .map_or_else(Problem::wrong_token, Problem::too_many_wrong_tokens)
    }

    /// A proof that could not be taken: says so in the answer, and once a minute in the log.
    fn refused(&self, peer: Option<Peer>, why: &str) -> Problem {
        let peer = shown(peer.map(Peer::ip));
        let said = format!("{peer} {why}");
        if self.inner.refusals.is_news(&said, Instant::now()) {
            tracing::warn!(%peer, why, "the proof of identity was refused");
        }
        Problem::refused_proof(why)
    }

    /// Signs in with the API token or a one-time code; returns who that is and the session
    /// cookie to set.
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
        let id = random().map_err(|_| Problem::unavailable("the system has no random numbers"))?;
        let value = self
            .inner
            .sessions
            .issue(&identity, unix_now(), &hex(&id[..16]));
        Ok((identity, self.set_cookie(request, &value, LIFETIME_S)?))
    }

    /// Ends the session of the request's cookie; returns the cookie that clears it.
    ///
    /// # Errors
    /// 503, never in practice: the cookie is plain ASCII.
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
        let https = self.inner.proxies.says_https(request.peer, request.headers);
        let secure = if https || self.inner.secure_cookie {
            "; Secure"
        } else {
            ""
        };
        let cookie = format!(
            "{COOKIE}={value}; HttpOnly; SameSite=Strict; Path=/; Max-Age={max_age}{secure}"
        );
        HeaderValue::try_from(cookie).map_err(|_| Problem::unavailable("the cookie is no header"))
    }

    /// Makes a code with which `identity` can sign in once within 15 minutes: 256 random bits,
    /// hexadecimal.
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

fn shown(peer: Option<IpAddr>) -> String {
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

/// The one session cookie. Two are refused: a neighbouring name may have planted one.
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
        Err("There are two session cookies; sign out, and in again.")
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
