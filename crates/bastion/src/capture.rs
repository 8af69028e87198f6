//! Bounded capture of one command's streams: the head as it arrives, the tail when the command has
//! ended; the bytes between are counted. Pure.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use breakglass_model::{CommandStream, visible};

/// Bytes kept of the head, and as many of the tail. Standard output and error share the first limit.
const OUTPUT_KEPT_BYTES: usize = 32 * 1024;
const INPUT_KEPT_BYTES: usize = 16 * 1024;
/// Maximum bytes of one run, so that an event stays small.
const RUN_MAX_BYTES: usize = 16 * 1024;

/// Consecutive bytes of one stream, as they are recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CapturedRun {
    pub(crate) stream: CommandStream,
    pub(crate) text: String,
    /// The bytes themselves (base64), if `text` differs from them.
    pub(crate) raw: Option<String>,
}

/// The capture of one command's streams.
#[derive(Debug)]
pub(crate) struct StreamCapture {
    output: HeadAndTail,
    input: HeadAndTail,
}

impl StreamCapture {
    pub(crate) fn new() -> StreamCapture {
        StreamCapture {
            output: HeadAndTail::new(OUTPUT_KEPT_BYTES),
            input: HeadAndTail::new(INPUT_KEPT_BYTES),
        }
    }

    /// Adds bytes. Returns true the first time that not all of the output can be kept.
    pub(crate) fn take(&mut self, stream: CommandStream, bytes: &[u8]) -> bool {
        match stream {
            CommandStream::Stdin => {
                self.input.take(stream, bytes);
                false
            }
            CommandStream::Stdout | CommandStream::Stderr => self.output.take(stream, bytes),
        }
    }

    /// The part of the heads that has not been returned yet, up to the last complete character.
    pub(crate) fn ready(&mut self) -> Vec<CapturedRun> {
        let mut runs = self.input.ready(false);
        runs.extend(self.output.ready(false));
        runs
    }

    /// Everything that has not been returned yet, and the number of omitted bytes.
    pub(crate) fn close(mut self) -> (Vec<CapturedRun>, u64) {
        let mut runs = self.input.ready(true);
        runs.extend(self.output.ready(true));
        let omitted = self.input.omitted + self.output.omitted;
        runs.extend(self.input.last());
        runs.extend(self.output.last());
        (runs, omitted)
    }
}

#[derive(Debug)]
struct HeadAndTail {
    limit: usize,
    /// Bytes left for the head.
    room: usize,
    pending: Vec<(CommandStream, Vec<u8>)>,
    tail: VecDeque<(CommandStream, Vec<u8>)>,
    tail_bytes: usize,
    omitted: u64,
}

impl HeadAndTail {
    fn new(limit: usize) -> HeadAndTail {
        HeadAndTail {
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
            Some((last, held)) if *last == stream && held.len() < RUN_MAX_BYTES => {
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

    /// An incomplete last character waits for its rest, unless `all` is set.
    fn ready(&mut self, all: bool) -> Vec<CapturedRun> {
        let mut held = None;
        let mut runs = Vec::new();
        let pending = std::mem::take(&mut self.pending);
        let last = pending.len().saturating_sub(1);
        for (place, (stream, mut bytes)) in pending.into_iter().enumerate() {
            if !all && place == last {
                let rest = bytes.split_off(complete(&bytes));
                held = (!rest.is_empty()).then_some((stream, rest));
            }
            runs.extend(cut(stream, &bytes));
        }
        self.pending.extend(held);
        runs
    }

    fn last(&mut self) -> Vec<CapturedRun> {
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

fn cut(stream: CommandStream, bytes: &[u8]) -> Vec<CapturedRun> {
    bytes
        .chunks(RUN_MAX_BYTES)
        .map(|bytes| run(stream, bytes))
        .collect()
}

fn run(stream: CommandStream, bytes: &[u8]) -> CapturedRun {
    let text = visible(&String::from_utf8_lossy(bytes));
    let raw = (text.as_bytes() != bytes).then(|| STANDARD.encode(bytes));
    CapturedRun { stream, text, raw }
}

/// The number of bytes up to the last complete character.
fn complete(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes_of(runs: &[CapturedRun]) -> Vec<u8> {
        let one = |run: &CapturedRun| match &run.raw {
            Some(raw) => STANDARD.decode(raw).unwrap(),
            None => run.text.clone().into_bytes(),
        };
        runs.iter().flat_map(one).collect()
    }

    #[test]
    fn character_that_arrives_in_two_parts_is_recorded_in_one() {
        let mut capture = StreamCapture::new();
        capture.take(CommandStream::Stdout, &[b'a', 0xc3]);
        assert_eq!(capture.ready()[0].text, "a");
        capture.take(CommandStream::Stdout, &[0xa9]);
        assert_eq!(capture.ready()[0].text, "é");
    }

    #[test]
    fn control_sequences_are_made_visible_and_their_bytes_are_kept() {
        let mut capture = StreamCapture::new();
        capture.take(CommandStream::Stderr, b"\x1b[2J");
        let runs = capture.close().0;
        assert_eq!(runs[0].text, "␛[2J");
        assert_eq!(bytes_of(&runs), b"\x1b[2J");
    }

    #[test]
    fn first_omitted_byte_is_reported_once() {
        let mut capture = StreamCapture::new();
        assert!(!capture.take(CommandStream::Stdout, &vec![b'x'; OUTPUT_KEPT_BYTES]));
        assert!(capture.take(CommandStream::Stdout, b"y"));
        assert!(!capture.take(CommandStream::Stdout, b"z"));
    }

    proptest! {
        #[test]
        fn head_and_tail_are_kept_and_the_bytes_between_are_counted(
            sizes in prop::collection::vec(1usize..20_000, 1..40), drain in any::<bool>(),
        ) {
            let mut capture = StreamCapture::new();
            let mut sent = Vec::new();
            let mut runs = Vec::new();
            for (at, size) in sizes.iter().enumerate() {
                let chunk: Vec<u8> = (b'a'..=b'z').cycle().skip(at % 26).take(*size).collect();
                capture.take(CommandStream::Stdout, &chunk);
                sent.extend(chunk);
                if drain {
                    runs.extend(capture.ready());
                }
            }
            let (rest, omitted) = capture.close();
            runs.extend(rest);
            let kept = bytes_of(&runs);
            prop_assert_eq!(kept.len() as u64 + omitted, sent.len() as u64);
            prop_assert!(kept.len() <= 2 * OUTPUT_KEPT_BYTES);
            let head = kept.len().min(OUTPUT_KEPT_BYTES).min(sent.len());
            prop_assert_eq!(&kept[..head], &sent[..head]);
            let tail = kept.len() - head;
            prop_assert_eq!(&kept[head..], &sent[sent.len() - tail..]);
        }
    }
}
