//! What is kept of one command's streams: the beginning as it comes, the end when it is over, the
//! middle counted. Pure, and bounded whatever goes through.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use breakglass_model::{CommandStream, visible};

/// Bytes kept of a stream's beginning, and of its end. Standard output and error share theirs.
const OUTPUT: usize = 32 * 1024;
const INPUT: usize = 16 * 1024;
/// The most bytes of one entry, so that an event stays small.
const ENTRY: usize = 16 * 1024;

/// A run of bytes of one stream, as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) stream: CommandStream,
    pub(crate) text: String,
    /// The bytes themselves (base64), where `text` does not hold them.
    pub(crate) raw: Option<String>,
}

/// The account of one command's streams.
#[derive(Debug)]
pub(crate) struct Book {
    output: Account,
    input: Account,
}

impl Book {
    pub(crate) fn new() -> Book {
        Book {
            output: Account::new(OUTPUT),
            input: Account::new(INPUT),
        }
    }

    /// Takes what passed. True the first time that not all of the output can be kept.
    pub(crate) fn take(&mut self, stream: CommandStream, bytes: &[u8]) -> bool {
        match stream {
            CommandStream::Stdin => {
                self.input.take(stream, bytes);
                false
            }
            CommandStream::Stdout | CommandStream::Stderr => self.output.take(stream, bytes),
        }
    }

    /// What of the beginnings has not been handed out yet, whole characters only.
    pub(crate) fn ready(&mut self) -> Vec<Entry> {
        let mut entries = self.input.ready(false);
        entries.extend(self.output.ready(false));
        entries
    }

    /// All that is left to hand out, and how many bytes were counted and not kept.
    pub(crate) fn close(mut self) -> (Vec<Entry>, u64) {
        let mut entries = self.input.ready(true);
        entries.extend(self.output.ready(true));
        let omitted = self.input.omitted + self.output.omitted;
        entries.extend(self.input.last());
        entries.extend(self.output.last());
        (entries, omitted)
    }
}

#[derive(Debug)]
struct Account {
    limit: usize,
    /// Room left at the beginning.
    room: usize,
    pending: Vec<(CommandStream, Vec<u8>)>,
    tail: VecDeque<(CommandStream, Vec<u8>)>,
    tail_bytes: usize,
    omitted: u64,
}

impl Account {
    fn new(limit: usize) -> Account {
        Account {
            limit,
            room: limit,
            pending: Vec::new(),
            tail: VecDeque::new(),
            tail_bytes: 0,
            omitted: 0,
        }
    }

    fn take(&mut self, stream: CommandStream, bytes: &[u8]) -> bool {
        let (head, rest) = bytes.split_at(bytes.len().min(self.room));
        let overflows = !rest.is_empty() && self.tail.is_empty() && self.omitted == 0;
        self.room -= head.len();
        if !head.is_empty() {
            append(&mut self.pending, stream, head);
        }
        self.keep_last(stream, rest);
        overflows
    }

