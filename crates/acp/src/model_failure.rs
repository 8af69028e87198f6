//! Interprets an agent's texts about its model. ACP has no error for a model that can't be reached or a refused
//! login: agents report it as text, or only in their log.

use crate::rpc::RpcError;

/// The kind of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The model's API refused the login.
    Login,
    /// The account has no credit.
    Credit,
    /// The model's API was not reached, or is not available.
    Unreachable,
    Other,
}

/// A failure of the model, with the HTTP status if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ModelFailure {
    pub(crate) kind: FailureKind,
    pub(crate) status: Option<u16>,
}

/// Words of a refused login, in lower case.
const LOGIN_WORDS: &[&str] = &[
    "unauthorized",
    "authenticat",
    "api key",
    "api_key",
    "apikey",
    "not logged in",
    "invalid token",
    "log in",
    "sign in",
    "credentials",
];
const CREDIT_WORDS: &[&str] = &[
    "insufficient_quota",
    "exceeded your current quota",
    "billing",
    "credit balance",
];
const UNREACHABLE_WORDS: &[&str] = &[
    "connect",
    "error sending request",
    "network",
    "socket",
    "timed out",
    "timeout",
    "dns",
    "unreachable",
    "overloaded",
    "rate limit",
    "too many requests",
    "unavailable",
    "bad gateway",
    "server error",
];

impl FailureKind {
    /// The claude CLI's word for this kind.
    pub(crate) fn cli_word(self) -> &'static str {
        match self {
            FailureKind::Login => "authentication_failed",
            FailureKind::Credit => "billing_error",
            FailureKind::Unreachable => "server_error",
            FailureKind::Other => "unknown",
        }
    }
}

impl ModelFailure {
    pub(crate) fn of(text: &str) -> ModelFailure {
        let text = text.to_lowercase();
        let contains_any = |words: &[&str]| words.iter().any(|word| text.contains(word));
        let status = status(&text);
        let kind = match status {
            _ if contains_any(CREDIT_WORDS) => FailureKind::Credit,
            Some(401 | 403) => FailureKind::Login,
            Some(408 | 429 | 500..=599) => FailureKind::Unreachable,
            Some(_) => FailureKind::Other,
            None if contains_any(LOGIN_WORDS) => FailureKind::Login,
            None if contains_any(UNREACHABLE_WORDS) => FailureKind::Unreachable,
            None => FailureKind::Other,
        };
        ModelFailure { kind, status }
    }

    pub(crate) fn of_error(error: &RpcError) -> ModelFailure {
        let mut failure = ModelFailure::of(&error.text);
        if error.needs_login() {
            failure.kind = FailureKind::Login;
        }
        failure
    }
}

/// The number of three digits after a word such as `status`; `text` is in lower case.
fn status(text: &str) -> Option<u16> {
    ["status", "http", "error", "code"].iter().find_map(|word| {
        text.match_indices(word).find_map(|(at, _)| {
            let rest = text.get(at + word.len()..)?;
            let digit = rest.char_indices().find(|(_, c)| c.is_ascii_digit())?.0;
            // Not a number further away, such as a port.
            let between = rest.get(..digit).filter(|between| between.len() <= 12)?;
            let is_plain = |c: char| c.is_ascii_alphabetic() || " :=(_".contains(c);
            let number = rest
                .get(digit..digit + 3)
                .filter(|_| between.chars().all(is_plain))?;
            let next = rest.get(digit + 3..).and_then(|rest| rest.chars().next());
            let whole = !next.is_some_and(|c| c.is_ascii_alphanumeric());
            let number: u16 = number.parse().ok().filter(|_| whole)?;
            (400..600).contains(&number).then_some(number)
        })
    })
}

/// A failed attempt that an agent's log reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FailedAttempt {
    /// Number of the attempt and maximum number, if the log contains them.
    pub(crate) count: Option<(u32, u32)>,
    pub(crate) text: String,
}

/// Reads a failed attempt from a line of the log of opencode (with `--print-logs`) or codex-acp.
pub(crate) fn failed_attempt(line: &str) -> Option<FailedAttempt> {
    if line.contains("message=\"stream error\"") {
        let text = line.split_once("error.error=\"")?.1;
        let text = text.trim_end().trim_end_matches('"');
        let text = text.trim_start_matches("AI_APICallError: ").to_owned();
        return Some(FailedAttempt { count: None, text });
    }
    let (_, rest) = line.split_once("Reconnecting... ")?;
    let count = rest.split_whitespace().next()?.split_once('/')?;
    let count = (count.0.parse().ok()?, count.1.parse().ok()?);
    let text = rest.rsplit_once("Some(\"").map_or(rest, |(_, text)| text);
    let text = text.trim_end_matches(['"', ')']).to_owned();
    let count = Some(count);
    Some(FailedAttempt { count, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_about_a_model_are_interpreted() {
        for (words, kind, status) in [
            (
                "unexpected status 401 Unauthorized: no, url: http://127.0.0.1:35513/v1/responses",
                FailureKind::Login,
                Some(401),
            ),
            (
                "unexpected status 529 <unknown status code>: scripted, url: http://[::1]:45943/v1",
                FailureKind::Unreachable,
                Some(529),
            ),
            (
                "stream disconnected before completion: error sending request for url (http://127.0.0.1:45067/v1/responses)",
                FailureKind::Unreachable,
                None,
            ),
            (
                "Cannot connect to API: Unable to connect. Is the computer able to access the url?",
                FailureKind::Unreachable,
                None,
            ),
            (
                "Incorrect API key provided: sk-t*st.",
                FailureKind::Login,
                None,
            ),
            ("Authentication required", FailureKind::Login, None),
            (
                "You exceeded your current quota, please check your plan",
                FailureKind::Credit,
                None,
            ),
            (
                "API error (HTTP 503): Service Unavailable",
                FailureKind::Unreachable,
                Some(503),
            ),
            ("the tool call 500 is not known", FailureKind::Other, None),
            ("error at line 4010", FailureKind::Other, None),
            ("", FailureKind::Other, None),
        ] {
            assert_eq!(
                ModelFailure::of(words),
                ModelFailure { kind, status },
                "{words}"
            );
        }
    }

    #[test]
    fn a_failed_attempt_is_found_in_the_log_of_each_agent() {
        let opencode = r#"timestamp=2026-11-30T16:16:01.037Z level=ERROR run=0 message="stream error" providerID=local modelID=m small=false error.error="AI_APICallError: Cannot connect to API: no""#;
        let found = failed_attempt(opencode).unwrap();
        assert_eq!(
            (found.count, found.text.as_str()),
            (None, "Cannot connect to API: no")
        );
        let codex = r#"ERROR codex_acp::thread: Handled error during turn: Reconnecting... 2/5 Some(ResponseStreamDisconnected { http_status_code: Some(529) }) Some("unexpected status 529 <unknown status code>: x")"#;
        let found = failed_attempt(codex).unwrap();
        assert_eq!(found.count, Some((2, 5)));
        assert_eq!(found.text, "unexpected status 529 <unknown status code>: x");
        for other in [
            "",
            "Reconnecting... soon",
            "Reconnecting... a/b",
            "message=\"stream error\"",
        ] {
            assert_eq!(failed_attempt(other), None, "{other}");
        }
    }
}
