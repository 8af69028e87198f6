//! One coherent state of a simulated guest and its QEMU process.
//!
//! There is one lock. Shell commands, the gate's driver and the listeners all take it for one short
//! step, and time that has passed is accounted for at each taking: nobody sees half a change.

mod base;
mod clock;
mod content;
mod disk;
mod guest;
mod journal;
mod memory;
mod power;
mod process;
#[cfg(test)]
mod tests;
mod unit;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

pub(crate) use clock::{Clock, Moment};
pub(crate) use content::{Content, cut, tail};
pub(crate) use disk::{BLOCK, Disk, DiskError, Node, parent, resolve};
pub(crate) use guest::Guest;
pub(crate) use journal::Entry;
pub(crate) use memory::Memory;
pub(crate) use power::{Fault, Network, Phase, Power};
pub(crate) use process::{Footprint, Process};
pub(crate) use unit::{Unit, UnitState};

use crate::Scenario;

/// The whole machine: what QEMU is, and what runs in it.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) power: Power,
    pub(crate) guest: Guest,
}

impl State {
    /// A healthy machine at the beginning of the drill.
    pub(crate) fn healthy() -> State {
        let booted = Moment::before(11 * 86_400 + 4_327);
        State {
            power: Power::running_since(booted),
            guest: base::guest(booted),
        }
    }

    /// Boots the guest afresh in a new QEMU process.
    pub(crate) fn start(&mut self, now: Moment) {
        if self.power.qemu().is_none() {
            self.power.start(now);
            self.guest.rebooted(now.plus(Duration::from_secs(1)));
        }
    }

    /// Boots the guest afresh in the QEMU process that there is.
    pub(crate) fn reset(&mut self, now: Moment) {
        self.power.reset(now);
        if self.power.fault().is_none() {
            self.guest.rebooted(now.plus(Duration::from_secs(1)));
        }
    }
}

/// Shared access to one machine.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    state: Arc<Mutex<State>>,
    clock: Clock,
    changes: Arc<watch::Sender<u64>>,
    scenario: Scenario,
}

impl Machine {
    /// A machine broken by `scenario`.
    pub(crate) fn new(scenario: Scenario, clock: Clock) -> Machine {
        let mut state = State::healthy();
        crate::scenario::break_machine(scenario, &mut state);
        let changes = Arc::new(watch::Sender::new(state.power.generation()));
        Machine {
            state: Arc::new(Mutex::new(state)),
            clock,
            changes,
            scenario,
        }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// One step: what is due happens first, then `step`. Listeners learn of a change of power.
    pub(crate) fn step<R>(&self, step: impl FnOnce(&mut State, Moment) -> R) -> R {
        let mut state = self.lock();
        let now = self.clock.now();
        if state.power.network(now) == Network::Up {
            state.guest.settle(now);
        }
        let result = step(&mut state, now);
        let generation = state.power.generation();
        drop(state);
        self.changes.send_if_modified(|seen| {
            let changed = *seen != generation;
            *seen = generation;
            changed
        });
        result
    }

    /// The generation of the guest that runs; changes with every stop, start and reset.
    pub(crate) fn generations(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// What a dialler meets now, and how long until that changes by itself.
    pub(crate) fn network(&self) -> (Network, Option<Duration>) {
        let (state, now) = (self.lock(), self.clock.now());
        (state.power.network(now), state.power.until_up(now))
    }

    /// Whether the machine is whole again, by its scenario's judgement.
    pub(crate) fn is_healthy(&self) -> bool {
        self.step(|state, now| crate::scenario::is_healthy(self.scenario, state, now))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A step that panicked leaves a state that is still a machine's: better than none.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
