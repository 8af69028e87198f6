//! The state of a simulated guest and its QEMU process, behind one lock.
//!
//! Shell commands, the gate's driver and the SSH servers take the lock for one short step each. Every
//! step first brings the state up to the current time, so no reader sees half a change.

mod base;
mod clock;
mod content;
mod disk;
mod guest;
mod journal;
mod memory;
mod power;
mod process;
mod unit;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

pub(crate) use clock::{Clock, Moment};
pub(crate) use content::{Content, cut, tail};
pub(crate) use disk::{BLOCK, Disk, DiskError, Node, depth, resolve};
pub(crate) use guest::Guest;
pub(crate) use journal::Entry;
pub(crate) use memory::Memory;
pub(crate) use power::{Fault, Network, Phase, Power};
pub(crate) use process::{Footprint, Process};
pub(crate) use unit::{Unit, UnitState};

/// How long the firmware runs before the kernel boots.
const FIRMWARE_DURATION: Duration = Duration::from_secs(1);

/// The whole machine: its QEMU process and its guest.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) power: Power,
    pub(crate) guest: Guest,
}

impl State {
    /// A healthy machine at the beginning of the drill.
    ///
    /// # Errors
    /// If the machine's description can't be parsed.
    pub(crate) fn healthy() -> io::Result<State> {
        let booted = Moment::before(11 * 86_400 + 4_327);
        Ok(State {
            power: Power::running_since(booted),
            guest: base::guest(booted).map_err(io::Error::other)?,
        })
    }

    /// Boots the guest in a new QEMU process, unless one runs.
    pub(crate) fn start(&mut self, now: Moment) {
        if self.power.qemu().is_none() {
            self.power.start(now);
            self.guest.reboot(now.plus(FIRMWARE_DURATION));
        }
    }

    /// Boots the guest again in the running QEMU process.
    pub(crate) fn reset(&mut self, now: Moment) {
        self.power.reset(now);
        if self.power.fault().is_none() {
            self.guest.reboot(now.plus(FIRMWARE_DURATION));
        }
    }
}

/// Shared access to one machine.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    state: Arc<Mutex<State>>,
    clock: Clock,
    generations: Arc<watch::Sender<u64>>,
}

impl Machine {
    pub(crate) fn new(state: State, clock: Clock) -> Machine {
        let generations = Arc::new(watch::Sender::new(state.power.generation()));
        Machine {
            state: Arc::new(Mutex::new(state)),
            clock,
            generations,
        }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Brings the state up to the current time and runs `step` on it under the lock.
    pub(crate) fn step<R>(&self, step: impl FnOnce(&mut State, Moment) -> R) -> R {
        let mut state = self.lock();
        let now = self.clock.now();
        if state.power.network(now) == Network::Up {
            state.guest.settle(now);
        }
        let result = step(&mut state, now);
        let generation = state.power.generation();
        drop(state);
        self.generations.send_if_modified(|seen| {
            let changed = *seen != generation;
            *seen = generation;
            changed
        });
        result
    }

    /// The generation of the running guest; changes with every stop, start and reset.
    pub(crate) fn generations(&self) -> watch::Receiver<u64> {
        self.generations.subscribe()
    }

    /// The answer of the guest's SSH port, and the time until it changes without a command.
    pub(crate) fn network(&self) -> (Network, Option<Duration>) {
        let (state, now) = (self.lock(), self.clock.now());
        (state.power.network(now), state.power.until_up(now))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A step that panicked leaves a usable state behind: better than none.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
