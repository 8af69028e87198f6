//! stream-json: the CLI's lines, one JSON object each, and ours.
//!
//! The CLI prints a few hundred bytes for every few characters that the model types, so a line is
//! decoded in place: the two most frequent kinds at once, all others by an envelope first, which
//! borrows the one part that matters as raw JSON, then that part alone. New kinds come with every release of the CLI; they decode to
//! [`Line::Unknown`] and never fail. What is not JSON, or a known kind in an unknown shape, is a
//! [`BadLine`], which the caller counts.

mod at_once;
mod decode;
mod lines;
mod send;
#[cfg(test)]
mod tests;
mod types;

pub use decode::{BadLine, decode};
pub use lines::{Lines, MAX_LINE, RawLine};
pub use send::{allow, deny, initialize, interrupt, prompt, refuse, set_model};
pub use types::{ApiRetry, Block, Ending, Line, Question, Text, ToolResult};
