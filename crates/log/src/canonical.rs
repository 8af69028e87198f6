//! An event's bytes: written once, stored unchanged, and from then on only combined with their hash.
//!
//! ```text
//! {"seq":7,"kind":"text","at":"2026-11-23T20:15:00.123Z","actor":"agent","turn":1,"text":"…"}
//! ```
//!
//! `seq` and `kind` come first so that a reader finds both without parsing the rest.

use std::sync::Arc;

use crate::chain::Hash;
use crate::completion::Completion;
use crate::error::LogError;
use crate::options::MAX_EVENT_BYTES;
use breakglass_model::Actor;
use breakglass_model::Frame;
use breakglass_model::{Event, EventBody, IncidentId, OperationId, TurnNumber, Verb};

/// An event's body before it has a number.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) kind: &'static str,
    actor: String,
    /// The body's own fields, from the comma or the closing brace on.
    rest: Vec<u8>,
    pub(crate) change: StateChange,
    pub(crate) completion: Option<Arc<Completion>>,
}

/// How an event changes the state of its incident's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StateChange {
    None,
    TurnStarted(TurnNumber),
    /// A block of text is complete and replaces what was typed of it.
    TextFinished(TurnNumber),
    TurnEnded(TurnNumber),
    VerbStarted {
        operation: OperationId,
        target: String,
        verb: Verb,
    },
    VerbEnded(OperationId),
    IncidentClosed,
}

impl StateChange {
    fn of(body: &EventBody) -> StateChange {
        match body {
            EventBody::Prompt { turn, .. } | EventBody::TurnStarted { turn, .. } => {
                StateChange::TurnStarted(*turn)
            }
            EventBody::Text { turn, .. } => StateChange::TextFinished(*turn),
            EventBody::TurnEnded { turn, .. } => StateChange::TurnEnded(*turn),
            EventBody::VerbStarted {
                operation,
                target,
                verb,
            } => StateChange::VerbStarted {
                operation: *operation,
                target: target.clone(),
                verb: *verb,
            },
            EventBody::VerbFinished { operation, .. } => StateChange::VerbEnded(*operation),
            EventBody::IncidentClosed {} => StateChange::IncidentClosed,
            _ => StateChange::None,
        }
    }

    /// The turn whose typed text this event replaces.
    pub(crate) const fn replaces_text_of(&self) -> Option<TurnNumber> {
        match self {
            StateChange::TextFinished(turn) | StateChange::TurnEnded(turn) => Some(*turn),
            _ => None,
        }
    }
}

