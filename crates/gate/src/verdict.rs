//! Derives verdict and exit code from evidence. Pure: nothing here probes or acts.

use breakglass_verbs::{Verb, Verdict};

use crate::driver::{Evidence, Failure, Location, Monitor, Process, Qemu};

/// The state of the guest, according to the evidence alone.
#[must_use]
pub fn judge(evidence: &Evidence) -> Verdict {
    match &evidence.qemu {
        Qemu::Absent => match &evidence.location {
            Location::ThisHost => Verdict::Stopped,
            Location::OtherNode(node) => Verdict::Unknown(format!("not on this host; on {node}")),
            Location::Gone => {
                Verdict::Unknown("not on this host; its configuration is gone".into())
            }
        },
        Qemu::Unknown(why) => Verdict::Unknown(why.clone()),
        Qemu::Alive(process) => judge_alive(*process, &evidence.monitor),
    }
}

fn judge_alive(process: Process, monitor: &Monitor) -> Verdict {
    match (monitor, process.state) {
        (Monitor::State(state), _) if state.is_running() => Verdict::Running,
        (Monitor::State(state), _) => Verdict::Unknown(format!("QEMU is up, the guest is {state}")),
        (_, 'D') => Verdict::Unkillable,
        // The first thread has ended, but another one may still hang in the kernel.
        (_, 'Z' | 'X') => Verdict::Unknown("QEMU is dying, its process is not gone yet".to_owned()),
        (Monitor::Unreachable(why), _) => {
            Verdict::Unknown(format!("{why}; QEMU process {} is there", process.pid))
        }
        (Monitor::Silent(_) | Monitor::NotAsked, _) => Verdict::MonitorDead,
    }
}

/// The verdict, and the exit code: 0 if the verb reached its goal, else 1.
///
/// The exit code is about the verb, the verdict about the guest: after a reset that was refused, the
/// guest is `running`, and the exit code is 1.
#[must_use]
pub(crate) fn conclude(
    verb: Verb,
    before: &Evidence,
    after: &Evidence,
    failure: Option<&Failure>,
) -> (Verdict, u8) {
    let state = judge(after);
    let reached = match verb {
        Verb::Status | Verb::Forensics | Verb::Vitals | Verb::Screenshot => {
            !matches!(after.qemu, Qemu::Unknown(_))
        }
        Verb::Start => state == Verdict::Running,
        Verb::Stop => state == Verdict::Stopped,
        Verb::Reset => state == Verdict::Running && failure.is_none(),
        Verb::Cycle => state == Verdict::Running && is_fresh(before, after),
    };
    match failure.and_then(|failure| failure.lock.clone()) {
        _ if reached => (state, 0),
        // A process that can't be killed comes first: removing a lock would not help.
        _ if state == Verdict::Unkillable => (state, 1),
        Some(lock) => (Verdict::Locked(lock), 1),
        None if failure.is_some_and(|failure| failure.requested) => (Verdict::HaManaged, 1),
        None => (state, 1),
    }
}

