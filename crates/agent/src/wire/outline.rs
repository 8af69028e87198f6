//! What can still be said of a line that can't be read: too long to be kept, cut off, or damaged.
//!
//! The line passes through, byte by byte, and what names things is picked up on its way: what kind
//! of line it is, which call of a tool, which question. Nothing else is kept but the beginning of
//! what was printed, so memory is bounded whatever comes, and it makes no difference how the bytes
//! are cut into pieces.

use std::borrow::Cow;

use super::types::{Block, Ending, Line, Text, ToolResult};

/// The most bytes kept of a name, such as the id of a call.
const NAME: usize = 256;
/// The most bytes kept of what a tool printed, as the line wrote it.
const HEAD: usize = 16 * 1024;
/// The most calls of one line that are told apart.
const ITEMS: usize = 64;
/// The longest escape of a JSON string: two halves of one character, `\ud83d\ude00`.
const ESCAPE: usize = 12;

/// Picks up what names things in one line.
#[derive(Debug, Default)]
pub struct Outline {
    bytes: u64,
    /// The objects and lists that lead to where the reader is, as far as they matter.
    path: Vec<Place>,
    /// How deep the reader is in what does not matter.
    skipped: u64,
    state: State,
    key: Option<Key>,
    taken: Kept,
    begun: bool,
    whole: bool,
    found: Found,
}

#[derive(Debug, Default)]
struct Found {
    kind: Kept,
    request: Kept,
    is_error: Kept,
    cost: Kept,
    origin: Kept,
    of_sub_agent: bool,
    items: Vec<Item>,
}

/// One block of an answer, or one result of a tool.
#[derive(Debug, Default, Clone)]
struct Item {
    kind: Kept,
    call: Kept,
    tool: Kept,
    is_error: Kept,
    text: Kept,
    /// Bytes of it that are no text.
    other: u64,
}

/// The beginning of a string, as the line writes it, and how long it is in all.
#[derive(Debug, Default, Clone)]
struct Kept {
    head: Vec<u8>,
    bytes: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between values.
    #[default]
    Between,
    /// In a string; whether the last byte was a backslash.
    Text(bool),
    /// In a number or a word.
    Word,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Line,
    Message,
    Content,
    Item,
    Origin,
}

/// A key that matters, or some other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Kind,
    Request,
    SubAgent,
    IsError,
    Cost,
    Message,
    Origin,
    Content,
    Call,
    Tool,
    Text,
    Other,
}

impl Outline {
    /// Of a line that is here.
    #[must_use]
    pub fn of(line: &[u8]) -> Outline {
        let mut outline = Outline::default();
        outline.take(line);
        outline
    }

    /// Takes the next bytes of the line.
    pub fn take(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        let mut at = 0;
        while at < bytes.len() && !self.whole {
            at += match self.state {
                State::Text(escaped) => self.text(&bytes[at..], escaped),
                State::Word => self.word(bytes[at]),
                State::Between => {
                    self.between(bytes[at]);
                    1
                }
            };
        }
    }

    /// How long the line is so far, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The rest of a string, up to its end or the end of what is here; how many bytes that is.
    fn text(&mut self, bytes: &[u8], escaped: bool) -> usize {
        if escaped {
            self.keep(&bytes[..1]);
            self.state = State::Text(false);
            return 1;
        }
        let end = memchr::memchr2(b'"', b'\\', bytes);
        self.keep(&bytes[..end.unwrap_or(bytes.len())]);
        match end.map(|end| (end, bytes[end])) {
            None => return bytes.len(),
            Some((_, b'\\')) => {
                self.keep(b"\\");
                self.state = State::Text(true);
            }
            Some(_) => {
                self.state = State::Between;
                self.string_ended();
            }
        }
        end.map_or(bytes.len(), |end| end + 1)
    }

