use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use super::outline::Outline;

/// The longest line that is kept, in bytes; of a longer one an [`Outline`] is.
pub const MAX_LINE: usize = 8 * 1024 * 1024;

/// Buffers that grew past this are given back after the line that needed them.
const KEEP: usize = 256 * 1024;

/// One line, without its newline.
#[derive(Debug)]
pub enum RawLine<'a> {
    /// The line.
    Whole(&'a [u8]),
    /// The line was longer than [`MAX_LINE`].
    TooLong(&'a Outline),
}

/// Reads lines of bounded length. Dropping the future of [`Lines::next`] loses nothing.
#[derive(Debug)]
pub struct Lines<R> {
    input: BufReader<R>,
    line: Vec<u8>,
    complete: bool,
    /// Of a line that is too long.
    outline: Option<Box<Outline>>,
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
            outline: None,
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
                if self.line.is_empty() && self.outline.is_none() {
                    return Ok(None);
                }
                break;
            }
            let end = memchr::memchr(b'\n', chunk);
            let part = &chunk[..end.unwrap_or(chunk.len())];
            if self.outline.is_none() && self.line.len() + part.len() > self.max {
                let line = std::mem::take(&mut self.line);
                self.outline = Some(Box::new(Outline::of(&line)));
            }
            match &mut self.outline {
                Some(outline) => outline.take(part),
                None => self.line.extend_from_slice(part),
            }
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_some() {
                break;
            }
        }
        self.complete = true;
        Ok(Some(match &self.outline {
            Some(outline) => RawLine::TooLong(outline),
            None => RawLine::Whole(&self.line),
        }))
    }

    fn reset(&mut self) {
        self.line.clear();
        self.line.shrink_to(KEEP);
        self.complete = false;
        self.outline = None;
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
