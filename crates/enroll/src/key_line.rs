//! The line of the key in authorized_keys: its options, written and parsed.

use breakglass_control::ssh::PublicKey;

use breakglass_model::Side;
use breakglass_readiness::FORCED_COMMAND_OPTIONS;

/// Path of the gate on the host.
pub(crate) const GATE_PATH: &str = "/usr/local/sbin/breakglass-gate";
/// Text that a probing line prints before the connection's addresses.
pub(crate) const PROBE_PREFIX: &str = "breakglass-sees";

/// A public key as in authorized_keys and known_hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublicHalf {
    /// The type, such as `ssh-ed25519`.
    pub kind: String,
    /// The key in base64, which identifies it.
    pub blob: String,
}

impl PublicHalf {
    /// Parses `KIND BLOB …`.
    pub(crate) fn parse(text: &str) -> Option<PublicHalf> {
        let mut words = text.split_ascii_whitespace().map(str::to_owned);
        let kind = words.next()?;
        let blob = words.next()?;
        let base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
        let name = |byte: u8| byte.is_ascii_alphanumeric() || b"-@.".contains(&byte);
        let fits = blob.starts_with("AAAA") && blob.bytes().all(base64) && kind.bytes().all(name);
        fits.then_some(PublicHalf { kind, blob })
    }

    pub(crate) fn of(key: &PublicKey) -> Option<PublicHalf> {
        PublicHalf::parse(&key.to_openssh().ok()?)
    }
}

/// The line for a key that is accepted only from `sources`.
pub(crate) fn line(side: Side, sources: &[String], key: &PublicHalf) -> String {
    let from = format!("from=\"{}\"", sources.join(","));
    let options = match side {
        Side::Guest => format!("{from},restrict,pty"),
        Side::Host => format!("{FORCED_COMMAND_OPTIONS},{from}"),
    };
    format!("{options} {} {} breakglass", key.kind, key.blob)
}

/// A line with which the key can only print the address that the machine sees.
pub(crate) fn probing(key: &PublicHalf) -> String {
    let PublicHalf { kind, blob } = key;
    format!("command=\"echo {PROBE_PREFIX} $SSH_CONNECTION\",restrict {kind} {blob} breakglass")
}

/// The options of an existing line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LineOptions {
    /// The allowed source addresses, if the line names any.
    pub sources: Option<Vec<String>>,
    /// Whether all other options are as expected.
    pub as_expected: bool,
    /// Additional arguments of the gate, if the line has any.
    pub policy: Option<String>,
}

/// Parses the options before the key.
pub(crate) fn read(side: Side, text: &str) -> LineOptions {
    let mut options_of_line = LineOptions {
        sources: None,
        as_expected: false,
        policy: None,
    };
    let gate = FORCED_COMMAND_OPTIONS.trim_end_matches(",restrict");
    let mut rest = Vec::new();
    for option in options(text) {
        if let Some(list) = option.strip_prefix("from=\"") {
            let list = list.trim_end_matches('"').split(',');
            options_of_line.sources =
                Some(list.filter(|one| plain(one)).map(str::to_owned).collect());
        } else {
            let other = gate.trim_end_matches('"');
            if let Some(more) = option
                .strip_prefix(other)
                .filter(|more| more.starts_with(' '))
            {
                options_of_line.policy = Some(more.trim_end_matches('"').trim().to_owned());
            }
            rest.push(option);
        }
    }
    rest.sort_unstable();
    options_of_line.as_expected = rest
        == match side {
            Side::Guest => vec!["pty", "restrict"],
            Side::Host => vec![gate, "restrict"],
        };
    options_of_line
}

/// Splits the options at commas outside quotes; empty if the line starts with the key.
fn options(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut begin = 0;
    let mut quoted = false;
    let mut escaped = false;
    let text = text.trim_start();
    let mut end = text.len();
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' if !escaped => quoted = !quoted,
            b',' if !quoted => {
                found.push(&text[begin..at]);
                begin = at + 1;
            }
            b' ' | b'\t' if !quoted => {
                end = at;
                break;
            }
            _ => {}
        }
        escaped = byte == b'\\' && !escaped;
    }
    found.push(&text[begin..end]);
    match found.as_slice() {
        [only] if only.starts_with("ssh-") || only.starts_with("ecdsa-") => Vec::new(),
        _ => found,
    }
}

/// Whether a source needs no escaping between quotes.
fn plain(source: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".:/*?!_-%".contains(&byte);
    !source.is_empty() && source.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> PublicHalf {
        PublicHalf::parse("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 breakglass").unwrap()
    }

    proptest! {
        #[test]
        fn written_line_is_parsed_back(
            sources in proptest::collection::vec("[0-9]{1,3}\\.[0-9]{1,3}\\.0\\.0/16|[0-9a-f]{1,4}::1", 1..4),
            guest: bool,
        ) {
            let side = if guest { Side::Guest } else { Side::Host };
            let options_of_line = read(side, &line(side, &sources, &key()));
            let sources = Some(sources);
            prop_assert_eq!(options_of_line, LineOptions { sources, as_expected: true, policy: None });
        }

        #[test]
        fn any_line_is_parsed_to_sources_that_need_no_quoting(text in ".{0,80}") {
            for side in [Side::Guest, Side::Host] {
                for source in read(side, &text).sources.unwrap_or_default() {
                    prop_assert!(!source.contains(['"', '\'', ' ', ',', '\\', '$']));
                }
            }
        }
    }

    #[test]
    fn manual_line_is_accepted_in_any_order_and_other_policy_is_found() {
        let by_hand = format!(
            "from=\"10.0.0.0/8\",restrict,{} ssh-ed25519 AAAA me",
            "command=\"/usr/local/sbin/breakglass-gate\""
        );
        assert!(read(Side::Host, &by_hand).as_expected);
        let other = "command=\"/usr/local/sbin/breakglass-gate --policy /etc/b.toml\",restrict ssh-ed25519 AAAA";
        let options_of_line = read(Side::Host, other);
        assert_eq!(
            options_of_line.policy.as_deref(),
            Some("--policy /etc/b.toml")
        );
        assert!(!options_of_line.as_expected);
    }

    #[test]
    fn bare_key_probing_line_and_extra_permissions_are_not_as_expected() {
        for text in [
            "ssh-ed25519 AAAA x".to_owned(),
            probing(&key()),
            "restrict,pty,port-forwarding ssh-ed25519 AAAA".to_owned(),
        ] {
            let options_of_line = read(Side::Guest, &text);
            assert!(
                !options_of_line.as_expected && options_of_line.sources.is_none(),
                "{text}: {options_of_line:?}"
            );
        }
    }
}
