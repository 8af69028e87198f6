//! What an agent's words about its model mean. ACP has no way to say that the model can't be reached or
//! that the login is refused: agents say it in a sentence, or only in their log.

use crate::rpc::Fault;

/// What failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The model's API refuses the login.
    Login,
    /// It wants money.
    Credit,
    /// It was not reached, or does not serve now.
    Unreachable,
    /// Something else.
    Other,
}

/// A failure: what it is, and the HTTP status if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meaning {
    pub(crate) kind: Kind,
    pub(crate) status: Option<u16>,
}

/// Words of a refused login, in small letters.
const LOGIN: &[&str] = &[
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
const CREDIT: &[&str] = &[
    "insufficient_quota",
    "exceeded your current quota",
    "billing",
    "credit balance",
];
const UNREACHABLE: &[&str] = &[
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

impl Kind {
    /// The claude CLI's word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Kind::Login => "authentication_failed",
            Kind::Credit => "billing_error",
            Kind::Unreachable => "server_error",
            Kind::Other => "unknown",
        }
    }
}

impl Meaning {
    pub(crate) fn of(words: &str) -> Meaning {
        let small = words.to_lowercase();
        let says = |list: &[&str]| list.iter().any(|word| small.contains(word));
        let status = status(&small);
        let kind = match status {
            _ if says(CREDIT) => Kind::Credit,
            Some(401 | 403) => Kind::Login,
            Some(408 | 429 | 500..=599) => Kind::Unreachable,
            Some(_) => Kind::Other,
            None if says(LOGIN) => Kind::Login,
            None if says(UNREACHABLE) => Kind::Unreachable,
            None => Kind::Other,
        };
        Meaning { kind, status }
    }

    pub(crate) fn of_fault(fault: &Fault) -> Meaning {
        let meaning = Meaning::of(&fault.words);
        match fault.is_of_login() {
            true => Meaning {
                kind: Kind::Login,
                ..meaning
            },
            false => meaning,
        }
    }
}

/// The number of three digits that follows a word for a status, in small letters.
fn status(words: &str) -> Option<u16> {
    ["status", "http", "error", "code"].iter().find_map(|word| {
        words.match_indices(word).find_map(|(at, _)| {
            let rest = words.get(at + word.len()..)?;
            let digit = rest.char_indices().find(|(_, c)| c.is_ascii_digit())?.0;
            // Not a number further on, such as a port.
            let between = rest.get(..digit).filter(|between| between.len() <= 12)?;
            let plain = |c: char| c.is_ascii_alphabetic() || " :=(_".contains(c);
            let number = rest
                .get(digit..digit + 3)
                .filter(|_| between.chars().all(plain))?;
            let next = rest.get(digit + 3..).and_then(|rest| rest.chars().next());
            let whole = !next.is_some_and(|c| c.is_ascii_alphanumeric());
            let number: u16 = number.parse().ok().filter(|_| whole)?;
            (400..600).contains(&number).then_some(number)
        })
    })
}

/// A failed try of which an agent's log tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Try {
    /// Which one it was and how many there will be, where the log says that.
    pub(crate) count: Option<(u32, u32)>,
    pub(crate) words: String,
}

/// A line of an agent's log that tells of a failed try: of opencode with `--print-logs`, or of codex-acp.
pub(crate) fn failed_try(line: &str) -> Option<Try> {
    if line.contains("message=\"stream error\"") {
        let said = line.split_once("error.error=\"")?.1;
        let words = said.trim_end().trim_end_matches('"');
        let words = words.trim_start_matches("AI_APICallError: ").to_owned();
        let count = None;
        return Some(Try { count, words });
    }
    let (_, rest) = line.split_once("Reconnecting... ")?;
    let count = rest.split_whitespace().next()?.split_once('/')?;
    let count = (count.0.parse().ok()?, count.1.parse().ok()?);
    let words = rest.rsplit_once("Some(\"").map_or(rest, |(_, said)| said);
    let words = words.trim_end_matches(['"', ')']).to_owned();
    let count = Some(count);
    Some(Try { count, words })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_agents_say_of_their_model_is_understood() {
        for (words, kind, status) in [
            (
                "unexpected status 401 Unauthorized: no, url: http://127.0.0.1:35513/v1/responses",
                Kind::Login,
                Some(401),
            ),
            (
                "unexpected status 529 <unknown status code>: scripted, url: http://[::1]:45943/v1",
                Kind::Unreachable,
                Some(529),
            ),
            (
                "stream disconnected before completion: error sending request for url (http://127.0.0.1:45067/v1/responses)",
                Kind::Unreachable,
                None,
            ),
            (
                "Cannot connect to API: Unable to connect. Is the computer able to access the url?",
                Kind::Unreachable,
                None,
            ),
            ("Incorrect API key provided: sk-t*st.", Kind::Login, None),
            ("Authentication required", Kind::Login, None),
            (
                "You exceeded your current quota, please check your plan",
                Kind::Credit,
                None,
            ),
            (
                "API error (HTTP 503): Service Unavailable",
                Kind::Unreachable,
                Some(503),
            ),
            ("the tool call 500 is not known", Kind::Other, None),
            ("error at line 4010", Kind::Other, None),
            ("", Kind::Other, None),
        ] {
            assert_eq!(Meaning::of(words), Meaning { kind, status }, "{words}");
        }
    }

    #[test]
    fn a_failed_try_is_found_in_the_log_of_each_agent() {
        let opencode = r#"timestamp=2026-11-30T16:16:01.037Z level=ERROR run=0 message="stream error" providerID=local modelID=m small=false error.error="AI_APICallError: Cannot connect to API: no""#;
        let found = failed_try(opencode).unwrap();
        assert_eq!(
            (found.count, found.words.as_str()),
            (None, "Cannot connect to API: no")
        );
        let codex = r#"ERROR codex_acp::thread: Handled error during turn: Reconnecting... 2/5 Some(ResponseStreamDisconnected { http_status_code: Some(529) }) Some("unexpected status 529 <unknown status code>: x")"#;
        let found = failed_try(codex).unwrap();
        assert_eq!(found.count, Some((2, 5)));
        assert_eq!(
            found.words,
            "unexpected status 529 <unknown status code>: x"
        );
        for other in [
            "",
            "Reconnecting... soon",
            "Reconnecting... a/b",
            "message=\"stream error\"",
        ] {
            assert_eq!(failed_try(other), None, "{other}");
        }
    }
}
