//! Splits what guest and host print into lines. That text is hostile: control characters are made
//! visible here, before anything is stored or shown.

use breakglass_model::{OutputStream, visible};

/// Maximum bytes kept of one line; the bytes after it are counted.
pub(crate) const LINE_MAX_BYTES: usize = 2048;

/// Splits one stream of bytes into lines of at most [`LINE_MAX_BYTES`] bytes.
#[derive(Debug, Default)]
struct LineSplitter {
    open: Vec<u8>,
    omitted: usize,
}

impl LineSplitter {
    fn push(&mut self, mut bytes: &[u8], emit: &mut dyn FnMut(&str)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.keep(&bytes[..end]);
            self.flush(emit);
            bytes = &bytes[end + 1..];
        }
        self.keep(bytes);
    }

    fn finish(&mut self, emit: &mut dyn FnMut(&str)) {
        if !self.open.is_empty() {
            self.flush(emit);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = LINE_MAX_BYTES.saturating_sub(self.open.len());
        let kept = room.min(bytes.len());
        self.open.extend_from_slice(&bytes[..kept]);
        self.omitted += bytes.len() - kept;
    }

    fn flush(&mut self, emit: &mut dyn FnMut(&str)) {
        if self.omitted == 0 && self.open.last() == Some(&b'\r') {
            self.open.pop();
        }
        let mut line = visible(&String::from_utf8_lossy(&self.open));
        if self.omitted > 0 {
            line.push_str(&format!(" … ({} more bytes)", self.omitted));
        }
        emit(&line);
        self.open.clear();
        self.omitted = 0;
    }
}

/// Splits a command's two output streams into lines.
#[derive(Debug, Default)]
pub(crate) struct OutputLines {
    stdout: LineSplitter,
    stderr: LineSplitter,
}

impl OutputLines {
    /// Adds `bytes` and passes each line that they complete to `emit`.
    pub(crate) fn push(
        &mut self,
        stream: OutputStream,
        bytes: &[u8],
        mut emit: impl FnMut(OutputStream, &str),
    ) {
        let splitter = match stream {
            OutputStream::Stdout => &mut self.stdout,
            OutputStream::Stderr => &mut self.stderr,
        };
        splitter.push(bytes, &mut |line| emit(stream, line));
    }

    /// Passes the unfinished last line of each stream to `emit`.
    pub(crate) fn finish(&mut self, mut emit: impl FnMut(OutputStream, &str)) {
        let (stdout, stderr) = (OutputStream::Stdout, OutputStream::Stderr);
        self.stdout.finish(&mut |line| emit(stdout, line));
        self.stderr.finish(&mut |line| emit(stderr, line));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<String> {
        let mut lines = LineSplitter::default();
        let mut out = Vec::new();
        for chunk in chunks {
            lines.push(chunk, &mut |line| out.push(line.to_owned()));
        }
        lines.finish(&mut |line| out.push(line.to_owned()));
        out
    }

    #[test]
    fn control_sequences_and_invalid_utf8_become_visible() {
        assert_eq!(
            split(&[b"a\tb \xc3\xa9\n\x1b[2J\xff"]),
            ["a\tb é", "␛[2J\u{fffd}"]
        );
    }

    #[test]
    fn line_over_the_maximum_is_cut_and_its_omitted_bytes_are_counted() {
        let long = vec![b'x'; LINE_MAX_BYTES + 10];
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
        fn chunk_boundaries_do_not_change_the_lines(
            text in "[a-z\n\r]{0,200}", at in 0usize..200,
        ) {
            let bytes = text.as_bytes();
            let at = at.min(bytes.len());
            prop_assert_eq!(split(&[bytes]), split(&[&bytes[..at], &bytes[at..]]));
        }
    }
}
