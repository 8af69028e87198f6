//! From evidence to verdict and exit code. Pure: nothing here looks or acts.

use breakglass_verbs::{Verb, Verdict};

use crate::driver::{Evidence, Failure, Monitor, Process, Qemu};

/// What the evidence says of the guest, by itself.
#[must_use]
pub fn judge(evidence: &Evidence) -> Verdict {
    match &evidence.qemu {
        Qemu::Absent => Verdict::Stopped,
        Qemu::Unseen(why) => Verdict::Unknown(why.clone()),
        Qemu::Alive(process) => judge_alive(*process, &evidence.monitor),
    }
}

fn judge_alive(process: Process, monitor: &Monitor) -> Verdict {
    match (monitor, process.state) {
        (Monitor::Says(state), _) if state == "running" => Verdict::Running,
        (Monitor::Says(state), _) => Verdict::Unknown(format!("QEMU is up, the guest is {state}")),
        (_, 'D') => Verdict::Unkillable,
        // The first thread has ended; another one may still sit in the kernel.
        (_, 'Z' | 'X') => Verdict::Unknown("QEMU is dying, its process is not gone yet".to_owned()),
        (Monitor::Silent(_) | Monitor::NotAsked, _) => Verdict::MonitorDead,
    }
}

/// How `verb` ended: the verdict, and 0 when the verb reached its goal, else 1.
///
/// The exit code tells about the verb, the verdict about the guest: a reset that was refused
/// leaves a guest that is `running`, and exits with 1.
#[must_use]
pub(crate) fn conclude(
    verb: Verb,
    before: &Evidence,
    after: &Evidence,
    failure: Option<&Failure>,
) -> (Verdict, u8) {
    let state = judge(after);
    let reached = match verb {
        Verb::Status | Verb::Forensics => !matches!(after.qemu, Qemu::Unseen(_)),
        Verb::Start => state == Verdict::Running,
        Verb::Stop => state == Verdict::Stopped,
        Verb::Reset => state == Verdict::Running && failure.is_none(),
        Verb::Cycle => state == Verdict::Running && is_fresh(before, after),
    };
    match failure.and_then(|failure| failure.lock.clone()) {
        _ if reached && verb == Verb::Stop && after.ha_managed => (Verdict::HaManaged, 1),
        _ if reached => (state, 0),
        // Nothing outranks a process that can't be killed: no lock that is lifted would help.
        _ if state == Verdict::Unkillable => (state, 1),
        Some(lock) => (Verdict::Locked(lock), 1),
        None if after.ha_managed && verb.is_mutating() => (Verdict::HaManaged, 1),
        None => (state, 1),
    }
}

/// Whether the QEMU process of `after` is another one than that of `before`.
fn is_fresh(before: &Evidence, after: &Evidence) -> bool {
    match &before.qemu {
        Qemu::Absent => true,
        Qemu::Alive(process) => after.outlived(*process),
        Qemu::Unseen(_) => false,
    }
}
