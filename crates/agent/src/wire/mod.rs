//! stream-json: the CLI's lines, one JSON object each, and ours.
//!
//! The CLI prints a few hundred bytes for every few characters that the model types, so a line is
//! decoded in place: the two most frequent kinds at once, all others by an envelope first, which
//! borrows the one part that matters as raw JSON, then that part alone. New kinds come with every release of the CLI; they decode to
//! [`Line::Unknown`] and never fail. What is not JSON, or a known kind in an unknown shape, is a
//! [`BadLine`], which the caller counts.

mod at_once;
mod decode;
mod lenient;
mod lines;
mod outline;
mod send;
mod stub;
#[cfg(test)]
mod tests;
mod types;

pub use decode::{BadLine, decode};
pub use lines::{Lines, MAX_LINE, RawLine};
pub use outline::Outline;
pub use send::{allow, deny, initialize, interrupt, prompt, refuse, set_model};
pub(crate) use stub::stub;
pub use types::{ApiRetry, Block, Ending, Line, Question, Status, Text, ToolResult};

/// What a line says, as far as it can be read, and whether it was: what is not known here, damaged
/// or too long counts as unread, even where its [`Outline`] says something.
#[must_use]
pub fn read<'a>(line: &RawLine<'a>) -> (Line<'a>, bool) {
    match *line {
        RawLine::TooLong(outline) => (outline.line(), false),
        RawLine::Whole(line) => match decode(line) {
            Ok(line) => {
                let known = !matches!(line, Line::Unknown);
                (line, known)
            }
            Err(error) => {
                tracing::debug!(%error, "not read");
                (Outline::of(line).line(), false)
            }
        },
    }
}
