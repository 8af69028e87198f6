//! The session cookie: signed, not stored, so that a restart in the middle of an incident signs
//! nobody out.
//!
//! `v1.<identity, base64>.<issued, Unix seconds>.<id>.<HMAC-SHA256 over what precedes it>`. The
//! key comes from the API token, so a new token ends every session. Signing out is remembered
//! in memory until the session would have ended anyway; should more people sign out than the
//! table holds, every session up to that moment ends.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use subtle::ConstantTimeEq as _;

use super::identity::{Identity, Via};
use breakglass_config::token::keyed;

/// The cookie's name.
pub const COOKIE: &str = "breakglass_session";
/// How long a session lasts, in seconds.
pub const LIFETIME_S: u64 = 12 * 60 * 60;
const MAX_REVOKED: usize = 1024;
/// How far another clock's cookie may be ahead, in seconds.
const SKEW_S: u64 = 60;

pub(super) struct Sessions {
    key: [u8; 32],
    revoked: Mutex<Revoked>,
}

#[derive(Default)]
struct Revoked {
    /// Session id → when it ends by itself.
    ids: HashMap<String, u64>,
    /// Sessions issued up to here are over.
    floor: Option<u64>,
}

struct Claims {
    identity: Identity,
    issued: u64,
    id: String,
}

impl Sessions {
    pub(super) fn new(key: [u8; 32]) -> Sessions {
        Sessions {
            key,
            revoked: Mutex::default(),
        }
    }

    /// A cookie's value for `identity`, issued at `now` (Unix seconds); `id` is random.
    pub(super) fn issue(&self, identity: &Identity, now: u64, id: &str) -> String {
        let name = BASE64.encode(identity.name());
        let claims = format!("v1.{name}.{now}.{id}");
        let mac = BASE64.encode(keyed(&self.key, claims.as_bytes()));
        format!("{claims}.{mac}")
    }

    /// Who the cookie stands for at `now`, if it is genuine and not over.
    pub(super) fn identify(&self, cookie: &str, now: u64) -> Option<Identity> {
        let claims = self.verify(cookie)?;
        let fresh = claims.issued <= now.saturating_add(SKEW_S)
            && now < claims.issued.saturating_add(LIFETIME_S);
        let revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        let over = revoked.ids.contains_key(&claims.id)
            || revoked.floor.is_some_and(|floor| claims.issued <= floor);
        (fresh && !over).then_some(claims.identity)
    }

    /// Ends the cookie's session.
    pub(super) fn revoke(&self, cookie: &str, now: u64) {
        let Some(claims) = self.verify(cookie) else {
            return;
        };
        let mut revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        revoked.ids.retain(|_, ends| *ends > now);
        if revoked.ids.len() >= MAX_REVOKED {
            revoked.ids.clear();
            revoked.floor = Some(now);
        }
        revoked
            .ids
            .insert(claims.id, claims.issued.saturating_add(LIFETIME_S));
    }

    fn verify(&self, cookie: &str) -> Option<Claims> {
        let (signed, mac) = cookie.rsplit_once('.')?;
        let mac = BASE64.decode(mac).ok()?;
        if !bool::from(keyed(&self.key, signed.as_bytes()).ct_eq(mac.as_slice())) {
            return None;
        }
        let mut parts = signed.strip_prefix("v1.")?.split('.');
        let name = String::from_utf8(BASE64.decode(parts.next()?).ok()?).ok()?;
        let issued = parts.next()?.parse().ok()?;
        let id = parts.next()?.to_owned();
        let identity = Identity::new(&name, Via::Session).ok()?;
        Some(Claims {
            identity,
            issued,
            id,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ann() -> Identity {
        Identity::new("ann", Via::Token).unwrap()
    }

    #[test]
    fn a_session_lasts_twelve_hours_to_the_second() {
        let sessions = Sessions::new([7; 32]);
        let cookie = sessions.issue(&ann(), 1_000, "a");
        assert_eq!(
            sessions
                .identify(&cookie, 1_000 + LIFETIME_S - 1)
                .unwrap()
                .name(),
            "ann"
        );
        assert!(sessions.identify(&cookie, 1_000 + LIFETIME_S).is_none());
    }

    #[test]
    fn a_cookie_from_the_future_or_of_another_key_is_nobodys() {
        let sessions = Sessions::new([7; 32]);
        let cookie = sessions.issue(&ann(), 1_000, "a");
        assert!(sessions.identify(&cookie, 1_000 - SKEW_S - 1).is_none());
        assert!(Sessions::new([8; 32]).identify(&cookie, 1_000).is_none());
    }

    #[test]
    fn no_single_changed_byte_of_a_cookie_is_accepted() {
        let sessions = Sessions::new([7; 32]);
        let cookie = sessions.issue(&ann(), 1_000, "a");
        for at in 0..cookie.len() {
            let mut bytes = cookie.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(sessions.identify(&changed, 1_000).is_none(), "byte {at}");
        }
    }

    #[test]
    fn signing_out_ends_that_session_and_no_other() {
        let sessions = Sessions::new([7; 32]);
        let (one, two) = (
            sessions.issue(&ann(), 1_000, "a"),
            sessions.issue(&ann(), 1_000, "b"),
        );
        sessions.revoke(&one, 1_001);
        assert!(sessions.identify(&one, 1_002).is_none());
        assert!(sessions.identify(&two, 1_002).is_some());
    }

    #[test]
    fn a_full_table_ends_sessions_rather_than_reviving_one() {
        let sessions = Sessions::new([7; 32]);
        let first = sessions.issue(&ann(), 1_000, "first");
        sessions.revoke(&first, 1_000);
        for n in 0..=MAX_REVOKED {
            let cookie = sessions.issue(&ann(), 1_000, &n.to_string());
            sessions.revoke(&cookie, 1_000);
        }
        assert!(sessions.identify(&first, 1_001).is_none());
        assert!(sessions.revoked.lock().unwrap().ids.len() <= MAX_REVOKED);
        let later = sessions.issue(&ann(), 1_001, "later");
        assert!(sessions.identify(&later, 1_002).is_some());
    }
}
