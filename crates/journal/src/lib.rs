//! The incident log: everything that anyone does, as one ordered, replayable, provable log.

#![forbid(unsafe_code)]

mod actor;
mod event;
mod frame;

pub use actor::Actor;
pub use event::*;
pub use frame::*;