impl Encoded {
    /// Encodes everything except number and time, which the writer adds.
    ///
    /// # Errors
    /// [`LogError::TooLarge`] beyond [`MAX_EVENT_BYTES`].
    pub(crate) fn new(actor: &Actor, body: &EventBody) -> Result<Encoded, LogError> {
        let malformed = |error: serde_json::Error| LogError::Malformed {
            reason: error.to_string(),
        };
        let kind = body.kind();
        let mut json = serde_json::to_vec(body).map_err(malformed)?;
        let actor = serde_json::to_string(actor).map_err(malformed)?;
        let bytes = json.len() + actor.len() + FRONT_BYTES_MAX;
        if bytes > MAX_EVENT_BYTES {
            return Err(LogError::TooLarge {
                what: kind,
                bytes,
                limit: MAX_EVENT_BYTES,
            });
        }
        let rest = json.split_off(r#"{"kind":"""#.len() + kind.len());
        Ok(Encoded {
            kind,
            actor,
            rest,
            change: StateChange::of(body),
            completion: Completion::of(body),
        })
    }

    /// The event's canonical bytes at its place.
    pub(crate) fn canonical(&self, seq: u64, at: &str) -> String {
        let mut json = String::with_capacity(self.rest.len() + self.actor.len() + FRONT_BYTES_MAX);
        json.push_str(r#"{"seq":"#);
        json.push_str(itoa::Buffer::new().format(seq));
        for (name, value) in [
            (r#","kind":""#, self.kind),
            (r#"","at":""#, at),
            (r#"","actor":"#, &self.actor),
        ] {
            json.push_str(name);
            json.push_str(value);
        }
        // serde_json writes UTF-8 only, so nothing is ever replaced here.
        json.push_str(&String::from_utf8_lossy(&self.rest));
        json
    }
}

/// Maximum number of bytes of `seq`, `kind`, `at` and the names and quotes around them.
const FRONT_BYTES_MAX: usize = 128;

/// The kind of an event, from its JSON; empty if these bytes are not an event.
pub(crate) fn kind_of(canonical: &[u8]) -> &[u8] {
    const NAME: &[u8] = br#","kind":""#;
    let digits = canonical
        .iter()
        .skip(7)
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let rest = canonical.get(7 + digits..).unwrap_or_default();
    let value = rest.strip_prefix(NAME).unwrap_or_default();
    let end = value.iter().position(|byte| *byte == b'"').unwrap_or(0);
    &value[..end]
}

/// The event that this JSON contains, with its hash. The error names the event.
pub(crate) fn decode(whole: &[u8]) -> Result<Event, String> {
    serde_json::from_slice(whole).map_err(|error| {
        let kind = String::from_utf8_lossy(kind_of(whole));
        let digits = whole
            .iter()
            .skip(7)
            .take_while(|byte| byte.is_ascii_digit());
        let seq: String = digits.map(|byte| char::from(*byte)).collect();
        format!("event {seq} ({kind}) cannot be read by this version of breakglass: {error}")
    })
}

/// The two digits of each byte.
const HEX: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hex = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        hex[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    hex
};

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| HEX[usize::from(*byte)]);
    digits.map(char::from).collect()
}

/// What [`splice`] appends between the canonical bytes and their hash.
const HASH_NAME: &[u8] = br#","hash":""#;

/// The canonical bytes and the hash of a whole event, if [`splice`] could have written it.
pub(crate) fn unsplice(whole: &[u8]) -> Option<(Vec<u8>, Hash)> {
    let rest = whole.strip_suffix(br#""}"#)?;
    let (front, digits) = rest.split_at_checked(rest.len().checked_sub(64)?)?;
    let mut canonical = front.strip_suffix(HASH_NAME)?.to_vec();
    canonical.push(b'}');
    Some((canonical, unhex_bytes(digits)?))
}

/// The hash that these 64 lower-case digits stand for.
pub(crate) fn unhex(digits: &str) -> Option<Hash> {
    unhex_bytes(digits.as_bytes())
}

fn unhex_bytes(digits: &[u8]) -> Option<Hash> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if digits.len() != 64 {
        return None;
    }
    let mut hash = Hash::default();
    for (byte, [high, low]) in hash.iter_mut().zip(digits.as_chunks().0) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(hash)
}

/// Appends the whole event as JSON: the canonical bytes with the hash spliced in.
pub(crate) fn splice(out: &mut Vec<u8>, canonical: &[u8], hash: &[u8]) {
    const NAME: &[u8] = HASH_NAME;
    const TAIL_BYTES: usize = NAME.len() + 64 + 2;
    let mut tail = [0; TAIL_BYTES];
    let (name, rest) = tail.split_at_mut(NAME.len());
    let (hex, end) = rest.split_at_mut(64);
    name.copy_from_slice(NAME);
    for (pair, byte) in hex.as_chunks_mut().0.iter_mut().zip(hash) {
        *pair = HEX[usize::from(*byte)];
    }
    end.copy_from_slice(br#""}"#);
    out.extend_from_slice(canonical.strip_suffix(b"}").unwrap_or(canonical));
    out.extend_from_slice(&tail);
}

/// Appends the event as an SSE frame.
pub(crate) fn sse(out: &mut Vec<u8>, seq: u64, canonical: &[u8], hash: &[u8]) {
    out.extend_from_slice(b"id: ");
    out.extend_from_slice(itoa::Buffer::new().format(seq).as_bytes());
    out.extend_from_slice(b"\nevent: ");
    out.extend_from_slice(kind_of(canonical));
    out.extend_from_slice(b"\ndata: ");
    splice(out, canonical, hash);
    out.extend_from_slice(b"\n\n");
}

/// The event as one line for a log shipper, with the incident it belongs to.
pub(crate) fn shipped(incident: IncidentId, canonical: &[u8], hash: &[u8]) -> Vec<u8> {
    let mut line = format!(r#"{{"incident":"{incident}","#).into_bytes();
    splice(
        &mut line,
        canonical.strip_prefix(b"{").unwrap_or(canonical),
        hash,
    );
    line.push(b'\n');
    line
}

/// A frame that is not kept, as SSE; empty if it cannot be written as JSON.
pub(crate) fn ephemeral(frame: &Frame) -> Vec<u8> {
    let Ok(json) = serde_json::to_vec(frame) else {
        return Vec::new();
    };
    [
        b"event: ",
        frame.name().as_bytes(),
        b"\ndata: ",
        &json,
        b"\n\n",
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use breakglass_model::Level;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn spliced_bytes_are_the_event(seq in 1u64.., identity: String, code: String, message: String, hash: Hash) {
            let actor = Actor::Operator(identity);
            let body = EventBody::Notice { level: Level::Info, code, message };
            let canonical = Encoded::new(&actor, &body).unwrap().canonical(seq, "2026-11-23T20:15:00.123Z");
            prop_assert_eq!(kind_of(canonical.as_bytes()), b"notice");
            let mut json = Vec::new();
            splice(&mut json, canonical.as_bytes(), &hash);
            prop_assert!(!json.contains(&b'\n'));
            prop_assert_eq!(unsplice(&json), Some((canonical.clone().into_bytes(), hash)));
            let event: Event = serde_json::from_slice(&json).unwrap();
            prop_assert_eq!((event.seq, event.actor, event.body), (seq, actor, body));
            prop_assert_eq!(event.hash.len(), 64);
        }

        #[test]
        fn a_kind_and_a_hash_are_looked_for_in_any_bytes_without_panic(bytes: Vec<u8>) {
            kind_of(&bytes);
            unsplice(&bytes);
        }
    }

    #[test]
    fn a_body_without_fields_is_whole_json() {
        let encoded = Encoded::new(&Actor::System, &EventBody::IncidentClosed {}).unwrap();
        assert_eq!(
            encoded.canonical(3, "T"),
            r#"{"seq":3,"kind":"incident_closed","at":"T","actor":"system"}"#
        );
    }

    #[test]
    fn an_event_beyond_the_limit_is_refused_with_its_size() {
        let body = EventBody::Text {
            turn: 1,
            text: "x".repeat(MAX_EVENT_BYTES),
        };
        let refused = Encoded::new(&Actor::Agent, &body).unwrap_err();
        assert!(
            matches!(refused, LogError::TooLarge { what: "text", bytes, .. } if bytes > MAX_EVENT_BYTES)
        );
    }
}
