//! Enrolment: creates a key, and sets up guest and host for it; rotates the key, or removes everything again.
//!
//! ```text
//! request ── steps: enroll, rotate, remove ──┬─ keys, pins (local files)
//!   │                                        └─ machine: inspect → plan → apply → inspect
//!   └ manual: the same steps as text                 │              │
//!                                              facts ┘    script ── operator's ssh (common/guest/host.sh)
//!                                              test_login: logins with the new key
//! ```
//! Pure functions decide what to change ([`plan`], [`source`], [`key_line`], [`pins`]). The scripts check again on the
//! machine, so that a script that runs twice, or is interrupted, does no harm. Keys are identified by their value,
//! never by their comment.

mod error;
mod facts;
mod key_line;
mod keys;
mod machine;
mod manual;
mod operator;
mod pins;
mod plan;
mod request;
mod script;
mod source;
mod steps;
mod test_login;

use std::fmt::Display;

pub use error::EnrollError;
pub use manual::{Step, manual_removal, manual_steps};
pub use plan::Change;
pub use request::{EnrollRequest, Gate, GuestId};
pub use source::Source;
pub use steps::{enroll, remove, rotate};

/// One message about the progress of enrolment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The machine: `devvm.guest`, or `here`.
    pub on: String,
    /// The change or the note.
    pub kind: ProgressKind,
}

/// A change that was made (in a dry run: would be made), or a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgressKind {
    /// A change.
    Change(Change),
    /// A note, as a sentence.
    Note(String),
}

impl Progress {
    fn change(on: &str, change: Change) -> Progress {
        Progress {
            on: on.to_owned(),
            kind: ProgressKind::Change(change),
        }
    }

    fn note(on: &str, note: impl Display) -> Progress {
        Progress {
            on: on.to_owned(),
            kind: ProgressKind::Note(note.to_string()),
        }
    }
}

/// Receives all messages in order.
pub type OnProgress<'a> = dyn FnMut(Progress) + 'a;
