//! QEMU's run states, and how a guest recovers from each. Pure.
//!
//! The names and transitions are QEMU's (`qapi/run-state.json`, `system/runstate.c`): it refuses
//! `cont` in `internal-error` and `shutdown` until the machine is reset, and accepts it in
//! `postmigrate`, in which a resumed guest would be a second writer to its disks.

use std::borrow::Cow;
use std::fmt;

use crate::text;

/// Maximum number of characters of an unknown state.
const UNKNOWN_STATE_MAX_CHARS: usize = 60;

/// A run state of QEMU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunState {
    name: Cow<'static, str>,
    recovery: Recovery,
    remedy: &'static str,
}

/// How a guest recovers from a run state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// It runs: there is nothing to do.
    NotNeeded,
    /// `start` resumes it.
    Resume,
    /// `start` wakes it.
    Wake,
    /// Only `reset` or `cycle` helps: QEMU refuses to resume it, or its kernel has crashed.
    Restart,
    /// By itself: `start` would interfere.
    Wait,
    /// It is on another host, or will be soon, and must not run here as well.
    Elsewhere,
    /// Unknown.
    Unknown,
}

impl From<&str> for RunState {
    fn from(name: &str) -> RunState {
        if let Some((name, recovery, remedy)) = TABLE.iter().find(|row| row.0 == name) {
            return RunState {
                name: (*name).into(),
                recovery: *recovery,
                remedy,
            };
        }
        RunState {
            name: text::visible(name, UNKNOWN_STATE_MAX_CHARS).into(),
            recovery: Recovery::Unknown,
            remedy: "breakglass does not know this state of QEMU: check the host; stop and cycle work as usual",
        }
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl RunState {
    /// Whether the guest's processors run.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.recovery == Recovery::NotNeeded
    }

    pub(crate) fn recovery(&self) -> Recovery {
        self.recovery
    }

    /// A sentence on how the guest recovers; empty if it runs.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        self.remedy
    }
}

/// QEMU's name, how the guest recovers, and that as a sentence.
type Row = (&'static str, Recovery, &'static str);

#[rustfmt::skip] // One row each.
const TABLE: [Row; 16] = [
    ("running", Recovery::NotNeeded, ""),
    ("paused", Recovery::Resume, "a command stopped the guest: start resumes it"),
    ("suspended", Recovery::Wake, "the guest sleeps (S3): start wakes it"),
    ("shutdown", Recovery::Restart,
        "the guest has powered itself off and QEMU can't resume it: send cycle"),
    ("io-error", Recovery::Resume,
        "QEMU stopped the guest because its storage reports errors: free space on the host, or bring the storage back, \
         then send start"),
    ("internal-error", Recovery::Restart,
        "QEMU had an internal error and can't resume the guest: send cycle, or reset"),
    ("prelaunch", Recovery::Resume, "the guest has not executed its first instruction: start resumes it"),
    ("guest-panicked", Recovery::Restart, "the guest's kernel has panicked: send reset, or cycle"),
    ("inmigrate", Recovery::Elsewhere,
        "the guest is being migrated to this host and runs on its old one until then: do nothing here, check the migration"),
    ("postmigrate", Recovery::Elsewhere,
        "the guest was migrated to another host and runs there: do nothing here, continue on that host"),
    ("finish-migrate", Recovery::Elsewhere,
        "the guest is being migrated to another host: do nothing here, the migration ends by itself"),
    ("save-vm", Recovery::Wait,
        "a snapshot with the guest's memory is being written: wait; the guest resumes by itself"),
    ("restore-vm", Recovery::Wait,
        "a snapshot with the guest's memory is being read: wait; the guest resumes by itself"),
    ("watchdog", Recovery::Restart,
        "the guest hung until its watchdog expired: send reset, or cycle"),
    ("debug", Recovery::Resume,
        "a debugger that is attached to QEMU has stopped the guest: start resumes it"),
    ("colo", Recovery::Elsewhere,
        "the guest is replicated to a second one on another host: do nothing here, check the replication"),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// From the documentation of QEMU 10's `RunState`.
    const QEMU_STATES: &str = "debug inmigrate internal-error io-error paused postmigrate prelaunch \
         finish-migrate restore-vm running save-vm shutdown suspended watchdog guest-panicked colo";

    #[test]
    fn every_state_of_qemu_is_known() {
        assert_eq!(QEMU_STATES.split(' ').count(), TABLE.len());
        for word in QEMU_STATES.split(' ') {
            let state = RunState::from(word);
            assert_ne!(state.recovery(), Recovery::Unknown, "{word}");
            assert_eq!(state.to_string(), word);
            assert_eq!(state.remedy().is_empty(), word == "running", "{word}");
        }
    }

    #[test]
    fn guest_that_qemu_cannot_resume_or_that_moved_is_not_resumed() {
        let names = |recovery: Recovery| {
            let fits = TABLE
                .iter()
                .filter(|row| row.1 == recovery)
                .map(|row| row.0);
            fits.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(Recovery::Resume), "paused io-error prelaunch debug");
        assert_eq!(
            names(Recovery::Restart),
            "shutdown internal-error guest-panicked watchdog"
        );
        assert_eq!(
            names(Recovery::Elsewhere),
            "inmigrate postmigrate finish-migrate colo"
        );
    }

    #[test]
    fn unknown_state_is_escaped_and_short() {
        let state = RunState::from("half\u{1b}[2Jway");
        assert_eq!(state.to_string(), r"half\u{1b}[2Jway");
        assert_eq!(state.recovery(), Recovery::Unknown);
        let long = RunState::from("x".repeat(5_000).as_str()).to_string();
        assert!(long.len() < 100, "{long}");
    }
}
