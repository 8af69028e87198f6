//! Input whose lines are of bounded length, also where a line never ends.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use breakglass_agent::wire::MAX_LINE;
use tokio::io::{AsyncRead, ReadBuf};

/// Fails with [`io::ErrorKind::InvalidData`] once a line is longer than [`MAX_LINE`].
#[derive(Debug)]
pub(crate) struct ShortLines<R> {
    input: R,
    /// Bytes of the line that has begun.
    line: usize,
}

impl<R> ShortLines<R> {
    pub(crate) fn of(input: R) -> ShortLines<R> {
        ShortLines { input, line: 0 }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for ShortLines<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.input).poll_read(context, buffer))?;
        let fresh = buffer.filled().get(before..).unwrap_or_default();
        self.line = match fresh.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => fresh.len() - end - 1,
            None => self.line + fresh.len(),
        };
        Poll::Ready(match self.line > MAX_LINE {
            true => Err(io::ErrorKind::InvalidData.into()),
            false => Ok(()),
        })
    }
}