    fn keep_last(&mut self, stream: CommandStream, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let skipped = bytes.len().saturating_sub(self.limit);
        let kept = &bytes[skipped..];
        self.omitted += skipped as u64;
        match self.tail.back_mut() {
            Some((last, held)) if *last == stream && held.len() < ENTRY => {
                held.extend_from_slice(kept);
            }
            _ => self.tail.push_back((stream, kept.to_vec())),
        }
        self.tail_bytes += kept.len();
        while self.tail_bytes > self.limit {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let excess = self.tail_bytes - self.limit;
        let Some((_, oldest)) = self.tail.front_mut() else {
            return;
        };
        let dropped = if oldest.len() <= excess {
            let whole = oldest.len();
            self.tail.pop_front();
            whole
        } else {
            oldest.drain(..excess);
            excess
        };
        self.tail_bytes -= dropped;
        self.omitted += dropped as u64;
    }

    /// A character that is cut at the end waits for its rest, unless there is none to come.
    fn ready(&mut self, all: bool) -> Vec<Entry> {
        let mut held = None;
        let mut entries = Vec::new();
        let pending = std::mem::take(&mut self.pending);
        let last = pending.len().saturating_sub(1);
        for (place, (stream, mut bytes)) in pending.into_iter().enumerate() {
            if !all && place == last {
                let rest = bytes.split_off(whole(&bytes));
                held = (!rest.is_empty()).then_some((stream, rest));
            }
            entries.extend(cut(stream, &bytes));
        }
        self.pending.extend(held);
        entries
    }

    fn last(&mut self) -> Vec<Entry> {
        let tail = std::mem::take(&mut self.tail);
        tail.iter()
            .flat_map(|(stream, bytes)| cut(*stream, bytes))
            .collect()
    }
}

fn append(runs: &mut Vec<(CommandStream, Vec<u8>)>, stream: CommandStream, bytes: &[u8]) {
    match runs.last_mut() {
        Some((last, held)) if *last == stream => held.extend_from_slice(bytes),
        _ => runs.push((stream, bytes.to_vec())),
    }
}

fn cut(stream: CommandStream, bytes: &[u8]) -> Vec<Entry> {
    bytes
        .chunks(ENTRY)
        .map(|bytes| entry(stream, bytes))
        .collect()
}

fn entry(stream: CommandStream, bytes: &[u8]) -> Entry {
    let text = visible(&String::from_utf8_lossy(bytes));
    let raw = (text.as_bytes() != bytes).then(|| STANDARD.encode(bytes));
    Entry { stream, text, raw }
}

/// How many bytes go up to the last whole character.
fn whole(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes_of(entries: &[Entry]) -> Vec<u8> {
        let one = |entry: &Entry| match &entry.raw {
            Some(raw) => STANDARD.decode(raw).unwrap(),
            None => entry.text.clone().into_bytes(),
        };
        entries.iter().flat_map(one).collect()
    }

    #[test]
    fn a_character_that_comes_in_two_parts_is_recorded_in_one() {
        let mut book = Book::new();
        book.take(CommandStream::Stdout, &[b'a', 0xc3]);
        assert_eq!(book.ready()[0].text, "a");
        book.take(CommandStream::Stdout, &[0xa9]);
        assert_eq!(book.ready()[0].text, "é");
    }

    #[test]
    fn control_sequences_are_made_visible_and_their_bytes_are_kept() {
        let mut book = Book::new();
        book.take(CommandStream::Stderr, b"\x1b[2J");
        let entries = book.close().0;
        assert_eq!(entries[0].text, "␛[2J");
        assert_eq!(bytes_of(&entries), b"\x1b[2J");
    }

    #[test]
    fn the_first_byte_that_is_not_kept_is_told_once() {
        let mut book = Book::new();
        assert!(!book.take(CommandStream::Stdout, &vec![b'x'; OUTPUT]));
        assert!(book.take(CommandStream::Stdout, b"y"));
        assert!(!book.take(CommandStream::Stdout, b"z"));
    }

    proptest! {
        #[test]
        fn head_and_tail_are_kept_and_the_middle_is_counted(
            sizes in prop::collection::vec(1usize..20_000, 1..40), drain in any::<bool>(),
        ) {
            let mut book = Book::new();
            let mut sent = Vec::new();
            let mut entries = Vec::new();
            for (at, size) in sizes.iter().enumerate() {
                let chunk: Vec<u8> = (b'a'..=b'z').cycle().skip(at % 26).take(*size).collect();
                book.take(CommandStream::Stdout, &chunk);
                sent.extend(chunk);
                if drain {
                    entries.extend(book.ready());
                }
            }
            let (rest, omitted) = book.close();
            entries.extend(rest);
            let kept = bytes_of(&entries);
            prop_assert_eq!(kept.len() as u64 + omitted, sent.len() as u64);
            prop_assert!(kept.len() <= 2 * OUTPUT);
            let head = kept.len().min(OUTPUT).min(sent.len());
            prop_assert_eq!(&kept[..head], &sent[..head]);
            let tail = kept.len() - head;
            prop_assert_eq!(&kept[head..], &sent[sent.len() - tail..]);
        }
    }
}