    fn word(&mut self, byte: u8) -> usize {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.') {
            self.keep(&[byte]);
            return 1;
        }
        self.state = State::Between;
        self.value_ended();
        0
    }

    fn between(&mut self, byte: u8) {
        if self.skipped > 0 {
            self.note_other(1);
        }
        match byte {
            b'"' => {
                self.taken = Kept::default();
                self.state = State::Text(false);
            }
            b'{' | b'[' => self.open(byte),
            b'}' | b']' => self.close(),
            b',' if self.skipped == 0 => self.key = None,
            _ if self.skipped == 0 && (byte.is_ascii_alphanumeric() || byte == b'-') => {
                self.taken = Kept::default();
                self.state = State::Word;
                self.keep(&[byte]);
            }
            _ => {}
        }
    }

    fn open(&mut self, byte: u8) {
        let object = byte == b'{';
        let inner = match (self.path.last(), self.key) {
            _ if self.skipped > 0 => None,
            (None, _) if object && !self.begun => Some(Place::Line),
            (Some(Place::Line), Some(Key::Message)) if object => Some(Place::Message),
            (Some(Place::Line), Some(Key::Origin)) if object => Some(Place::Origin),
            (Some(Place::Message), Some(Key::Content)) if !object => Some(Place::Content),
            (Some(Place::Content), _) if object && self.found.items.len() < ITEMS => {
                self.found.items.push(Item::default());
                Some(Place::Item)
            }
            _ => None,
        };
        self.begun = true;
        match inner {
            Some(place) => self.path.push(place),
            None => self.skipped += 1,
        }
        self.key = self.key.filter(|_| self.skipped > 0);
    }

    fn close(&mut self) {
        if self.skipped > 0 {
            self.skipped -= 1;
        } else {
            self.path.pop();
        }
        if self.skipped == 0 {
            self.key = None;
            self.whole = self.begun && self.path.is_empty();
        }
    }

    /// Where the reader is an object's value, and which.
    fn at(&self) -> Option<(Place, Key)> {
        Some((*self.path.last()?, self.key?)).filter(|_| self.skipped == 0)
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.skipped > 0 {
            return self.note_other(bytes.len());
        }
        let room = match self.at() {
            Some((Place::Item, Key::Text | Key::Content)) => HEAD,
            _ => NAME,
        };
        self.taken.bytes += bytes.len() as u64;
        let room = room.saturating_sub(self.taken.head.len());
        self.taken
            .head
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn note_other(&mut self, bytes: usize) {
        if let (Some(Place::Item), Some(item)) = (self.path.last(), self.found.items.last_mut()) {
            item.other += bytes as u64;
        }
    }

    fn string_ended(&mut self) {
        if self.skipped > 0 {
            return;
        }
        let is_object = !matches!(self.path.last(), None | Some(Place::Content));
        if is_object && self.key.is_none() {
            self.key = Some(Key::of(&self.taken.head));
        } else {
            self.value_ended();
        }
    }

    fn value_ended(&mut self) {
        let at = self.at();
        let value = std::mem::take(&mut self.taken);
        let found = &mut self.found;
        match at {
            Some((Place::Line, Key::Kind)) => found.kind = value,
            Some((Place::Line, Key::Request)) => found.request = value,
            Some((Place::Line, Key::IsError)) => found.is_error = value,
            Some((Place::Line, Key::Cost)) => found.cost = value,
            Some((Place::Line, Key::SubAgent)) => found.of_sub_agent = value.head != b"null",
            Some((Place::Origin, Key::Kind)) => found.origin = value,
            Some((Place::Item, key)) => {
                if let Some(item) = found.items.last_mut() {
                    item.note(key, value);
                }
            }
            _ => {}
        }
    }

    /// What the line says, as far as that is known.
    #[must_use]
    pub fn line(&self) -> Line<'static> {
        match self.found.kind.name().as_deref() {
            Some("user") => self.results(),
            _ if self.found.of_sub_agent => Line::Quiet,
            Some("assistant") => self.said(),
            Some("result") => Line::Ended(self.ending()),
            Some("control_request") => match self.found.request.name() {
                Some(request) => Line::Ask {
                    request: owned(request),
                    question: None,
                },
                None => Line::Unknown,
            },
            _ => Line::Unknown,
        }
    }

    /// The items of the line; of one that broke off in an item's text also that.
    fn items(&self) -> Vec<Item> {
        let mut items = self.found.items.clone();
        let in_text = matches!(self.state, State::Text(_))
            && matches!(self.at(), Some((Place::Item, Key::Text | Key::Content)));
        if let (true, Some(last)) = (in_text, items.last_mut()) {
            last.text = self.taken.clone();
        }
        items
    }

    fn results(&self) -> Line<'static> {
        let results = self.items().into_iter().filter_map(|item| {
            let id = owned(item.call.name()?);
            let (output, omitted) = item.shortened(self.whole);
            Some(ToolResult {
                id,
                output: Cow::Owned(output),
                is_error: item.is_error.head == b"true",
                omitted,
            })
        });
        let results: Vec<ToolResult<'static>> = results.collect();
        if results.is_empty() {
            Line::Unknown
        } else {
            Line::ToolResults(results)
        }
    }

    fn said(&self) -> Line<'static> {
        let blocks = self.items().into_iter().filter_map(|item| {
            let (text, _) = item.shortened(self.whole);
            match item.kind.name().as_deref() {
                Some("text") => Some(Block::Text { text: owned(text) }),
                Some("tool_use") => Some(Block::ToolUse {
                    id: owned(item.call.name()?),
                    name: owned(item.tool.name()?),
                    input: serde_json::Value::String(text),
                }),
                _ => None,
            }
        });
        Line::Said {
            model: owned(String::new()),
            error: None,
            blocks: blocks.collect(),
        }
    }

    /// A turn that ended must end here too. It went well only where the line says so to its end.
    fn ending(&self) -> Ending<'static> {
        let well = self.whole && self.found.is_error.head == b"false";
        let unread = format!(
            "its last line could not be read ({} bytes, too long or damaged)",
            self.bytes
        );
        Ending {
            is_error: !well,
            errors: (!well).then_some(unread).into_iter().collect(),
            total_cost_usd: self.found.cost.name().and_then(|cost| cost.parse().ok()),
            origin: self.found.origin.name().map(owned),
            ..Ending::default()
        }
    }
}

