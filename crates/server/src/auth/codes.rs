//! One-time sign-in codes, as in the link that a drill prints: single use, valid for 15 minutes.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use subtle::ConstantTimeEq as _;

use super::identity::{Identity, Via};
use breakglass_config::token::digest;

const LIFETIME: Duration = Duration::from_secs(15 * 60);
const MAX_CODES: usize = 16;

#[derive(Default)]
pub(super) struct Codes {
    /// Oldest first.
    open: Mutex<Vec<Code>>,
}

struct Code {
    hash: [u8; 32],
    identity: String,
    expires_at: Instant,
}

impl Codes {
    /// Makes `code` valid for one sign-in as `identity`. Removes the oldest code if there are too many.
    pub(super) fn add(&self, code: &str, identity: &str, now: Instant) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|code| code.expires_at > now);
        if open.len() >= MAX_CODES {
            open.remove(0);
        }
        open.push(Code {
            hash: digest(code),
            identity: identity.to_owned(),
            expires_at: now + LIFETIME,
        });
    }

    /// Uses up `code`. Compares it with every code, so that the time does not depend on which matches.
    pub(super) fn redeem(&self, code: &str, now: Instant) -> Option<Identity> {
        let hash = digest(code);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|code| code.expires_at > now);
        let mut found = None;
        for (index, code) in open.iter().enumerate() {
            if bool::from(code.hash.ct_eq(&hash)) {
                found = Some(index);
            }
        }
        let code = open.remove(found?);
        Identity::new(&code.identity, Via::Session).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_works_once() {
        let codes = Codes::default();
        let now = Instant::now();
        codes.add("code", "ann", now);
        assert!(codes.redeem("edoc", now).is_none());
        assert_eq!(codes.redeem("code", now).unwrap().name(), "ann");
        assert!(codes.redeem("code", now).is_none());
    }

    #[test]
    fn code_expires_after_fifteen_minutes() {
        let codes = Codes::default();
        let now = Instant::now();
        codes.add("code", "ann", now);
        assert!(codes.redeem("code", now + LIFETIME).is_none());
    }

    #[test]
    fn number_of_codes_is_bounded() {
        let codes = Codes::default();
        let now = Instant::now();
        for n in 0..100 {
            codes.add(&n.to_string(), "ann", now);
        }
        assert_eq!(codes.open.lock().unwrap().len(), MAX_CODES);
        assert!(codes.redeem("99", now).is_some());
    }
}
