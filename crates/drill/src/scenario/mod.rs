//! What can be rehearsed: each scenario breaks one machine, and says when it is whole again.

mod disk_full;
mod io_stall;
mod oom;
mod panic;

use std::fmt;
use std::str::FromStr;

pub(crate) use panic::SCREEN as PANIC_SCREEN;

use crate::machine::{Moment, Network, State};

/// A rehearsed incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scenario {
    /// A runaway trace log fills `/`; `app.service` can't start until there is room.
    DiskFull,
    /// A leaking worker eats the memory; the kernel kills `app.service` instead of it.
    Oom,
    /// QEMU's disk I/O is stuck: SSH does not answer, the monitor does; only a cycle helps.
    IoStall,
    /// The guest's kernel has panicked; a reset or a cycle brings it back.
    Panic,
}

impl Scenario {
    /// Every scenario, in the order in which help lists them.
    pub const ALL: [Scenario; 4] = [
        Scenario::DiskFull,
        Scenario::Oom,
        Scenario::IoStall,
        Scenario::Panic,
    ];

    /// The scenario's name on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Scenario::DiskFull => "disk-full",
            Scenario::Oom => "oom",
            Scenario::IoStall => "io-stall",
            Scenario::Panic => "panic",
        }
    }

    /// One sentence for the page and the CLI: what the operator is about to find.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Scenario::DiskFull => "The guest's disk is full and its service is down.",
            Scenario::Oom => {
                "A process in the guest has eaten the memory and the kernel killed its service."
            }
            Scenario::IoStall => {
                "The guest's disk writes are stuck in QEMU: SSH does not answer, the monitor does."
            }
            Scenario::Panic => "The guest's kernel has panicked and nothing answers over SSH.",
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The word is no scenario's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no scenario {0:?}; choose one of disk-full, oom, io-stall, panic")]
pub struct UnknownScenario(String);

impl FromStr for Scenario {
    type Err = UnknownScenario;

    fn from_str(word: &str) -> Result<Scenario, UnknownScenario> {
        Scenario::ALL
            .into_iter()
            .find(|scenario| scenario.as_str() == word)
            .ok_or_else(|| UnknownScenario(word.to_owned()))
    }
}

/// Breaks a healthy machine.
pub(crate) fn break_machine(scenario: Scenario, state: &mut State) {
    match scenario {
        Scenario::DiskFull => disk_full::break_machine(state),
        Scenario::Oom => oom::break_machine(state),
        Scenario::IoStall => io_stall::break_machine(state),
        Scenario::Panic => panic::break_machine(state),
    }
}

/// Whether the machine is whole: SSH answers, no unit has failed, the application runs, and the
/// scenario's own cause is gone.
pub(crate) fn is_healthy(scenario: Scenario, state: &State, now: Moment) -> bool {
    let guest = &state.guest;
    let serves = state.power.network(now) == Network::Up
        && guest.is_active("app")
        && !guest.units.iter().any(crate::machine::Unit::is_failed);
    serves
        && match scenario {
            Scenario::DiskFull => disk_full::is_healthy(state),
            Scenario::Oom => oom::is_healthy(state, now),
            Scenario::IoStall | Scenario::Panic => true,
        }
}
