//! QEMU's run states, and what helps in each. Pure.
//!
//! The words and what may follow on what are QEMU's (`qapi/run-state.json`, `system/runstate.c`):
//! `cont` is refused in `internal-error` and `shutdown` until the machine was reset, and taken in
//! `postmigrate`, where it would give a disk two writers.

use std::fmt;

use crate::text;

/// Characters that are kept of a word that is not QEMU's.
const LONGEST: usize = 60;

/// What QEMU says of the guest's processors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunState {
    /// They run.
    Running,
    /// Stopped by a command.
    Paused,
    /// The guest sleeps (S3).
    Suspended,
    /// The guest has powered itself off, and QEMU was told to stay.
    Shutdown,
    /// The guest's storage gave an error, and QEMU was told to stop on it.
    IoError,
    /// QEMU or KVM met what it can't go on from.
    InternalError,
    /// Before the first instruction, or after a reset of a guest that was stopped.
    Prelaunch,
    /// The guest told of its panic.
    GuestPanicked,
    /// Waits for a guest that comes from another host.
    InMigrate,
    /// The guest has gone to another host.
    PostMigrate,
    /// The last part of the guest goes to another host.
    FinishMigrate,
    /// A snapshot of the guest's memory is written.
    SaveVm,
    /// A snapshot of the guest's memory is read.
    RestoreVm,
    /// The guest let its watchdog run out.
    Watchdog,
    /// A debugger holds it.
    Debug,
    /// Kept in step with a second one on another host.
    Colo,
    /// A word that this table does not have.
    Other(String),
}

/// What a change does to a guest in a run state that is not `running`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Help {
    /// It runs: there is nothing to do.
    Nothing,
    /// `start` lets it go on.
    GoesOn,
    /// `start` wakes it.
    Wakes,
    /// Only `reset` or `cycle` help: QEMU refuses to go on, or the guest is beyond it.
    Restart,
    /// `start` would come in between; it ends by itself.
    Waits,
    /// The guest is, or is about to be, on another host: it must not run here as well.
    Elsewhere,
    /// It can't be told.
    Unknown,
}

impl From<&str> for RunState {
    fn from(word: &str) -> RunState {
        let known = TABLE.iter().find(|row| row.0 == word);
        known.map_or_else(
            || RunState::Other(text::visible(word, LONGEST)),
            |row| row.1.clone(),
        )
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, row(self)) {
            (RunState::Other(word), _) => f.write_str(word),
            (_, Some(row)) => f.write_str(row.0),
            (_, None) => Ok(()),
        }
    }
}

type Row = (&'static str, RunState, Help, &'static str);

/// QEMU's word, what helps, and that as a sentence.
#[rustfmt::skip] // One row each.
const TABLE: [Row; 16] = [
    ("running", RunState::Running, Help::Nothing, ""),
    ("paused", RunState::Paused, Help::GoesOn, "a command stopped the guest: start lets it go on"),
    ("suspended", RunState::Suspended, Help::Wakes, "the guest sleeps (S3): start wakes it"),
    ("shutdown", RunState::Shutdown, Help::Restart,
        "the guest has powered itself off and QEMU can't let it go on: send cycle"),
    ("io-error", RunState::IoError, Help::GoesOn,
        "QEMU stopped the guest because its storage gives errors: free space on the host, or bring the storage back, \
         then send start"),
    ("internal-error", RunState::InternalError, Help::Restart,
        "QEMU met an error of its own and can't let the guest go on: send cycle, or reset"),
    ("prelaunch", RunState::Prelaunch, Help::GoesOn, "the guest stands before its first instruction: start lets it go on"),
    ("guest-panicked", RunState::GuestPanicked, Help::Restart, "the guest's kernel has panicked: send reset, or cycle"),
    ("inmigrate", RunState::InMigrate, Help::Elsewhere,
        "the guest is coming from another host and runs there until it is here: hands off, look at the migration"),
    ("postmigrate", RunState::PostMigrate, Help::Elsewhere,
        "the guest has gone to another host and runs there: hands off, look for it there"),
    ("finish-migrate", RunState::FinishMigrate, Help::Elsewhere,
        "the guest is going to another host: hands off, it ends by itself"),
    ("save-vm", RunState::SaveVm, Help::Waits,
        "a snapshot with the guest's memory is being written: wait; the guest goes on by itself"),
    ("restore-vm", RunState::RestoreVm, Help::Waits,
        "a snapshot with the guest's memory is being read: wait; the guest goes on by itself"),
    ("watchdog", RunState::Watchdog, Help::Restart,
        "the guest hung until its watchdog ran out: send reset, or cycle"),
    ("debug", RunState::Debug, Help::GoesOn,
        "a debugger that is attached to QEMU holds the guest: start lets it go on"),
    ("colo", RunState::Colo, Help::Elsewhere,
        "the guest is kept in step with a second one on another host: hands off, look at that"),
];

fn row(state: &RunState) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.1 == *state)
}

impl RunState {
    pub(crate) fn help(&self) -> Help {
        row(self).map_or(Help::Unknown, |row| row.2)
    }

    /// What helps, as a sentence; empty where nothing has to.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        row(self).map_or(
            "breakglass does not know this state of QEMU: look at the host; stop and cycle work as ever",
            |row| row.3,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the documentation of QEMU 10's `RunState`.
    const QEMUS: &str = "debug inmigrate internal-error io-error paused postmigrate prelaunch \
         finish-migrate restore-vm running save-vm shutdown suspended watchdog guest-panicked colo";

    #[test]
    fn every_word_of_qemus_is_known_and_reads_back() {
        assert_eq!(QEMUS.split(' ').count(), TABLE.len());
        for word in QEMUS.split(' ') {
            let state = RunState::from(word);
            assert!(!matches!(state, RunState::Other(_)), "{word}");
            assert_eq!(state.to_string(), word);
            assert_eq!(state.remedy().is_empty(), word == "running", "{word}");
        }
    }

    #[test]
    fn what_qemu_refuses_to_let_go_on_is_not_resumed_and_what_moved_is_not_touched() {
        let words = |help: Help| {
            let fits = TABLE.iter().filter(|row| row.2 == help).map(|row| row.0);
            fits.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(words(Help::GoesOn), "paused io-error prelaunch debug");
        assert_eq!(
            words(Help::Restart),
            "shutdown internal-error guest-panicked watchdog"
        );
        assert_eq!(
            words(Help::Elsewhere),
            "inmigrate postmigrate finish-migrate colo"
        );
    }

    #[test]
    fn a_word_of_a_later_qemu_is_kept_harmless_and_short() {
        let state = RunState::from("half\u{1b}[2Jway");
        assert_eq!(state.to_string(), r"half\u{1b}[2Jway");
        assert_eq!(state.help(), Help::Unknown);
        let long = RunState::from("x".repeat(5_000).as_str()).to_string();
        assert!(long.len() < 100, "{long}");
    }
}