impl Key {
    fn of(name: &[u8]) -> Key {
        match name {
            b"type" | b"kind" => Key::Kind,
            b"request_id" => Key::Request,
            b"parent_tool_use_id" => Key::SubAgent,
            b"is_error" => Key::IsError,
            b"total_cost_usd" => Key::Cost,
            b"message" => Key::Message,
            b"origin" => Key::Origin,
            b"content" => Key::Content,
            b"tool_use_id" | b"id" => Key::Call,
            b"name" => Key::Tool,
            b"text" => Key::Text,
            _ => Key::Other,
        }
    }
}

impl Item {
    fn note(&mut self, key: Key, value: Kept) {
        match key {
            Key::Kind => self.kind = value,
            Key::Call => self.call = value,
            Key::Tool => self.tool = value,
            Key::IsError => self.is_error = value,
            Key::Text | Key::Content => self.text = value,
            _ => {}
        }
    }

    /// Its text as far as it is kept, and how many bytes of the line are not in it.
    fn shortened(&self, whole: bool) -> (String, u64) {
        let (mut text, kept) = self.text.readable();
        let omitted = self.text.bytes - kept + self.other;
        let note = match (omitted, whole) {
            (0, true) => return (text, 0),
            (0, false) => "[the claude CLI's line broke off]".to_owned(),
            _ => format!("[output too long: {omitted} bytes left out]"),
        };
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&note);
        (text, omitted)
    }
}

impl Kept {
    /// A name, if all of it is here.
    fn name(&self) -> Option<String> {
        let (text, kept) = self.readable();
        (kept == self.bytes && !text.is_empty()).then_some(text)
    }

    /// What is here of a string, and how many bytes of the line that is. Its end may be the middle
    /// of an escape or of a character: that much is left off.
    fn readable(&self) -> (String, u64) {
        let shortest = self.head.len().saturating_sub(ESCAPE);
        let whole = (shortest..=self.head.len()).rev().find_map(|end| {
            let quoted = [b"\"", &self.head[..end], b"\""].concat();
            Some((serde_json::from_slice::<String>(&quoted).ok()?, end as u64))
        });
        // No JSON, which only a damaged line is: as it is written there.
        whole.unwrap_or_else(|| {
            let text = String::from_utf8_lossy(&self.head).into_owned();
            (text, self.head.len() as u64)
        })
    }
}

fn owned(text: impl Into<String>) -> Text<'static> {
    Text(Cow::Owned(text.into()))
}
