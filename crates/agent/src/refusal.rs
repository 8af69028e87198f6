//! Why the model's API refuses the agent's account, and what the operator can do about it.
//!
//! The CLI's own messages name commands that don't exist here, such as `/login`; so only the kind of an error is
//! taken from it, and the operator reads our message. Kinds and messages are those of version 2.1.197.

/// Why the model's API refuses the agent's account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The CLI has no login.
    SignedOut,
    /// The login is invalid or has expired; with the HTTP status if there was one.
    Expired(Option<u16>),
    /// The account's organization does not allow it.
    Organization,
    /// The account has no credit.
    NoCredit,
}

/// Messages of the CLI in lower case, and their meaning.
const MESSAGES: &[(&str, Refusal)] = &[
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
    /// Interprets an error by its HTTP status, the CLI's word for its kind, and the CLI's message. None for any
    /// other error.
    pub(crate) fn of(
        status: Option<u16>,
        kind: Option<&str>,
        message: Option<&str>,
    ) -> Option<Refusal> {
        let message = message.unwrap_or_default().to_lowercase();
        let known = MESSAGES.iter().find(|(text, _)| message.contains(text));
        match (known.map(|(_, refusal)| *refusal), kind, status) {
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

    /// The code of its notice in the log.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Refusal::SignedOut => "agent_signed_out",
            Refusal::Expired(_) => "agent_login_expired",
            Refusal::Organization => "agent_login_not_allowed",
            Refusal::NoCredit => "agent_no_credit",
        }
    }

    /// Whether a notice with this code reports a refusal.
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

    /// What happened and what to do; `remedy` says how to renew the login here, as a sentence.
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
            Refusal::Organization => {
                "The organization of the agent's login does not allow it to use the model."
                    .to_owned()
            }
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
    fn each_refusal_is_recognised_by_message_kind_or_status() {
        let expired = |status| Some(Refusal::Expired(status));
        for (status, kind, message, expected) in [
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
            assert_eq!(
                Refusal::of(status, kind, Some(message)),
                expected,
                "{message}"
            );
        }
    }

    #[test]
    fn every_refusal_says_how_to_renew_the_login_here() {
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
