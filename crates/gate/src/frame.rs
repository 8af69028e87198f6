//! The frames in which one process of the gate passes a verb's output to another: a worker writes
//! them to its run file, a probe process to its stdout.
//!
//! `|` begins an output line, `!` an error line, `P` the length of a picture whose bytes follow,
//! and `=` the exit code, which comes last.

use std::io::{BufRead, Read, Write};

use crate::output::Output;

/// Maximum size of a line or a picture.
const FRAME_MAX_BYTES: u64 = 8 << 20;

/// One piece of a verb's output.
pub(crate) enum Frame {
    Line(String),
    Error(String),
    Picture(Vec<u8>),
    Exit(u8),
}

impl Frame {
    /// Reads the next frame; none at the end of the stream and after malformed input.
    pub(crate) fn read(reader: &mut impl BufRead) -> Option<Frame> {
        let mut line = Vec::new();
        let mut bounded = reader.take(FRAME_MAX_BYTES);
        bounded.read_until(b'\n', &mut line).ok()?;
        let line = line.strip_suffix(b"\n")?;
        let Some(length) = line.strip_prefix(b"P") else {
            return Frame::parse(line);
        };
        let length = std::str::from_utf8(length).ok()?.parse().ok()?;
        let mut bytes = Vec::new();
        if length > FRAME_MAX_BYTES {
            return None;
        }
        reader.take(length).read_to_end(&mut bytes).ok()?;
        Some(Frame::Picture(bytes))
    }

    /// Parses a line, without its line end, that is not the beginning of a picture.
    pub(crate) fn parse(line: &[u8]) -> Option<Frame> {
        let line = String::from_utf8_lossy(line);
        match line.split_at_checked(1)? {
            ("|", text) => Some(Frame::Line(text.to_owned())),
            ("!", text) => Some(Frame::Error(text.to_owned())),
            ("=", exit) => exit.parse().ok().map(Frame::Exit),
            _ => None,
        }
    }
}

/// Writes a verb's output as frames. Ignores errors, like every [`Output`].
pub(crate) struct FrameWriter<W: Write>(pub(crate) W);

impl<W: Write> FrameWriter<W> {
    /// Writes the exit code, the last frame.
    pub(crate) fn exit(&mut self, code: u8) {
        self.write('=', &code.to_string());
    }

    fn write(&mut self, mark: char, text: &str) {
        let text = text.replace('\n', " ");
        let _ = self.0.write_all(format!("{mark}{text}\n").as_bytes());
        let _ = self.0.flush();
    }
}

impl<W: Write> Output for FrameWriter<W> {
    fn line(&mut self, text: &str) {
        self.write('|', text);
    }

    fn error(&mut self, text: &str) {
        self.write('!', text);
    }

    fn picture(&mut self, bytes: &[u8]) {
        self.write('P', &bytes.len().to_string());
        let _ = self.0.write_all(bytes).and_then(|()| self.0.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_frames_read_back() {
        let mut writer = FrameWriter(Vec::new());
        writer.line("qemu: no process\n=0");
        writer.error("");
        writer.picture(b"\x89PNG\n=0\n");
        writer.exit(3);
        let mut reader = writer.0.as_slice();
        let mut next = || Frame::read(&mut reader);
        assert!(matches!(next(), Some(Frame::Line(text)) if text == "qemu: no process =0"));
        assert!(matches!(next(), Some(Frame::Error(text)) if text.is_empty()));
        assert!(matches!(next(), Some(Frame::Picture(bytes)) if bytes == b"\x89PNG\n=0\n"));
        assert!(matches!(next(), Some(Frame::Exit(3))));
        assert!(next().is_none());
    }

    #[test]
    fn malformed_frames_are_not_read() {
        for text in [
            "",
            "\n",
            "x\n",
            "=\n",
            "=256\n",
            "P-1\n",
            "P99999999\n",
            "|half",
        ] {
            assert!(Frame::read(&mut text.as_bytes()).is_none(), "{text:?}");
        }
    }
}
