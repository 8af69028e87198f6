use breakglass_verbs::Verdict;

use super::*;
use crate::measurement::Measurement;

/// A guest that has been silent for a minute on a running machine, both just probed.
struct Case {
    guest: (GuestSign, u64, u32),
    verdict: Verdict,
    machine: Machine,
    no_writes_s: Option<u64>,
    host_probes: (u64, u32),
    ages: [u64; 2],
    ha_unknown: bool,
    since_change: Option<Duration>,
}

impl Default for Case {
    fn default() -> Case {
        Case {
            guest: (GuestSign::Silent, 60, 9),
            verdict: Verdict::Running,
            machine: Machine::default(),
            no_writes_s: None,
            host_probes: (60, 9),
            ages: [0, 0],
            ha_unknown: false,
            since_change: None,
        }
    }
}

impl Case {
    fn report(&self) -> MachineReport {
        let lock = self.machine.lock.as_deref();
        let measurement = Measurement {
            machine: self.machine.clone(),
            lock_kind: lock
                .and_then(|lock| lock.split(' ').next())
                .map(str::to_owned),
            ..Measurement::default()
        };
        MachineReport::new(&self.verdict, Some(&measurement))
    }

    fn finding(&self) -> Option<Finding> {
        let [guest_age, host_age] = self.ages.map(Duration::from_secs);
        let (value, lasted_s, probes) = self.guest;
        let guest = Sign {
            value,
            lasted_s,
            age: guest_age,
            probes,
        };
        let host = Sign {
            value: HostSign::Reported(self.report()),
            lasted_s: self.host_probes.0,
            age: host_age,
            probes: self.host_probes.1,
        };
        let signs = Signs {
            guest,
            host,
            machine: Some(&self.machine),
            no_writes_s: self.no_writes_s,
            ha_unknown: self.ha_unknown,
            ssh_text: "no answer",
            vm_text: "as reported",
            since_change: self.since_change,
        };
        signs.finding()
    }

    fn conclusion(&self) -> Option<(Signature, Option<Verb>)> {
        let found = self.finding()?;
        Some((found.signature, found.recommend))
    }

    fn summary(&self) -> String {
        self.finding().unwrap().summary
    }
}

fn run(state: &str) -> Machine {
    Machine {
        run_state: Some(state.to_owned()),
        ..Machine::default()
    }
}

fn by_run(state: &str) -> Case {
    Case {
        verdict: Verdict::Unknown(format!("QEMU is up, the guest is {state}")),
        machine: run(state),
        ..Case::default()
    }
}

fn verdict(verdict: Verdict) -> Case {
    Case {
        verdict,
        ..Case::default()
    }
}

/// Every state of a guest without another problem, and the remedy.
#[test]
fn each_state_has_its_finding_and_remedy() {
    use Signature as S;
    use Verb::{Cycle, Start};
    let rows = [
        (
            verdict(Verdict::Running),
            Some((S::GuestSilent, Some(Cycle))),
        ),
        (verdict(Verdict::Stopped), Some((S::VmStopped, Some(Start)))),
        (
            verdict(Verdict::MonitorDead),
            Some((S::MonitorDead, Some(Cycle))),
        ),
        (verdict(Verdict::Unkillable), Some((S::Unkillable, None))),
        (
            verdict(Verdict::Locked("backup".into())),
            Some((S::Busy, None)),
        ),
        (verdict(Verdict::Unknown("no answer".into())), None),
        (verdict(Verdict::HaManaged), None),
        (
            by_run("guest-panicked"),
            Some((S::GuestPanicked, Some(Cycle))),
        ),
        (by_run("io-error"), Some((S::QemuIoError, Some(Start)))),
        (by_run("paused"), Some((S::VmPaused, Some(Start)))),
        (
            by_run("internal-error"),
            Some((S::QemuInternalError, Some(Cycle))),
        ),
        (
            by_run("watchdog"),
            Some((S::QemuInternalError, Some(Cycle))),
        ),
        (by_run("shutdown"), Some((S::VmShutDown, Some(Cycle)))),
        (by_run("suspended"), Some((S::VmSuspended, Some(Start)))),
        (by_run("prelaunch"), Some((S::VmPrelaunch, Some(Start)))),
        (by_run("inmigrate"), Some((S::Busy, None))),
        (by_run("finish-migrate"), Some((S::Busy, None))),
        (by_run("postmigrate"), Some((S::NotHere, None))),
        (by_run("a-word-of-a-newer-qemu"), None),
    ];
    for (case, expected) in rows {
        assert_eq!(
            case.conclusion(),
            expected,
            "{:?} {:?}",
            case.verdict,
            case.machine
        );
    }
    let said = by_run("io-error").summary();
    assert!(
        said.contains("errors of its storage: free space on the host"),
        "{said}"
    );
}

