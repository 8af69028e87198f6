//! What guest and host print is hostile text: made harmless here, before it is kept anywhere.

use breakglass_model::visible;

/// Longest line that is kept, in bytes; the rest of it is counted.
pub(crate) const LINE_LIMIT: usize = 2048;

/// Cuts one stream of bytes into lines of at most [`LINE_LIMIT`] bytes.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    open: Vec<u8>,
    cut: usize,
}

impl Lines {
    /// Takes more bytes and hands each line that they complete to `emit`.
    pub(crate) fn push(&mut self, mut bytes: &[u8], emit: &mut dyn FnMut(&str)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.keep(&bytes[..end]);
            self.flush(emit);
            bytes = &bytes[end + 1..];
        }
        self.keep(bytes);
    }

    /// Hands out what is left when the stream ends.
    pub(crate) fn finish(&mut self, emit: &mut dyn FnMut(&str)) {
        if !self.open.is_empty() {
            self.flush(emit);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = LINE_LIMIT.saturating_sub(self.open.len()).min(bytes.len());
        self.open.extend_from_slice(&bytes[..room]);
        self.cut += bytes.len() - room;
    }

    fn flush(&mut self, emit: &mut dyn FnMut(&str)) {
        if self.cut == 0 && self.open.last() == Some(&b'\r') {
            self.open.pop();
        }
        let mut line = visible(&String::from_utf8_lossy(&self.open));
        if self.cut > 0 {
            line.push_str(&format!(" … ({} more bytes)", self.cut));
        }
        emit(&line);
        self.open.clear();
        self.cut = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::default();
        let mut out = Vec::new();
        for chunk in chunks {
            lines.push(chunk, &mut |line| out.push(line.to_owned()));
        }
        lines.finish(&mut |line| out.push(line.to_owned()));
        out
    }

    #[test]
    fn control_sequences_and_bytes_that_are_no_text_become_visible() {
        assert_eq!(
            split(&[b"a\tb \xc3\xa9\n\x1b[2J\xff"]),
            ["a\tb é", "␛[2J\u{fffd}"]
        );
    }

    #[test]
    fn a_line_longer_than_the_limit_is_cut_and_counted() {
        let long = vec![b'x'; LINE_LIMIT + 10];
        let lines = split(&[&long, b"\nnext"]);
        assert!(lines[0].ends_with("x … (10 more bytes)"), "{}", lines[0]);
        assert_eq!(lines[1], "next");
    }

    #[test]
    fn carriage_returns_at_line_ends_are_dropped() {
        assert_eq!(split(&[b"a\r\nb\r", b"\nc"]), ["a", "b", "c"]);
    }

    proptest! {
        #[test]
        fn where_chunks_are_cut_does_not_change_the_lines(
            text in "[a-z\n\r]{0,200}", at in 0usize..200,
        ) {
            let bytes = text.as_bytes();
            let at = at.min(bytes.len());
            prop_assert_eq!(split(&[bytes]), split(&[&bytes[..at], &bytes[at..]]));
        }
    }
}