/// Whether `after` has another QEMU process than `before`.
fn is_fresh(before: &Evidence, after: &Evidence) -> bool {
    match &before.qemu {
        Qemu::Absent => true,
        Qemu::Alive(process) => after.is_gone(*process),
        Qemu::Unknown(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QEMU: Process = Process {
        pid: 7,
        started: 100,
        state: 'S',
    };
    const FRESH: Process = Process {
        pid: 8,
        started: 200,
        state: 'S',
    };

    fn off() -> Evidence {
        Evidence::default()
    }

    fn on(process: Process, monitor: Monitor) -> Evidence {
        Evidence {
            qemu: Qemu::Alive(process),
            monitor,
            ..Evidence::default()
        }
    }

    fn in_state(process: Process, state: &str) -> Evidence {
        on(process, Monitor::State(state.into()))
    }

    fn silent(state: char) -> Evidence {
        on(
            Process { state, ..QEMU },
            Monitor::Silent("no answer".to_owned()),
        )
    }

    #[test]
    fn verdict_depends_only_on_the_evidence() {
        let unknown = Evidence {
            qemu: Qemu::Unknown("no /proc".to_owned()),
            ..off()
        };
        let at = |location| Evidence { location, ..off() };
        for (evidence, verdict) in [
            (off(), "stopped"),
            (in_state(QEMU, "running"), "running"),
            (
                in_state(Process { state: 'D', ..QEMU }, "running"),
                "running",
            ),
            (
                in_state(QEMU, "paused"),
                "unknown (QEMU is up, the guest is paused)",
            ),
            (
                in_state(QEMU, "io-error"),
                "unknown (QEMU is up, the guest is io-error)",
            ),
            (silent('S'), "monitor-dead"),
            (silent('T'), "monitor-dead"),
            (silent('D'), "unkillable (D state)"),
            (
                silent('Z'),
                "unknown (QEMU is dying, its process is not gone yet)",
            ),
            (on(QEMU, Monitor::NotAsked), "monitor-dead"),
            (
                on(QEMU, Monitor::Unreachable("libvirtd hangs".to_owned())),
                "unknown (libvirtd hangs; QEMU process 7 is there)",
            ),
            (unknown, "unknown (no /proc)"),
            (
                at(Location::OtherNode("pve2".to_owned())),
                "unknown (not on this host; on pve2)",
            ),
            (
                at(Location::Gone),
                "unknown (not on this host; its configuration is gone)",
            ),
        ] {
            assert_eq!(judge(&evidence).to_string(), verdict, "{evidence:?}");
        }
    }

    #[test]
    fn exit_code_is_0_only_if_the_verb_reached_its_goal() {
        let run = || in_state(QEMU, "running");
        let locked = || {
            Some(Failure {
                lock: Some("backup".to_owned()),
                ..Failure::from("locked".to_owned())
            })
        };
        let failed = || Some(Failure::from("no quorum".to_owned()));
        let requested = || {
            Some(Failure {
                requested: true,
                ..Failure::from("asked for".to_owned())
            })
        };
        let again = in_state(FRESH, "running");
        for (verb, before, after, failure, expected) in [
            (
                Verb::Status,
                run(),
                silent('D'),
                None,
                "unkillable (D state) 0",
            ),
            (Verb::Start, off(), run(), None, "running 0"),
            (Verb::Start, off(), off(), failed(), "stopped 1"),
            (Verb::Start, off(), off(), locked(), "locked (backup) 1"),
            (Verb::Start, off(), run(), failed(), "running 0"),
            (
                Verb::Start,
                off(),
                off(),
                requested(),
                "ha-managed (requested; HA decides) 1",
            ),
            (Verb::Stop, run(), off(), None, "stopped 0"),
            (Verb::Stop, run(), off(), failed(), "stopped 0"),
            (Verb::Stop, run(), run(), None, "running 1"),
            (
                Verb::Stop,
                run(),
                silent('D'),
                None,
                "unkillable (D state) 1",
            ),
            (
                Verb::Stop,
                run(),
                silent('D'),
                locked(),
                "unkillable (D state) 1",
            ),
            (
                Verb::Stop,
                run(),
                run(),
                requested(),
                "ha-managed (requested; HA decides) 1",
            ),
            (Verb::Stop, run(), off(), requested(), "stopped 0"),
            (Verb::Cycle, run(), again.clone(), requested(), "running 0"),
            (Verb::Reset, run(), run(), None, "running 0"),
            (Verb::Reset, run(), run(), failed(), "running 1"),
            (Verb::Reset, off(), off(), failed(), "stopped 1"),
            (Verb::Cycle, run(), again.clone(), None, "running 0"),
            (Verb::Cycle, off(), run(), None, "running 0"),
            (Verb::Cycle, run(), run(), None, "running 1"),
            (Verb::Cycle, run(), off(), failed(), "stopped 1"),
            (Verb::Cycle, run(), silent('S'), failed(), "monitor-dead 1"),
            (Verb::Cycle, silent('S'), again, None, "running 0"),
        ] {
            let (verdict, exit) = conclude(verb, &before, &after, failure.as_ref());
            assert_eq!(
                format!("{verdict} {exit}"),
                expected,
                "{verb} {before:?} {after:?}"
            );
        }
    }
}
