//! One-time sign-in codes: what a drill prints in its link. Single use, 15 minutes.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use subtle::ConstantTimeEq as _;

use super::identity::{Identity, Via};
use breakglass_config::token::digest;

const LIFETIME: Duration = Duration::from_secs(15 * 60);
const MAX_CODES: usize = 16;

#[derive(Default)]
pub(super) struct Codes {
    open: Mutex<Vec<Code>>,
}

struct Code {
    hash: [u8; 32],
    identity: String,
    ends: Instant,
}

impl Codes {
    /// Lets `code` stand for `identity` once. The oldest code goes where there are too many.
    pub(super) fn add(&self, code: &str, identity: &str, now: Instant) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|code| code.ends > now);
        if open.len() >= MAX_CODES {
            open.remove(0);
        }
        open.push(Code {
            hash: digest(code),
            identity: identity.to_owned(),
            ends: now + LIFETIME,
        });
    }

    /// Uses `code` up. Looks at every open code whichever matches.
    pub(super) fn redeem(&self, code: &str, now: Instant) -> Option<Identity> {
        let hash = digest(code);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|code| code.ends > now);
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
    fn a_code_works_once() {
        let (codes, now) = (Codes::default(), Instant::now());
        codes.add("code", "ann", now);
        assert!(codes.redeem("edoc", now).is_none());
        assert_eq!(codes.redeem("code", now).unwrap().name(), "ann");
        assert!(codes.redeem("code", now).is_none());
    }

    #[test]
    fn a_code_is_over_after_fifteen_minutes() {
        let (codes, now) = (Codes::default(), Instant::now());
        codes.add("code", "ann", now);
        assert!(codes.redeem("code", now + LIFETIME).is_none());
    }

    #[test]
    fn many_codes_do_not_pile_up() {
        let (codes, now) = (Codes::default(), Instant::now());
        for n in 0..100 {
            codes.add(&n.to_string(), "ann", now);
        }
        assert_eq!(codes.open.lock().unwrap().len(), MAX_CODES);
        assert!(codes.redeem("99", now).is_some());
    }
}
