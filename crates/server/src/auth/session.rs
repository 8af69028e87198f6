//! The session cookie. It is signed and not stored, so a restart during an incident signs no one out.
//!
//! Format: `v1.<identity, base64>.<issued, Unix seconds>.<id>.<HMAC-SHA256 of the preceding text>`.
//! The key is derived from the API token, so a new token ends every session. A revoked session is
//! remembered in memory until it expires. If the table of revoked sessions is full, every session
//! that was issued until then ends.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use subtle::ConstantTimeEq as _;

use super::identity::{Identity, Via};
use breakglass_config::token::keyed;

/// The name of the session cookie.
pub const COOKIE: &str = "breakglass_session";
/// Lifetime of a session, in seconds.
pub const LIFETIME_S: u64 = 12 * 60 * 60;
const MAX_REVOKED: usize = 1024;
/// Maximum age below zero of an accepted cookie, in seconds: the clock may have been set back.
const MAX_CLOCK_SKEW_S: u64 = 60;

pub(super) struct Sessions {
    key: [u8; 32],
    revoked: Mutex<Revoked>,
}

#[derive(Default)]
struct Revoked {
    /// Expiry of each revoked session by its id, in Unix seconds.
    ids: HashMap<String, u64>,
    /// Sessions issued up to this time are revoked, in Unix seconds.
    all_until: Option<u64>,
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

    /// The identity of the cookie at `now`, if it is genuine, not expired and not revoked.
    pub(super) fn identify(&self, cookie: &str, now: u64) -> Option<Identity> {
        let claims = self.verify(cookie)?;
        let fresh = claims.issued <= now.saturating_add(MAX_CLOCK_SKEW_S)
            && now < claims.issued.saturating_add(LIFETIME_S);
        let revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        let is_revoked = revoked.ids.contains_key(&claims.id)
            || revoked
                .all_until
                .is_some_and(|until| claims.issued <= until);
        (fresh && !is_revoked).then_some(claims.identity)
    }

    /// Revokes the cookie's session.
    pub(super) fn revoke(&self, cookie: &str, now: u64) {
        let Some(claims) = self.verify(cookie) else {
            return;
        };
        let mut revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        revoked.ids.retain(|_, ends| *ends > now);
        if revoked.ids.len() >= MAX_REVOKED {
            revoked.ids.clear();
            revoked.all_until = Some(now);
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
    fn session_expires_after_twelve_hours() {
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
    fn cookies_from_the_future_or_another_key_are_refused() {
        let sessions = Sessions::new([7; 32]);
        let cookie = sessions.issue(&ann(), 1_000, "a");
        assert!(
            sessions
                .identify(&cookie, 1_000 - MAX_CLOCK_SKEW_S - 1)
                .is_none()
        );
        assert!(Sessions::new([8; 32]).identify(&cookie, 1_000).is_none());
    }

    #[test]
    fn changing_any_byte_invalidates_a_cookie() {
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
    fn signing_out_revokes_only_that_session() {
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
    fn full_table_revokes_all_earlier_sessions() {
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
