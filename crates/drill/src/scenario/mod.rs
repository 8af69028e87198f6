//! The incidents that can be rehearsed: each scenario breaks one machine and decides whether the
//! machine is repaired.

mod disk_full;
mod io_stall;
mod oom;
mod panic;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::str::FromStr;

pub(crate) use panic::SCREEN as PANIC_SCREEN;

use crate::machine::{Moment, Network, State, Unit};

/// A rehearsed incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scenario {
    /// A runaway trace log fills `/`; `app.service` can't start until there is space.
    DiskFull,
    /// A leaking worker uses all memory; the kernel kills `app.service` instead of it.
    Oom,
    /// QEMU's disk I/O is stuck: the monitor answers, SSH does not; only a cycle helps.
    IoStall,
    /// The guest's kernel has panicked; a reset or a cycle brings it back.
    Panic,
}

impl Scenario {
    /// Every scenario, in the order of the command line's help.
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

    /// One sentence about the incident, for the page and the command line.
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

    /// A machine broken by this scenario.
    ///
    /// # Errors
    /// If the machine's description can't be parsed.
    pub(crate) fn broken_machine(self) -> io::Result<State> {
        let mut state = State::healthy()?;
        match self {
            Scenario::DiskFull => disk_full::break_machine(&mut state),
            Scenario::Oom => oom::break_machine(&mut state),
            Scenario::IoStall => io_stall::break_machine(&mut state),
            Scenario::Panic => panic::break_machine(&mut state),
        }
        Ok(state)
    }

    /// Whether the machine is repaired: SSH answers, no unit has failed, the application runs, and
    /// the scenario's cause is gone.
    pub(crate) fn is_repaired(self, state: &State, now: Moment) -> bool {
        let guest = &state.guest;
        state.power.network(now) == Network::Up
            && guest.is_active("app")
            && !guest.units.iter().any(Unit::is_failed)
            && match self {
                Scenario::DiskFull => disk_full::has_space(state),
                Scenario::Oom => oom::has_memory(state, now),
                Scenario::IoStall | Scenario::Panic => true,
            }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The error for a word that is not the name of a scenario.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no scenario {0:?}; choose one of disk-full, oom, io-stall, panic")]
pub struct UnknownScenario(String);

impl FromStr for Scenario {
    type Err = UnknownScenario;

    fn from_str(word: &str) -> Result<Scenario, UnknownScenario> {
        let mut all = Scenario::ALL.into_iter();
        all.find(|scenario| scenario.as_str() == word)
            .ok_or_else(|| UnknownScenario(word.to_owned()))
    }
}
