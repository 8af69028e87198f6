//! stream-json: the lines that the CLI prints and those that we send, one JSON object each.
//!
//! Every release of the CLI adds new kinds of lines: they decode to [`Line::Unknown`] and never fail. A line
//! that is not JSON, or a known kind in an unknown shape, is a [`BadLine`]; [`read`] salvages an [`Excerpt`].

mod decode;
mod excerpt;
mod lenient_numbers;
mod lines;
mod send;
#[cfg(test)]
mod tests;
mod turn_result;
mod types;

pub use decode::{BadLine, decode};
pub use excerpt::Excerpt;
pub use lines::{Lines, MAX_LINE_BYTES, RawLine};
pub use send::{allow, deny, initialize, interrupt, prompt, refuse, set_model};
pub use types::{ApiRetry, Block, Line, Status, Text, ToolResult, ToolUseRequest, TurnResult};

/// Reads a line as far as possible. The flag is false if it is unknown, damaged or too long, even if its
/// [`Excerpt`] yields something.
#[must_use]
pub fn read<'a>(line: &RawLine<'a>) -> (Line<'a>, bool) {
    match *line {
        RawLine::TooLong(excerpt) => (excerpt.line(), false),
        RawLine::Whole(line) => match decode(line) {
            Ok(line) => {
                let is_known = !matches!(line, Line::Unknown);
                (line, is_known)
            }
            Err(error) => {
                tracing::debug!(%error, "a line of the CLI could not be decoded");
                (Excerpt::of(line).line(), false)
            }
        },
    }
}