#[test]
fn stall_spin_and_silence_are_distinguished_without_guessing() {
    use Signature as S;
    let rows = [
        (Some(60), Some(2), S::IoStall, "the processor is idle (2 %)"),
        (Some(59), Some(2), S::GuestSilent, ""),
        (
            Some(30),
            Some(98),
            S::GuestSpins,
            "the processor is busy (98 %)",
        ),
        (Some(29), Some(98), S::GuestSilent, ""),
        (
            Some(60),
            Some(30),
            S::IoStall,
            "unless the screen shows a panic",
        ),
        (
            Some(190),
            None,
            S::IoStall,
            "Disk writes 0 for 3 min while the monitor answers",
        ),
        (None, Some(98), S::GuestSilent, ""),
    ];
    for (no_writes_s, cpu_percent, signature, words) in rows {
        let machine = Machine {
            cpu_percent,
            ..Machine::default()
        };
        let case = Case {
            no_writes_s,
            machine,
            ..Case::default()
        };
        assert_eq!(
            case.conclusion(),
            Some((signature, Some(Verb::Cycle))),
            "{no_writes_s:?}"
        );
        assert!(case.summary().contains(words), "{}", case.summary());
    }
}

#[test]
fn measurements_are_evidence() {
    let machine = Machine {
        writes_per_s: Some(12),
        cpu_percent: Some(98),
        ..Machine::default()
    };
    let case = Case {
        machine,
        ..Case::default()
    };
    let evidence = case.finding().unwrap().evidence;
    let wanted = [
        "guest SSH: no answer",
        "VM: as reported",
        "disk writes: 12 per second",
        "processor time: 98 % of one",
    ];
    assert_eq!(evidence, wanted);
}

#[test]
fn guest_whose_kernel_refuses_connections_is_not_stopped() {
    let case = Case {
        guest: (GuestSign::Refuses, 60, 9),
        no_writes_s: Some(600),
        machine: Machine {
            cpu_percent: Some(0),
            ..Machine::default()
        },
        ..Case::default()
    };
    assert_eq!(case.conclusion(), Some((Signature::SshRefused, None)));
}

#[test]
fn stopped_machine_whose_ssh_answers_has_lost_its_address_to_another() {
    for guest in [GuestSign::Answers, GuestSign::AnswersOddly] {
        let case = Case {
            guest: (guest, 60, 9),
            verdict: Verdict::Stopped,
            ..Case::default()
        };
        assert_eq!(case.conclusion(), Some((Signature::AddressTaken, None)));
    }
}

#[test]
fn dead_monitor_is_reported_but_not_cycled_while_the_guest_answers() {
    let case = Case {
        guest: (GuestSign::Answers, 60, 9),
        verdict: Verdict::MonitorDead,
        ..Case::default()
    };
    assert_eq!(case.conclusion(), Some((Signature::MonitorDead, None)));
    assert!(case.summary().contains("no verb is needed now"));
}

#[test]
fn frozen_guest_is_thawed_and_guest_being_backed_up_is_busy() {
    let backup = Machine {
        lock: Some("backup (task 4711)".into()),
        job: Some("vzdump of root@pam, process 4711, since 03:00".into()),
        ..Machine::default()
    };
    let busy = Case {
        verdict: Verdict::MonitorDead,
        machine: backup.clone(),
        ..Case::default()
    };
    assert_eq!(busy.conclusion(), Some((Signature::Busy, None)));
    let said = busy.summary();
    assert!(
        said.contains("it is locked by backup (task 4711)"),
        "{said}"
    );
    assert!(said.contains("since 03:00"), "{said}");
    let frozen = Case {
        machine: Machine {
            frozen: Some(true),
            ..backup
        },
        no_writes_s: Some(600),
        ..Case::default()
    };
    assert_eq!(frozen.conclusion(), Some((Signature::GuestFrozen, None)));
    assert!(frozen.summary().contains("qm guest cmd ID fsfreeze-thaw"));
    assert!(frozen.summary().contains("virsh domfsthaw"));
}

