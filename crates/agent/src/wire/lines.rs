//! Reads lines of bounded length.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use super::excerpt::Excerpt;

/// Maximum length of a line that is kept whole; a longer one is reduced to an [`Excerpt`].
pub const MAX_LINE_BYTES: usize = 8 * 1024 * 1024;

/// A line buffer that grew beyond this is shrunk after the line.
const BUFFER_KEPT_BYTES: usize = 256 * 1024;
/// Size of the read buffer.
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// One line, without its newline.
#[derive(Debug)]
pub enum RawLine<'a> {
    /// The line.
    Whole(&'a [u8]),
    /// The line was longer than [`MAX_LINE_BYTES`].
    TooLong(&'a Excerpt),
}

/// Reads lines of bounded length. Dropping the future of [`Lines::next`] loses nothing.
#[derive(Debug)]
pub struct Lines<R> {
    input: BufReader<R>,
    line: Vec<u8>,
    complete: bool,
    /// The line's excerpt, once it is too long.
    excerpt: Option<Box<Excerpt>>,
    max: usize,
    rejects_long_lines: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Reads from `input`.
    pub fn new(input: R) -> Lines<R> {
        Lines::with_max(input, MAX_LINE_BYTES)
    }

    pub(crate) fn with_max(input: R, max: usize) -> Lines<R> {
        let input = BufReader::with_capacity(READ_BUFFER_BYTES, input);
        Lines {
            input,
            line: Vec::new(),
            complete: false,
            excerpt: None,
            max,
            rejects_long_lines: false,
        }
    }

    /// Reads from `input`, and fails with [`io::ErrorKind::InvalidData`] once a line is longer than
    /// [`MAX_LINE_BYTES`], even if the line never ends.
    pub fn rejecting_long_lines(input: R) -> Lines<R> {
        Lines {
            rejects_long_lines: true,
            ..Lines::new(input)
        }
    }

    /// The next line; none at the end of the input. A last line without a newline counts.
    ///
    /// # Errors
    /// The reader's error.
    pub async fn next(&mut self) -> io::Result<Option<RawLine<'_>>> {
        if self.complete {
            self.reset();
        }
        loop {
            let chunk = self.input.fill_buf().await?;
            if chunk.is_empty() {
                if self.line.is_empty() && self.excerpt.is_none() {
                    return Ok(None);
                }
                break;
            }
            let end = memchr::memchr(b'\n', chunk);
            let part = &chunk[..end.unwrap_or(chunk.len())];
            if self.excerpt.is_none() && self.line.len() + part.len() > self.max {
                if self.rejects_long_lines {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                let line = std::mem::take(&mut self.line);
                self.excerpt = Some(Box::new(Excerpt::of(&line)));
            }
            match &mut self.excerpt {
                Some(excerpt) => excerpt.push(part),
                None => self.line.extend_from_slice(part),
            }
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_some() {
                break;
            }
        }
        self.complete = true;
        Ok(Some(match &self.excerpt {
            Some(excerpt) => RawLine::TooLong(excerpt),
            None => RawLine::Whole(&self.line),
        }))
    }

    /// The next bytes, for a caller that passes them on and does not read lines; empty at the end of the input.
    ///
    /// # Errors
    /// The reader's error.
    pub(crate) async fn next_chunk(&mut self) -> io::Result<Bytes> {
        let chunk = Bytes::copy_from_slice(self.input.fill_buf().await?);
        self.input.consume(chunk.len());
        Ok(chunk)
    }

    fn reset(&mut self) {
        self.line.clear();
        self.line.shrink_to(BUFFER_KEPT_BYTES);
        self.complete = false;
        self.excerpt = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(input: &[u8], max: usize) -> Vec<Option<Vec<u8>>> {
        let mut lines = Lines::with_max(input, max);
        let mut all = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            all.push(match line {
                RawLine::Whole(line) => Some(line.to_vec()),
                RawLine::TooLong(_) => None,
            });
        }
        all
    }

    #[tokio::test]
    async fn lines_come_without_their_newline_and_the_last_needs_none() {
        let whole = |text: &str| Some(text.as_bytes().to_vec());
        assert_eq!(
            read(b"a\n\nbc", 9).await,
            [whole("a"), whole(""), whole("bc")]
        );
    }

    #[tokio::test]
    async fn a_line_past_the_limit_is_not_kept_and_the_next_is_read() {
        let input = [&[b'x'; 200_000][..], b"\nok\n"].concat();
        assert_eq!(read(&input, 100_000).await, [None, Some(b"ok".to_vec())]);
    }

    #[tokio::test]
    async fn a_line_of_exactly_the_limit_is_whole() {
        assert_eq!(read(b"12345\n", 5).await, [Some(b"12345".to_vec())]);
    }
}
