//! Why the model's API does not serve this account, and what is done about it here.
//!
//! The CLI's own words tell of commands that there are not here, such as `/login`; so it is the kind
//! that counts, and the operator reads our words. Kinds and words are those of version 2.1.197.

/// Why the model's API does not serve this account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The CLI has no login.
    SignedOut,
    /// The login is not valid, or not any more; with the HTTP status where there was one.
    Expired(Option<u16>),
    /// The account's organization does not allow it.
    Organization,
    /// There is no money in the account.
    NoCredit,
}

/// What the CLI says in the model's place, in small letters, and what it means.
const WORDS: &[(&str, Refusal)] = &[
    ("not logged in", Refusal::SignedOut),
    ("credit balance is too low", Refusal::NoCredit),
    ("organization has disabled", Refusal::Organization),
    ("disabled organization", Refusal::Organization),
    ("not allowed for this organization", Refusal::Organization),
    ("oauth token", Refusal::Expired(None)),
    ("invalid api key", Refusal::Expired(None)),
    ("invalid x-api-key", Refusal::Expired(None)),
    ("failed to authenticate", Refusal::Expired(None)),
    ("please login again", Refusal::Expired(None)),
    ("run /login", Refusal::Expired(None)),
];

impl Refusal {
    /// What an error means: its HTTP status, the CLI's word for it, and its words in the model's
    /// place. None where it is something else.
    pub(crate) fn of(
        status: Option<u16>,
        word: Option<&str>,
        said: Option<&str>,
    ) -> Option<Refusal> {
        let said = said.unwrap_or_default().to_lowercase();
        let by_words = WORDS.iter().find(|(words, _)| said.contains(words));
        match (by_words.map(|(_, refusal)| *refusal), word, status) {
            (Some(Refusal::Expired(_)), ..) => Some(Refusal::Expired(status)),
            (Some(refusal), ..) => Some(refusal),
            (None, Some("billing_error"), _) => Some(Refusal::NoCredit),
            (None, Some("oauth_org_not_allowed"), _) => Some(Refusal::Organization),
            (None, Some("authentication_failed"), _) | (None, _, Some(401 | 403)) => {
                Some(Refusal::Expired(status))
            }
            _ => None,
        }
    }

    /// What code its notice has in the log.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Refusal::SignedOut => "agent_signed_out",
            Refusal::Expired(_) => "agent_login_expired",
            Refusal::Organization => "agent_login_not_allowed",
            Refusal::NoCredit => "agent_no_credit",
        }
    }

    /// Whether a notice of this code tells of a refusal.
    pub(crate) fn is_code(code: &str) -> bool {
        [
            Refusal::SignedOut,
            Refusal::Expired(None),
            Refusal::Organization,
            Refusal::NoCredit,
        ]
        .iter()
        .any(|refusal| refusal.code() == code)
    }

    /// What happened and what to do: `remedy` is how a login is renewed here, as a sentence.
    pub(crate) fn sentence(self, remedy: &str) -> String {
        let what = match self {
            Refusal::SignedOut => "The agent is not signed in.".to_owned(),
            Refusal::Expired(None) => {
                "The agent's login has expired or is not valid: the model's API refuses it."
                    .to_owned()
            }
            Refusal::Expired(Some(status)) => format!(
                "The agent's login has expired or is not valid: the model's API refuses it \
                 ({status})."
            ),
            Refusal::Organization => "The organization that the agent's login belongs to does not \
                                      let it ask the model."
                .to_owned(),
            Refusal::NoCredit => {
                "The account of the agent's login has no credit left: add credit, \
                                  or use another login."
                    .to_owned()
            }
        };
        format!("{what} {remedy} Power and checks work without it.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_of_the_cli_is_known_by_its_words_or_its_word_or_its_status() {
        let expired = |status| Some(Refusal::Expired(status));
        for (status, word, said, meant) in [
            (
                Some(401),
                Some("authentication_failed"),
                "Invalid API key · Fix external API key",
                expired(Some(401)),
            ),
            (
                Some(401),
                None,
                "Failed to authenticate. API Error: 401 OAuth token has expired.",
                expired(Some(401)),
            ),
            (
                None,
                None,
                "OAuth token revoked · Please run /login",
                expired(None),
            ),
            (
                None,
                None,
                "Please run /login · API Error: 403",
                expired(None),
            ),
            (Some(403), None, "", expired(Some(403))),
            (
                None,
                Some("authentication_failed"),
                "Not logged in · Please run /login",
                Some(Refusal::SignedOut),
            ),
            (
                Some(403),
                Some("oauth_org_not_allowed"),
                "x",
                Some(Refusal::Organization),
            ),
            (
                Some(400),
                Some("invalid_request"),
                "Your ANTHROPIC_API_KEY belongs to a disabled organization · Update",
                Some(Refusal::Organization),
            ),
            (
                Some(400),
                Some("billing_error"),
                "Credit balance is too low",
                Some(Refusal::NoCredit),
            ),
            (
                Some(529),
                Some("overloaded"),
                "API Error: 529 overloaded",
                None,
            ),
            (None, None, "Prompt is too long", None),
        ] {
            assert_eq!(Refusal::of(status, word, Some(said)), meant, "{said}");
        }
    }

    #[test]
    fn every_refusal_names_the_way_to_renew_the_login_here() {
        for refusal in [
            Refusal::SignedOut,
            Refusal::Expired(Some(403)),
            Refusal::Organization,
            Refusal::NoCredit,
        ] {
            let sentence = refusal.sentence("Put a key into /k.");
            assert!(sentence.contains("Put a key into /k."), "{sentence}");
            assert!(!sentence.contains("/login"), "{sentence}");
        }
    }
}