#[test]
fn guest_suspended_to_disk_is_started_and_one_being_suspended_is_busy() {
    let mut case = verdict(Verdict::Locked("suspended".into()));
    case.machine.lock = Some("suspended (the guest sleeps on its disk)".into());
    let wakes = Some((Signature::VmSuspended, Some(Verb::Start)));
    assert_eq!(case.conclusion(), wakes);
    let busy = Some((Signature::Busy, None));
    case.machine.pid = Some(4711);
    assert_eq!(case.conclusion(), busy);
    case.machine.pid = None;
    case.machine.lock = Some("suspending (task 4711)".into());
    assert_eq!(case.conclusion(), busy);
}

/// Unusual combinations: what answers, what the host reports, what it means.
#[test]
fn unusual_combinations_have_the_right_finding() {
    use Signature as S;
    let with = |verdict: Verdict, machine: Machine| Case {
        verdict,
        machine,
        ..Case::default()
    };
    let guest = |what, case: Case| Case {
        guest: (what, 60, 9),
        ..case
    };
    let locked = |lock: &str| Machine {
        lock: Some(lock.to_owned()),
        ..Machine::default()
    };
    let backup = || Verdict::Locked("backup".into());
    let elsewhere = || Machine {
        elsewhere: Some("pve2".into()),
        ..Machine::default()
    };
    let rows = [
        (
            "the key is refused, the machine runs",
            guest(GuestSign::AnswersOddly, Case::default()),
            None,
        ),
        (
            "all is well",
            guest(GuestSign::Answers, Case::default()),
            None,
        ),
        (
            "the guest was not asked yet",
            guest(GuestSign::Unknown, verdict(Verdict::Stopped)),
            None,
        ),
        (
            "the guest is being waited for",
            guest(GuestSign::Waiting, verdict(Verdict::MonitorDead)),
            None,
        ),
        (
            "a backup while all is well",
            guest(GuestSign::Answers, verdict(backup())),
            None,
        ),
        (
            "a backup of a guest that is off",
            with(backup(), run("prelaunch")),
            Some((S::Busy, None)),
        ),
        (
            "a lock that no task holds",
            with(backup(), locked("backup (no task)")),
            Some((S::Busy, None)),
        ),
        (
            "a snapshot holds the monitor",
            with(Verdict::MonitorDead, locked("snapshot")),
            Some((S::Busy, None)),
        ),
        (
            "the guest was moved and answers",
            guest(
                GuestSign::Answers,
                with(Verdict::Unknown("not on this host".into()), elsewhere()),
            ),
            Some((S::NotHere, None)),
        ),
        (
            "the guest was moved and is silent",
            with(Verdict::Unknown("not on this host".into()), elsewhere()),
            Some((S::NotHere, None)),
        ),
        (
            "its old place says that it is off",
            with(Verdict::Stopped, elsewhere()),
            Some((S::NotHere, None)),
        ),
        (
            "the guest is off and refuses nothing",
            guest(GuestSign::Refuses, verdict(Verdict::Stopped)),
            Some((S::VmStopped, Some(Verb::Start))),
        ),
        (
            "storage errors behind a refused key",
            guest(GuestSign::AnswersOddly, by_run("io-error")),
            None,
        ),
        (
            "the kernel panicked and SSH answers",
            guest(GuestSign::Answers, by_run("guest-panicked")),
            None,
        ),
        (
            "QEMU is stuck and a migration runs",
            with(Verdict::Unkillable, run("finish-migrate")),
            Some((S::Busy, None)),
        ),
        (
            "QEMU is stuck and SSH answers",
            guest(GuestSign::Answers, verdict(Verdict::Unkillable)),
            None,
        ),
    ];
    for (name, case, expected) in rows {
        assert_eq!(case.conclusion(), expected, "{name}");
    }
}

#[test]
fn guest_that_could_not_be_started_again_is_not_stopped_and_the_reason_is_given() {
    let mut case = Case::default();
    case.machine.no_way_back = Some("The cluster has no quorum.".into());
    assert_eq!(case.conclusion(), Some((Signature::GuestSilent, None)));
    assert!(case.summary().ends_with("The cluster has no quorum."));
}

#[test]
fn high_availability_is_mentioned_if_it_manages_the_guest_or_that_is_unknown() {
    let mut case = verdict(Verdict::Stopped);
    let plain = case.summary();
    case.machine.ha_managed = Some(true);
    assert!(case.summary().contains("requests to it"));
    case.machine.ha_managed = Some(false);
    assert_eq!(case.summary(), plain);
    case.machine.ha_managed = None;
    assert_eq!(case.summary(), plain);
    case.ha_unknown = true;
    assert!(case.summary().ends_with("is unknown."));
}

#[test]
fn old_signs_are_not_combined() {
    for (ages, is_found) in [([40, 40], true), ([46, 0], false), ([0, 46], false)] {
        let case = Case {
            ages,
            ..Case::default()
        };
        assert_eq!(case.finding().is_some(), is_found, "{ages:?}");
    }
}

