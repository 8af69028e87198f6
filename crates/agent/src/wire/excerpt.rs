//! Salvages what a turn needs from a line that cannot be decoded because it is too long, cut off or damaged:
//! the tool call that has finished, the question that waits for an answer, or the end of the turn.
//!
//! It searches the bytes for a few keys and keeps the beginning of their values, so its memory is bounded, and
//! it does not matter into which pieces a line is cut. Inside a JSON string every quote is escaped, so text that
//! a tool printed is never mistaken for a key.

use std::borrow::Cow;

use memchr::memmem;

use super::types::{Line, Text, ToolResult, TurnResult};

/// Maximum length of an id or a number, in bytes.
const FIELD_MAX_BYTES: usize = 256;
/// Maximum length that is kept of a tool's output, in bytes of JSON.
const OUTPUT_MAX_BYTES: usize = 16 * 1024;
/// Length of the longest escape in a JSON string, a surrogate pair such as `\ud83d\ude00`.
const ESCAPE_MAX_BYTES: usize = 12;

const TYPE: usize = 0;
const REQUEST_ID: usize = 1;
const TOOL_USE_ID: usize = 2;
const IS_ERROR: usize = 3;
const COST: usize = 4;
const ORIGIN: usize = 5;
const OUTPUT: usize = 6;
/// The keys, each up to where its value begins; the index of each is the constant above.
const KEYS: [&str; 7] = [
    r#""type":""#,
    r#""request_id":""#,
    r#""tool_use_id":""#,
    r#""is_error":"#,
    r#""total_cost_usd":"#,
    r#""origin":{"kind":""#,
    r#""content":""#,
];
const KEY_MAX_BYTES: usize = 18;

/// The useful parts of one line that cannot be decoded.
#[derive(Debug, Default)]
pub struct Excerpt {
    bytes: u64,
    /// The last bytes before the next piece: a key may be cut in two.
    overlap: Vec<u8>,
    /// The beginning of each key's first value.
    values: [Option<Vec<u8>>; KEYS.len()],
}

impl Excerpt {
    /// The excerpt of a line that is available as a whole.
    #[must_use]
    pub fn of(line: &[u8]) -> Excerpt {
        let mut excerpt = Excerpt::default();
        excerpt.push(line);
        excerpt
    }

    /// Adds the next piece of the line.
    pub fn push(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        let searched = [&self.overlap[..], piece].concat();
        for (index, key) in KEYS.iter().enumerate() {
            let room = if index == OUTPUT {
                OUTPUT_MAX_BYTES
            } else {
                FIELD_MAX_BYTES
            };
            if let Some(value) = &mut self.values[index] {
                let room = room.saturating_sub(value.len());
                value.extend_from_slice(&piece[..piece.len().min(room)]);
            } else if let Some(at) = memmem::find(&searched, key.as_bytes()) {
                let rest = &searched[at + key.len()..];
                self.values[index] = Some(rest[..rest.len().min(room)].to_vec());
            }
        }
        let keep = searched.len().min(KEY_MAX_BYTES);
        self.overlap = searched[searched.len() - keep..].to_vec();
    }

    /// Length of the line so far, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The line as far as a turn needs it.
    #[must_use]
    pub fn line(&self) -> Line<'static> {
        let line = match self.string(TYPE).as_deref() {
            Some("user") => self
                .tool_result()
                .map(|result| Line::ToolResults(vec![result])),
            Some("result") => Some(Line::TurnResult(self.turn_result())),
            Some("control_request") => {
                self.string(REQUEST_ID).map(|request| Line::ControlRequest {
                    request: owned(request),
                    tool_use: None,
                })
            }
            _ => None,
        };
        line.unwrap_or(Line::Unknown)
    }

    fn tool_result(&self) -> Option<ToolResult<'static>> {
        let id = owned(self.string(TOOL_USE_ID)?);
        let kept = self.values[OUTPUT].as_deref().map(unescape);
        let is_complete = kept.as_ref().is_some_and(|kept| kept.is_complete);
        let Unescaped { mut text, used, .. } = kept.unwrap_or_default();
        let omitted = if is_complete { 0 } else { self.bytes - used };
        if !is_complete {
            if !text.is_empty() {
                text.push('\n');
            }
            text += &format!("[output incomplete: {omitted} bytes left out]");
        }
        Some(ToolResult {
            id,
            output: Cow::Owned(text),
            is_error: self.word(IS_ERROR) == Some("true"),
            omitted,
        })
    }

    /// Always a failure: the part that cannot be read may be the one that says so.
    fn turn_result(&self) -> TurnResult<'static> {
        TurnResult {
            is_error: true,
            errors: vec![format!(
                "its last line could not be read ({} bytes, too long or damaged)",
                self.bytes
            )],
            total_cost_usd: self.word(COST).and_then(|cost| cost.parse().ok()),
            origin: self.string(ORIGIN).map(owned),
            ..TurnResult::default()
        }
    }

    /// The value of a string, if all of it is available.
    fn string(&self, key: usize) -> Option<String> {
        let value = unescape(self.values[key].as_deref()?);
        (value.is_complete && !value.text.is_empty()).then_some(value.text)
    }

    /// The value of a number or a literal.
    fn word(&self, key: usize) -> Option<&str> {
        let value = self.values[key].as_deref()?;
        let end = value.iter().position(|byte| b",} ".contains(byte))?;
        std::str::from_utf8(&value[..end]).ok()
    }
}

/// A JSON string, or its beginning.
#[derive(Default)]
struct Unescaped {
    text: String,
    /// Length of the text's source, in bytes.
    used: u64,
    is_complete: bool,
}

/// Reads a JSON string whose opening quote has been removed.
fn unescape(value: &[u8]) -> Unescaped {
    let end = closing_quote(value);
    let source = &value[..end.unwrap_or(value.len())];
    // The end of an incomplete string may be the middle of an escape or of a character.
    let shortest = source.len().saturating_sub(ESCAPE_MAX_BYTES);
    let parsed = (shortest..=source.len()).rev().find_map(|length| {
        let quoted = [b"\"", &source[..length], b"\""].concat();
        Some((serde_json::from_slice(&quoted).ok()?, length))
    });
    let (text, used) = parsed.unwrap_or_else(|| {
        let text = String::from_utf8_lossy(source).into_owned();
        (text, source.len())
    });
    Unescaped {
        text,
        used: used as u64,
        is_complete: end.is_some(),
    }
}

fn closing_quote(value: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', value.get(at..)?)?;
        if value[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

fn owned(text: String) -> Text<'static> {
    Text(Cow::Owned(text))
}
