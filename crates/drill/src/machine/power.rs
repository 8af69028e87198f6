//! The hypervisor's side of the machine: the QEMU process, and how far the guest in it has come.
//!
//! ```text
//!            start                0.3 s          1 s            3.5 s
//!   off ───────────▶ process ──▶ monitor ──▶ kernel boots ──▶ SSH answers
//!    ▲                  │            ▲
//!    └──── stop ────────┘            └─── reset (the process stays, and with it a stall)
//! ```

use std::time::Duration;

use super::clock::Moment;

const MONITOR_AFTER: Duration = Duration::from_millis(300);
const KERNEL_AFTER: Duration = Duration::from_secs(1);
const SSH_AFTER: Duration = Duration::from_millis(3500);
/// Block writes a second of a healthy guest.
const WRITES_PER_SECOND: u64 = 11;

/// What has gone wrong below the guest, if anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// QEMU no longer completes disk requests, since then. Lives in the QEMU process.
    IoStall(Moment),
    /// The guest's kernel has panicked, then. Lives in the guest's memory.
    Panic(Moment),
}

/// A QEMU process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Qemu {
    pub(crate) pid: u32,
    pub(crate) started: Moment,
    /// When the guest in it last began to boot: later than `started` after a reset.
    pub(crate) reset: Moment,
    pub(crate) fault: Option<Fault>,
}

/// Whether there is a QEMU process, and which.
#[derive(Debug, Clone)]
pub(crate) struct Power {
    qemu: Option<Qemu>,
    next_pid: u32,
    /// Counts resets and starts: a connection of an older generation is dead.
    generation: u64,
    /// The mutating verb that holds the guest, and since when.
    pub(crate) holder: Option<(&'static str, Moment)>,
}

/// What someone who dials the guest's SSH port meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    /// Nobody listens.
    Refused,
    /// The connection opens, and nothing ever comes.
    Silent,
    /// SSH answers.
    Up,
}

/// How far a boot has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Off,
    Firmware,
    Kernel,
    Up,
}

impl Power {
    /// A machine that has run for so long before the drill began.
    pub(crate) fn running_since(started: Moment) -> Power {
        let qemu = Qemu {
            pid: 23_112,
            started,
            reset: started,
            fault: None,
        };
        Power {
            qemu: Some(qemu),
            next_pid: 24_871,
            generation: 0,
            holder: None,
        }
    }

    pub(crate) fn qemu(&self) -> Option<&Qemu> {
        self.qemu.as_ref()
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn fault(&self) -> Option<Fault> {
        self.qemu.and_then(|qemu| qemu.fault)
    }

    pub(crate) fn set_fault(&mut self, fault: Fault) {
        if let Some(qemu) = &mut self.qemu {
            qemu.fault = Some(fault);
        }
    }

    /// Ends the QEMU process, and with it every fault.
    pub(crate) fn stop(&mut self) {
        self.qemu = None;
        self.generation += 1;
    }

    /// A fresh QEMU process; does nothing if there is one.
    pub(crate) fn start(&mut self, now: Moment) {
        if self.qemu.is_none() {
            self.qemu = Some(Qemu {
                pid: self.next_pid,
                started: now,
                reset: now,
                fault: None,
            });
            self.next_pid += 1_723;
            self.generation += 1;
        }
    }

    /// Boots the guest again inside the same process: a panic goes, a stall stays.
    pub(crate) fn reset(&mut self, now: Moment) {
        if let Some(qemu) = &mut self.qemu {
            qemu.reset = now;
            qemu.fault = qemu
                .fault
                .filter(|fault| matches!(fault, Fault::IoStall(_)));
            self.generation += 1;
        }
    }

    pub(crate) fn monitor_answers(&self, now: Moment) -> bool {
        self.qemu
            .is_some_and(|qemu| now.since(qemu.started) >= MONITOR_AFTER)
    }

    pub(crate) fn phase(&self, now: Moment) -> Phase {
        let Some(qemu) = &self.qemu else {
            return Phase::Off;
        };
        let stuck = matches!(qemu.fault, Some(Fault::IoStall(since)) if since < qemu.reset);
        match now.since(qemu.reset) {
            _ if stuck => Phase::Firmware,
            elapsed if elapsed >= SSH_AFTER => Phase::Up,
            elapsed if elapsed >= KERNEL_AFTER => Phase::Kernel,
            _ => Phase::Firmware,
        }
    }

    pub(crate) fn network(&self, now: Moment) -> Network {
        match (self.phase(now), self.fault()) {
            (Phase::Off, _) => Network::Refused,
            (_, Some(_)) => Network::Silent,
            (Phase::Up, None) => Network::Up,
            (Phase::Firmware | Phase::Kernel, None) => Network::Refused,
        }
    }

    /// Time until the network changes by itself, if it will.
    pub(crate) fn until_up(&self, now: Moment) -> Option<Duration> {
        let qemu = self.qemu.as_ref().filter(|qemu| qemu.fault.is_none())?;
        SSH_AFTER
            .checked_sub(now.since(qemu.reset))
            .filter(|left| !left.is_zero())
    }

    /// Write operations that the virtual disk has completed since the process began.
    pub(crate) fn disk_writes(&self, now: Moment) -> u64 {
        let Some(qemu) = &self.qemu else { return 0 };
        let until = match qemu.fault {
            Some(Fault::IoStall(since) | Fault::Panic(since)) => since.min(now),
            None => now,
        };
        until.since(qemu.started).as_secs() * WRITES_PER_SECOND
    }
}