#[test]
fn guest_that_was_just_cycled_has_time_to_boot() {
    for (ago, is_found) in [(30, false), (120, true)] {
        let case = Case {
            since_change: Some(Duration::from_secs(ago)),
            ..Case::default()
        };
        assert_eq!(case.finding().is_some(), is_found, "{ago}");
    }
}

const GUESTS: [GuestSign; 6] = [
    GuestSign::Unknown,
    GuestSign::Waiting,
    GuestSign::Answers,
    GuestSign::AnswersOddly,
    GuestSign::Silent,
    GuestSign::Refuses,
];
const RUNS: [&str; 13] = [
    "running",
    "paused",
    "io-error",
    "internal-error",
    "shutdown",
    "suspended",
    "prelaunch",
    "guest-panicked",
    "inmigrate",
    "postmigrate",
    "save-vm",
    "watchdog",
    "unheard-of",
];

/// Every combination of signs.
fn all() -> impl Iterator<Item = Case> {
    let verdicts = || {
        [
            Verdict::Running,
            Verdict::Stopped,
            Verdict::MonitorDead,
            Verdict::Unkillable,
            Verdict::Locked("backup".into()),
            Verdict::HaManaged,
            Verdict::Unknown("?".into()),
        ]
    };
    let runs = RUNS.map(Some).into_iter().chain([None]);
    let seen = runs.flat_map(move |run_state| {
        verdicts().into_iter().flat_map(move |verdict| {
            GUESTS
                .into_iter()
                .map(move |guest| (run_state, verdict.clone(), guest))
        })
    });
    let bit = |bits: u32, at: u32| bits & (1 << at) != 0;
    seen.flat_map(move |(run_state, verdict, guest)| {
        (0..1u32 << 10).map(move |bits| Case {
            guest: (guest, if bit(bits, 0) { 60 } else { 5 }, 1 + bits % 3),
            verdict: verdict.clone(),
            machine: Machine {
                run_state: run_state.map(str::to_owned),
                elsewhere: bit(bits, 1).then(|| "pve2".to_owned()),
                lock: bit(bits, 2).then(|| "backup".to_owned()),
                job: bit(bits, 3).then(|| "vzdump".to_owned()),
                no_way_back: bit(bits, 4).then(|| "No quorum.".to_owned()),
                frozen: Some(bit(bits, 5)),
                cpu_percent: bit(bits, 6).then_some(if bit(bits, 7) { 98 } else { 2 }),
                ..Machine::default()
            },
            no_writes_s: bit(bits, 7).then_some(600),
            host_probes: (
                if bit(bits, 8) { 60 } else { 0 },
                if bit(bits, 9) { 2 } else { 1 },
            ),
            ..Case::default()
        })
    })
}

#[test]
fn no_combination_stops_an_answering_guest_or_recommends_a_forbidden_verb() {
    let mut found = 0;
    for case in all() {
        let Some(finding) = case.finding() else {
            continue;
        };
        found += 1;
        let shown = || format!("{finding:?}: {:?} {:?}", case.guest, case.machine);
        let recommends = finding.recommend;
        let (guest, _, probes) = case.guest;
        let machine = &case.machine;
        assert!(
            probes >= 2 && case.host_probes.1 >= 2,
            "one probe: {}",
            shown()
        );
        assert!(
            finding.signature.row().lasts <= case.host_probes.0,
            "too early: {}",
            shown()
        );
        assert!(
            !matches!(guest, GuestSign::Unknown | GuestSign::Waiting),
            "{}",
            shown()
        );
        if guest.answers() {
            assert_eq!(recommends, None, "{}", shown());
            assert_ne!(finding.signature, Signature::VmStopped, "{}", shown());
        }
        // The locks here are those of tasks: none of them marks a suspended guest.
        let is_busy = machine.lock.is_some() || machine.job.is_some() || case.report().is_busy;
        let gone = machine.elsewhere.is_some();
        let frozen = machine.frozen == Some(true);
        if is_busy || gone || frozen || machine.no_way_back.is_some() {
            assert_eq!(recommends, None, "{}", shown());
        }
        if is_busy {
            assert!(!finding.summary.contains("dead"), "{}", shown());
        }
        // Of the verbs that stop a guest, only the one that also starts it is ever recommended.
        assert!(
            matches!(recommends, None | Some(Verb::Start | Verb::Cycle)),
            "{}",
            shown()
        );
    }
    assert!(found > 1_000, "{found}");
}
