//! The vocabulary that every other crate shares: what can happen in an incident ([`Event`]), what is shown and
//! not kept ([`Frame`]), who acts ([`Actor`]), how time is written, and how text from outside is made safe.
//!
//! It owns the types and their wire format; storing, sending and deciding are other crates' business.

#![forbid(unsafe_code)]

mod actor;
pub mod clock;
mod diagnosis;
mod event;
mod frame;
pub mod gateway;
mod machine;
mod outcome;
mod side;
mod text;
mod time;
pub mod word;

pub use actor::Actor;
pub use breakglass_verbs::{Verb, Verdict};
pub use diagnosis::Diagnosis;
pub use event::*;
pub use frame::*;
pub use machine::Machine;
pub use outcome::*;
pub use side::Side;
pub use text::{bounded, sentence, visible};
pub use time::Time;
