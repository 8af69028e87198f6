//! The machine as the hypervisor sees it: the QEMU process, and how far its guest has booted.
//!
//! ```text
//!            start                0.3 s          1 s            3.5 s
//!   off ───────────▶ process ──▶ monitor ──▶ kernel boots ──▶ SSH answers
//!    ▲                  │            ▲
//!    └──── stop ────────┘            └─── reset (the process survives, and a stall with it)
//! ```

use std::time::Duration;

use super::clock::Moment;

/// When the parts of a machine answer after its start.
const MONITOR_AFTER: Duration = Duration::from_millis(300);
const KERNEL_AFTER: Duration = Duration::from_secs(1);
const SSH_AFTER: Duration = Duration::from_millis(3500);
/// Disk writes of a healthy guest.
const WRITES_PER_SECOND: u64 = 11;

/// A fault below the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// QEMU has completed no disk request since then. Part of the QEMU process.
    IoStall(Moment),
    /// The guest's kernel panicked then. Part of the guest's memory.
    Panic(Moment),
}

/// A QEMU process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Qemu {
    pub(crate) pid: u32,
    pub(crate) started: Moment,
    /// When its guest last began to boot: later than `started` after a reset.
    reset: Moment,
    pub(crate) fault: Option<Fault>,
}

impl Qemu {
    fn new(pid: u32, started: Moment) -> Qemu {
        Qemu {
            pid,
            started,
            reset: started,
            fault: None,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Power {
    qemu: Option<Qemu>,
    next_pid: u32,
    /// Counts stops, starts and resets: a connection of an older generation is dead.
    generation: u64,
    /// The mutating verb that runs, and since when.
    pub(crate) running_verb: Option<(&'static str, Moment)>,
}

/// The answer of the guest's SSH port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    Refused,
    /// The connection opens, but no byte ever comes.
    Silent,
    Up,
}

/// How far the guest has booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Off,
    Firmware,
    Kernel,
    Up,
}

impl Power {
    /// A machine that started before the drill began.
    pub(crate) fn running_since(started: Moment) -> Power {
        Power {
            qemu: Some(Qemu::new(23_112, started)),
            next_pid: 24_871,
            generation: 0,
            running_verb: None,
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

    /// Ends the QEMU process, and every fault with it.
    pub(crate) fn stop(&mut self) {
        self.qemu = None;
        self.generation += 1;
    }

    /// Starts a QEMU process unless one runs.
    pub(crate) fn start(&mut self, now: Moment) {
        if self.qemu.is_none() {
            self.qemu = Some(Qemu::new(self.next_pid, now));
            self.next_pid += 1_723;
            self.generation += 1;
        }
    }

    /// Boots the guest again in the same process: this ends a panic, but not a stall.
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
        let since_start = self.qemu.map(|qemu| now.since(qemu.started));
        since_start.is_some_and(|time| time >= MONITOR_AFTER)
    }

    pub(crate) fn phase(&self, now: Moment) -> Phase {
        let Some(qemu) = &self.qemu else {
            return Phase::Off;
        };
        let is_stuck = matches!(qemu.fault, Some(Fault::IoStall(since)) if since < qemu.reset);
        match now.since(qemu.reset) {
            _ if is_stuck => Phase::Firmware,
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

    /// The time until SSH answers, if the guest is booting.
    pub(crate) fn until_up(&self, now: Moment) -> Option<Duration> {
        let qemu = self.qemu.filter(|qemu| qemu.fault.is_none())?;
        let left = SSH_AFTER.checked_sub(now.since(qemu.reset))?;
        (!left.is_zero()).then_some(left)
    }

    /// Number of writes that the virtual disk has completed since the process started.
    pub(crate) fn disk_writes(&self, now: Moment) -> u64 {
        let Some(qemu) = &self.qemu else { return 0 };
        let until = match qemu.fault {
            Some(Fault::IoStall(since) | Fault::Panic(since)) => since.min(now),
            None => now,
        };
        until.since(qemu.started).as_secs() * WRITES_PER_SECOND
    }
}
