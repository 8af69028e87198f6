//! The closed table of what may be said to a hypervisor, and of what it may answer.
//!
//! Both ends of the power path are built on this crate and on nothing else they share: the
//! server refuses an unknown verb before it opens a connection, and the gate refuses it again.
//! What both show of foreign text they judge by one table as well, [`HIDDEN`].

#![forbid(unsafe_code)]

mod hidden;
mod verb;
mod verdict;

pub use hidden::{HIDDEN, is_hidden};
pub use verb::{Request, Verb};
pub use verdict::Verdict;
