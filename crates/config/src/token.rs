//! The API token: which texts are accepted, its comparison, and the key of session cookies derived from it.

use std::collections::HashSet;
use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The API token, as a hash, with the key for session cookies derived from it. The token's text is not
/// stored.
#[derive(Clone)]
pub struct ApiToken {
    hash: [u8; 32],
    session_key: [u8; 32],
    looks_made_up: bool,
}

/// Why a text is refused as a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakToken {
    /// Too short: it could be guessed.
    #[error("the token is shorter than 32 characters")]
    Short,
    /// It cannot be sent in a header.
    #[error("the token contains spaces or characters that are not printable ASCII")]
    Unprintable,
    /// It looks like a placeholder.
    #[error("the token has fewer than 10 different characters, so it is not random")]
    Uniform,
}

impl ApiToken {
    /// Minimum number of characters; 64 hexadecimal ones contain 256 bits.
    pub const MIN_LENGTH: usize = 32;

    /// Checks and hashes the token.
    ///
    /// # Errors
    /// If it could be guessed, or could not be sent as a header.
    pub fn new(text: &str) -> Result<ApiToken, WeakToken> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(WeakToken::Unprintable);
        }
        if text.len() < ApiToken::MIN_LENGTH {
            return Err(WeakToken::Short);
        }
        let mut distinct: Vec<u8> = text.bytes().collect();
        distinct.sort_unstable();
        distinct.dedup();
        if distinct.len() < 10 {
            return Err(WeakToken::Uniform);
        }
        let session_key = keyed(text.as_bytes(), b"breakglass session cookie v1");
        Ok(ApiToken {
            hash: digest(text),
            session_key,
            looks_made_up: looks_made_up(text.as_bytes()),
        })
    }

    /// Whether `presented` is the token; the comparison takes constant time.
    #[must_use]
    pub fn matches(&self, presented: &str) -> bool {
        self.hash.ct_eq(&digest(presented)).into()
    }

    /// Whether it repeats itself or counts up. A random token does that in one case of ten thousand.
    #[must_use]
    pub const fn looks_made_up(&self) -> bool {
        self.looks_made_up
    }

    /// The key that signs session cookies.
    #[must_use]
    pub const fn session_key(&self) -> [u8; 32] {
        self.session_key
    }
}

/// Whether a run of six characters occurs twice, or counts up.
fn looks_made_up(token: &[u8]) -> bool {
    let mut seen = HashSet::new();
    token.windows(6).any(|six| {
        let counts = six.windows(2).all(|two| two[0].wrapping_add(1) == two[1]);
        counts || !seen.insert(six)
    })
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiToken(…)")
    }
}

/// The SHA-256 of `text`. That suffices for secrets of 256 random bits, which no dictionary contains.
#[must_use]
pub fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// HMAC-SHA256 with a key of any length, which is hashed first.
#[must_use]
pub fn keyed(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0; 64];
    block[..32].copy_from_slice(&Sha256::digest(key));
    let mac = Hmac::<Sha256>::new(&block.into());
    mac.chain_update(message).finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn only_the_complete_token_matches() {
        let token = ApiToken::new(GOOD).unwrap();
        assert!(token.matches(GOOD));
        for wrong in [
            "",
            &GOOD[1..],
            &GOOD[..31],
            &format!("{GOOD} "),
            &GOOD.to_uppercase(),
        ] {
            assert!(!token.matches(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn weak_or_unprintable_token_is_refused() {
        assert_eq!(ApiToken::new("").unwrap_err(), WeakToken::Short);
        assert_eq!(ApiToken::new(&GOOD[..31]).unwrap_err(), WeakToken::Short);
        assert_eq!(
            ApiToken::new(&"x".repeat(64)).unwrap_err(),
            WeakToken::Uniform
        );
        assert_eq!(
            ApiToken::new(&format!("{GOOD}\n")).unwrap_err(),
            WeakToken::Unprintable
        );
        assert_eq!(
            ApiToken::new(&format!("{GOOD} é")).unwrap_err(),
            WeakToken::Unprintable
        );
    }

    #[test]
    fn repeating_or_counting_token_looks_made_up() {
        let looks_made_up = |text| ApiToken::new(text).unwrap().looks_made_up();
        for text in [GOOD, "open-sesame-1-open-sesame-2-open-sesame"] {
            assert!(looks_made_up(text), "{text}");
        }
        for text in [
            "b1f5c0d29e7a48366c3e0fd41797a25b80c4e6d9131fa7527be85d0c99436e21",
            "q9Zt3vLw0xKsR7bYhN2cJfU6mPaEgD1V",
        ] {
            assert!(!looks_made_up(text), "{text}");
        }
    }

    #[test]
    fn debug_output_does_not_contain_the_token() {
        assert_eq!(format!("{:?}", ApiToken::new(GOOD).unwrap()), "ApiToken(…)");
    }
}
