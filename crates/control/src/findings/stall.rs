//! Distinguishes a stalled disk from a spinning kernel.

use super::Signature;

/// How long the disks must have written nothing before a silent guest counts as stalled: an idle one
/// writes now and then.
const STALL_MIN_S: u64 = 60;
/// The same if the guest's processor is busy, which no idle guest's is: a booting guest may not write for a
/// while.
const SPIN_MIN_S: u64 = 30;
/// Below this processor time, in percent of one processor, the guest is idle. Waiting for a disk takes next
/// to nothing, refusing logins a little.
const IDLE_BELOW_PERCENT: u64 = 20;
/// From this processor time on it is busy. A panicked Linux spins on one processor, of which an overloaded
/// host does not provide all.
const BUSY_FROM_PERCENT: u64 = 40;

/// What the guest's disks do, as the gate measured it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DiskActivity {
    Unknown,
    WritesPerSecond(u64),
    /// Seconds without any write.
    NoWritesFor(u64),
}

impl DiskActivity {
    pub(super) fn evidence(self) -> Option<String> {
        match self {
            DiskActivity::Unknown => None,
            DiskActivity::WritesPerSecond(rate) => Some(format!("disk writes: {rate} per second")),
            DiskActivity::NoWritesFor(seconds) => {
                Some(format!("disk writes: 0 for {}", span(seconds)))
            }
        }
    }
}

/// What it means that a silent guest whose monitor answers writes nothing: signature and summary.
///
/// A panicked kernel and a stalled disk both write nothing. The panicked kernel spins; a guest that waits for
/// its disk is idle. If neither is seen, neither is claimed.
pub(super) fn stall(disk: DiskActivity, cpu_percent: Option<u64>) -> Option<(Signature, String)> {
    let DiskActivity::NoWritesFor(seconds) = disk else {
        return None;
    };
    let time = span(seconds);
    match cpu_percent {
        Some(percent @ BUSY_FROM_PERCENT..) if seconds >= SPIN_MIN_S => Some((
            Signature::GuestSpins,
            format!(
                "Disk writes 0 for {time} and the processor is busy ({percent} %), while SSH is \
                 silent: the kernel spins, as after a panic, and does not wait for a disk. The \
                 screen shows why. Cycle boots the guest again."
            ),
        )),
        _ if seconds < STALL_MIN_S => None,
        Some(percent @ ..IDLE_BELOW_PERCENT) => Some((
            Signature::IoStall,
            format!(
                "Disk writes 0 for {time} and the processor is idle ({percent} %), while the monitor \
                 answers and SSH is silent: an I/O stall; after a panic the processor would be \
                 busy. Cycle; reset will not help."
            ),
        )),
        _ => Some((
            Signature::IoStall,
            format!(
                "Disk writes 0 for {time} while the monitor answers and the guest does not answer SSH: \
                 an I/O stall, unless the screen shows a panic. Cycle; reset will not help."
            ),
        )),
    }
}

fn span(seconds: u64) -> String {
    if seconds < 120 {
        format!("{seconds} s")
    } else {
        format!("{} min", seconds / 60)
    }
}
