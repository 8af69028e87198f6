use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// The longest line that is read, in bytes; a longer one is skipped.
pub const MAX_LINE: usize = 8 * 1024 * 1024;

/// Buffers that grew past this are given back after the line that needed them.
const KEEP: usize = 256 * 1024;

/// One line, without its newline.
#[derive(Debug, PartialEq, Eq)]
pub enum RawLine<'a> {
    /// The line.
    Whole(&'a [u8]),
    /// The line was longer than [`MAX_LINE`]; nothing of it was kept.
    TooLong,
}

/// Reads lines of bounded length. Dropping the future of [`Lines::next`] loses nothing.
#[derive(Debug)]
pub struct Lines<R> {
    input: BufReader<R>,
    line: Vec<u8>,
    complete: bool,
    too_long: bool,
    max: usize,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Reads from `input`.
    pub fn new(input: R) -> Lines<R> {
        Lines::with_max(input, MAX_LINE)
    }

    pub(crate) fn with_max(input: R, max: usize) -> Lines<R> {
        let input = BufReader::with_capacity(64 * 1024, input);
        Lines {
            input,
            line: Vec::new(),
            complete: false,
            too_long: false,
            max,
        }
    }

    /// The next line; none at the end. A last line without a newline counts.
    ///
    /// # Errors
    /// What the reader says.
    pub async fn next(&mut self) -> io::Result<Option<RawLine<'_>>> {
        if self.complete {
            self.reset();
        }
        loop {
            let chunk = self.input.fill_buf().await?;
            if chunk.is_empty() {
                if self.line.is_empty() && !self.too_long {
                    return Ok(None);
                }
                break;
            }
            let end = memchr::memchr(b'\n', chunk);
            let part = &chunk[..end.unwrap_or(chunk.len())];
            self.too_long |= self.line.len() + part.len() > self.max;
            if self.too_long {
                self.line.clear();
            } else {
                self.line.extend_from_slice(part);
            }
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_some() {
                break;
            }
        }
        self.complete = true;
        Ok(Some(if self.too_long {
            RawLine::TooLong
        } else {
            RawLine::Whole(&self.line)
        }))
    }

    fn reset(&mut self) {
        self.line.clear();
        self.line.shrink_to(KEEP);
        self.complete = false;
        self.too_long = false;
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
                RawLine::TooLong => None,
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
    async fn a_line_past_the_limit_is_skipped_and_the_next_is_read() {
        let input = [&[b'x'; 200_000][..], b"\nok\n"].concat();
        assert_eq!(read(&input, 100_000).await, [None, Some(b"ok".to_vec())]);
    }

    #[tokio::test]
    async fn a_line_of_exactly_the_limit_is_whole() {
        assert_eq!(read(b"12345\n", 5).await, [Some(b"12345".to_vec())]);
    }
}
