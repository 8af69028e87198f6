//! Makes a key, lets it into guest and gate, and takes both back.
//!
//! ```text
//! order ── steps: enroll, rotate, remove ──┬─ keys, pins (files here)
//!   │                                      └─ machine: look → plan → put → look
//!   └ show: the same as text                     │             │
//!                                          facts ┘   script ── operator's ssh (common/guest/host.sh)
//!                                          trial: logins with the key itself
//! ```
//! What is to be done is decided by pure functions of what was found ([`plan`], [`source`], [`line`],
//! [`pins`]); the scripts decide again where they run, so that one run twice, or half, does no harm. A key
//! is known by itself, never by its comment.

mod error;
mod facts;
mod keys;
mod line;
mod machine;
mod operator;
mod order;
mod pins;
mod plan;
mod script;
mod show;
mod source;
mod steps;
mod trial;

use std::fmt::Display;

pub use error::EnrollError;
pub use order::{Gate, GuestId, Order};
pub use plan::Change;
pub use show::{Step, removal as show_removal, steps as show_steps};
pub use source::Source;
pub use steps::{enroll, remove, rotate};

/// What there is to tell on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Where: `devvm.guest`, `here`.
    pub on: String,
    /// The change or the remark.
    pub what: What,
}

/// A change that was made, or in a dry run would be; or something to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A change.
    Change(Change),
    /// A remark, as a sentence.
    Note(String),
}

impl Told {
    fn change(on: &str, change: Change) -> Told {
        Told {
            on: on.to_owned(),
            what: What::Change(change),
        }
    }

    fn note(on: &str, note: impl Display) -> Told {
        Told {
            on: on.to_owned(),
            what: What::Note(note.to_string()),
        }
    }
}

/// Is told everything in its order.
pub type Tell<'a> = dyn FnMut(Told) + 'a;
