//! A turn, from the operator's prompt until the agent has finished it: a pure function from inputs to effects.
//!
//! ```text
//!            Stop, TimeLimit                 result, Gone
//! Running ───────────────────► Ending(why) ───────────────► Ended
//!    │                                                        ▲
//!    └──────────────── result, Gone ──────────────────────────┘
//! ```
//!
//! Whatever the CLI prints, a turn records `turn_ended` exactly once and as its last event, and every
//! `tool_started` is followed by one `tool_finished` before it. Nothing here waits, reads a clock or writes:
//! [`crate::conversation`] does.

mod call;
mod effect;
mod ending;
mod messages;
mod permissions;
mod questions;
mod state;
mod tools;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub(crate) use effect::{Effect, Input};
pub(crate) use state::Turn;
