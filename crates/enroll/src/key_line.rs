//! The line in authorized_keys that lets the key in, and what it may do.

use breakglass_control::ssh::PublicKey;

use breakglass_model::Side;
use breakglass_readiness::HELD;

/// Where the gate is.
pub(crate) const GATE: &str = "/usr/local/sbin/breakglass-gate";
/// What a probing line prints before the connection's addresses.
pub(crate) const MARK: &str = "breakglass-sees";

/// A public key as the files have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Public {
    /// Such as `ssh-ed25519`.
    pub kind: String,
    /// The key itself in base64, by which it is recognised.
    pub blob: String,
}

impl Public {
    /// From `KIND BLOB …`.
    pub(crate) fn parse(text: &str) -> Option<Public> {
        let mut words = text.split_ascii_whitespace().map(str::to_owned);
        let (kind, blob) = (words.next()?, words.next()?);
        let base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
        let name = |byte: u8| byte.is_ascii_alphanumeric() || b"-@.".contains(&byte);
        let fits = blob.starts_with("AAAA") && blob.bytes().all(base64) && kind.bytes().all(name);
        fits.then_some(Public { kind, blob })
    }

    pub(crate) fn of(key: &PublicKey) -> Option<Public> {
        Public::parse(&key.to_openssh().ok()?)
    }
}

/// The line for a key that may come from `sources` alone.
pub(crate) fn line(side: Side, sources: &[String], key: &Public) -> String {
    let from = format!("from=\"{}\"", sources.join(","));
    let options = match side {
        Side::Guest => format!("{from},restrict,pty"),
        Side::Host => format!("{HELD},{from}"),
    };
    format!("{options} {} {} breakglass", key.kind, key.blob)
}

/// A line with which the key can do nothing but ask under which address it is seen.
pub(crate) fn probing(key: &Public) -> String {
    let Public { kind, blob } = key;
    format!("command=\"echo {MARK} $SSH_CONNECTION\",restrict {kind} {blob} breakglass")
}

/// What a line of the key says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    /// Its sources, if it names any.
    pub sources: Option<Vec<String>>,
    /// Whether the rest is as it should be.
    pub right: bool,
    /// Another policy than the usual one, that the gate is called with.
    pub policy: Option<String>,
}

/// Reads the options before the key.
pub(crate) fn read(side: Side, text: &str) -> Said {
    let mut said = Said {
        sources: None,
        right: false,
        policy: None,
    };
    let gate = HELD.trim_end_matches(",restrict");
    let mut rest = Vec::new();
    for option in options(text) {
        if let Some(list) = option.strip_prefix("from=\"") {
            let list = list.trim_end_matches('"').split(',');
            said.sources = Some(list.filter(|one| plain(one)).map(str::to_owned).collect());
        } else {
            let other = gate.trim_end_matches('"');
            if let Some(more) = option
                .strip_prefix(other)
                .filter(|more| more.starts_with(' '))
            {
                said.policy = Some(more.trim_end_matches('"').trim().to_owned());
            }
            rest.push(option);
        }
    }
    rest.sort_unstable();
    said.right = rest
        == match side {
            Side::Guest => vec!["pty", "restrict"],
            Side::Host => vec![gate, "restrict"],
        };
    said
}

/// The options, separated by commas outside quotes; none if the line begins with the key.
fn options(text: &str) -> Vec<&str> {
    let (mut found, mut begin, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
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

/// Whether a source can be written between quotes as it is.
fn plain(source: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".:/*?!_-%".contains(&byte);
    !source.is_empty() && source.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> Public {
        Public::parse("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 breakglass").unwrap()
    }

    proptest! {
        #[test]
        fn a_line_reads_back(
            sources in proptest::collection::vec("[0-9]{1,3}\\.[0-9]{1,3}\\.0\\.0/16|[0-9a-f]{1,4}::1", 1..4),
            guest: bool,
        ) {
            let side = if guest { Side::Guest } else { Side::Host };
            let said = read(side, &line(side, &sources, &key()));
            let sources = Some(sources);
            prop_assert_eq!(said, Said { sources, right: true, policy: None });
        }

        #[test]
        fn whatever_a_line_holds_is_read_and_what_is_kept_of_it_needs_no_quoting(text in ".{0,80}") {
            for side in [Side::Guest, Side::Host] {
                for source in read(side, &text).sources.unwrap_or_default() {
                    prop_assert!(!source.contains(['"', '\'', ' ', ',', '\\', '$']));
                }
            }
        }
    }

    #[test]
    fn a_line_by_hand_counts_in_any_order_and_another_policy_is_seen() {
        let by_hand = format!(
            "from=\"10.0.0.0/8\",restrict,{} ssh-ed25519 AAAA me",
            "command=\"/usr/local/sbin/breakglass-gate\""
        );
        assert!(read(Side::Host, &by_hand).right);
        let other = "command=\"/usr/local/sbin/breakglass-gate --policy /etc/b.toml\",restrict ssh-ed25519 AAAA";
        let said = read(Side::Host, other);
        assert_eq!(said.policy.as_deref(), Some("--policy /etc/b.toml"));
        assert!(!said.right);
    }

    #[test]
    fn a_bare_key_a_probing_line_and_more_leave_than_meant_are_not_right() {
        for text in [
            "ssh-ed25519 AAAA x".to_owned(),
            probing(&key()),
            "restrict,pty,port-forwarding ssh-ed25519 AAAA".to_owned(),
        ] {
            let said = read(Side::Guest, &text);
            assert!(!said.right && said.sources.is_none(), "{text}: {said:?}");
        }
    }
}
