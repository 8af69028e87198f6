//! The closed table of verbs that may be sent to a hypervisor, and of the verdicts that it returns.
//!
//! The server and the gate share this crate and nothing else: the server refuses an unknown verb
//! before it opens a connection, and the gate refuses it again. Both also use [`HIDDEN`] to decide
//! which characters of foreign text to escape.

#![forbid(unsafe_code)]

mod hidden;
mod verb;
mod verdict;

pub use hidden::{HIDDEN, is_hidden};
pub use verb::{Request, Verb};
pub use verdict::Verdict;
