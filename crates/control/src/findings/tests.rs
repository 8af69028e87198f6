use breakglass_verbs::Verdict;

use super::*;

/// A guest that has been silent for a minute on a machine that runs, both just looked at.
struct Case {
    guest: (Guest, u64, u32),
    verdict: Verdict,
    machine: Machine,
    still: Option<u64>,
    looked: (u64, u32),
    ages: [u64; 2],
    ha_unknown: bool,
    since_change: Option<Duration>,
}

impl Default for Case {
    fn default() -> Case {
        Case {
            guest: (Guest::Silent, 60, 9),
            verdict: Verdict::Running,
            machine: Machine::default(),
            still: None,
            looked: (60, 9),
            ages: [0, 0],
            ha_unknown: false,
            since_change: None,
        }
    }
}

impl Case {
    fn told(&self) -> Told {
        Told::new(&self.verdict, Some(&self.machine))
    }

    fn finding(&self) -> Option<Finding> {
        let [guest_age, host_age] = self.ages.map(Duration::from_secs);
        let (what, lasts, looks) = self.guest;
        let guest = Sign {
            what,
            lasts,
            age: guest_age,
            looks,
        };
        let host = Sign {
            what: Host::Told(self.told()),
            lasts: self.looked.0,
            age: host_age,
            looks: self.looked.1,
        };
        let signs = Signs {
            guest,
            host,
            machine: Some(&self.machine),
            still: self.still,
            ha_unknown: self.ha_unknown,
            words: ["no answer", "as told"],
            since_change: self.since_change,
        };
        signs.finding()
    }

    fn says(&self) -> Option<(Signature, Option<Verb>)> {
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

/// Every state of a guest with which nothing else is wrong, and what helps.
#[test]
fn each_state_has_its_finding_with_the_remedy_that_helps() {
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
            case.says(),
            expected,
            "{:?} {:?}",
            case.verdict,
            case.machine
        );
    }
    let said = by_run("io-error").summary();
    assert!(
        said.contains("storage gives errors: free space on the host"),
        "{said}"
    );
}

#[test]
fn a_stall_a_spin_and_mere_silence_are_told_apart_and_none_is_guessed() {
    use Signature as S;
    let rows = [
        (Some(60), Some(2), S::IoStall, "the processor rests (2 %)"),
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
    for (still, cpu_percent, signature, words) in rows {
        let machine = Machine {
            cpu_percent,
            ..Machine::default()
        };
        let case = Case {
            still,
            machine,
            ..Case::default()
        };
        assert_eq!(
            case.says(),
            Some((signature, Some(Verb::Cycle))),
            "{still:?}"
        );
        assert!(case.summary().contains(words), "{}", case.summary());
    }
}

#[test]
fn what_was_measured_is_evidence() {
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
        "VM: as told",
        "disk writes: 12 per second",
        "processor time: 98 % of one",
    ];
    assert_eq!(evidence, wanted);
}

#[test]
fn a_kernel_that_refuses_connections_lives_and_is_not_ended() {
    let case = Case {
        guest: (Guest::Refused, 60, 9),
        still: Some(600),
        machine: Machine {
            cpu_percent: Some(0),
            ..Machine::default()
        },
        ..Case::default()
    };
    assert_eq!(case.says(), Some((Signature::SshRefused, None)));
}

#[test]
fn a_machine_that_is_off_while_ssh_answers_has_lost_its_address_to_another() {
    for guest in [Guest::Answers, Guest::Strange] {
        let case = Case {
            guest: (guest, 60, 9),
            verdict: Verdict::Stopped,
            ..Case::default()
        };
        assert_eq!(case.says(), Some((Signature::AddressTaken, None)));
    }
}

#[test]
fn a_dead_monitor_is_said_and_not_cycled_while_the_guest_answers() {
    let case = Case {
        guest: (Guest::Answers, 60, 9),
        verdict: Verdict::MonitorDead,
        ..Case::default()
    };
    assert_eq!(case.says(), Some((Signature::MonitorDead, None)));
    assert!(case.summary().contains("no verb is needed now"));
}

#[test]
fn a_guest_that_is_frozen_is_thawed_and_one_that_is_backed_up_is_busy() {
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
    assert_eq!(busy.says(), Some((Signature::Busy, None)));
    let said = busy.summary();
    assert!(
        said.contains("the lock backup (task 4711) holds it"),
        "{said}"
    );
    assert!(said.contains("since 03:00"), "{said}");
    let frozen = Case {
        machine: Machine {
            frozen: Some(true),
            ..backup
        },
        still: Some(600),
        ..Case::default()
    };
    assert_eq!(frozen.says(), Some((Signature::GuestFrozen, None)));
    assert!(frozen.summary().contains("qm guest cmd ID fsfreeze-thaw"));
    assert!(frozen.summary().contains("virsh domfsthaw"));
}

#[test]
fn a_guest_that_sleeps_on_its_disk_is_woken_and_one_being_put_to_sleep_is_busy() {
    let mut case = verdict(Verdict::Locked("suspended".into()));
    case.machine.lock = Some("suspended (the guest sleeps on its disk)".into());
    let wakes = Some((Signature::VmSuspended, Some(Verb::Start)));
    assert_eq!(case.says(), wakes);
    let busy = Some((Signature::Busy, None));
    case.machine.pid = Some(4711);
    assert_eq!(case.says(), busy);
    case.machine.pid = None;
    case.machine.lock = Some("suspending (task 4711)".into());
    assert_eq!(case.says(), busy);
}

/// What may come to a person at three in the morning: who answers, what the host says, what it means.
#[test]
fn each_odd_night_is_told_as_what_it_is() {
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
            guest(Guest::Strange, Case::default()),
            None,
        ),
        ("all is well", guest(Guest::Answers, Case::default()), None),
        (
            "the guest was not asked yet",
            guest(Guest::Unknown, verdict(Verdict::Stopped)),
            None,
        ),
        (
            "the guest is being waited for",
            guest(Guest::Waiting, verdict(Verdict::MonitorDead)),
            None,
        ),
        (
            "a backup while all is well",
            guest(Guest::Answers, verdict(backup())),
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
                Guest::Answers,
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
            guest(Guest::Refused, verdict(Verdict::Stopped)),
            Some((S::VmStopped, Some(Verb::Start))),
        ),
        (
            "storage errors behind a refused key",
            guest(Guest::Strange, by_run("io-error")),
            None,
        ),
        (
            "the kernel panicked and SSH answers",
            guest(Guest::Answers, by_run("guest-panicked")),
            None,
        ),
        (
            "QEMU is stuck and a migration runs",
            with(Verdict::Unkillable, run("finish-migrate")),
            Some((S::Busy, None)),
        ),
        (
            "QEMU is stuck and SSH answers",
            guest(Guest::Answers, verdict(Verdict::Unkillable)),
            None,
        ),
    ];
    for (night, case, expected) in rows {
        assert_eq!(case.says(), expected, "{night}");
    }
}

#[test]
fn a_guest_that_could_not_be_started_again_is_not_ended_and_the_reason_is_said() {
    let mut case = Case::default();
    case.machine.no_way_back = Some("The cluster has no quorum.".into());
    assert_eq!(case.says(), Some((Signature::GuestSilent, None)));
    assert!(case.summary().ends_with("The cluster has no quorum."));
}

#[test]
fn high_availability_is_said_where_it_manages_and_where_that_is_not_known() {
    let mut case = verdict(Verdict::Stopped);
    let plain = case.summary();
    case.machine.ha_managed = Some(true);
    assert!(case.summary().contains("requests to it"));
    case.machine.ha_managed = Some(false);
    assert_eq!(case.summary(), plain);
    case.machine.ha_managed = None;
    assert_eq!(case.summary(), plain);
    case.ha_unknown = true;
    assert!(case.summary().ends_with("is not known."));
}

#[test]
fn signs_of_different_times_are_not_put_together() {
    for (ages, is_found) in [([40, 40], true), ([46, 0], false), ([0, 46], false)] {
        let case = Case {
            ages,
            ..Case::default()
        };
        assert_eq!(case.finding().is_some(), is_found, "{ages:?}");
    }
}

#[test]
fn a_guest_that_was_just_cycled_is_given_time_to_come_up() {
    for (ago, is_found) in [(30, false), (120, true)] {
        let case = Case {
            since_change: Some(Duration::from_secs(ago)),
            ..Case::default()
        };
        assert_eq!(case.finding().is_some(), is_found, "{ago}");
    }
}

const GUESTS: [Guest; 6] = [
    Guest::Unknown,
    Guest::Waiting,
    Guest::Answers,
    Guest::Strange,
    Guest::Silent,
    Guest::Refused,
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

/// Everything that can be seen, in every combination, with what it was seen for.
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
            still: bit(bits, 7).then_some(600),
            looked: (
                if bit(bits, 8) { 60 } else { 0 },
                if bit(bits, 9) { 2 } else { 1 },
            ),
            ..Case::default()
        })
    })
}

#[test]
fn in_no_combination_is_a_guest_ended_that_answers_or_a_verb_told_that_is_forbidden() {
    let mut found = 0;
    for case in all() {
        let Some(finding) = case.finding() else {
            continue;
        };
        found += 1;
        let shown = || format!("{finding:?}: {:?} {:?}", case.guest, case.machine);
        let recommends = finding.recommend;
        let (guest, _, looks) = case.guest;
        let machine = &case.machine;
        assert!(looks >= 2 && case.looked.1 >= 2, "one look: {}", shown());
        assert!(
            finding.signature.row().lasts <= case.looked.0,
            "too early: {}",
            shown()
        );
        assert!(
            !matches!(guest, Guest::Unknown | Guest::Waiting),
            "{}",
            shown()
        );
        if guest.answers() {
            assert_eq!(recommends, None, "{}", shown());
            assert_ne!(finding.signature, Signature::VmStopped, "{}", shown());
        }
        // The property's locks are those of tasks: none of them marks a guest that sleeps.
        let held = machine.lock.is_some() || machine.job.is_some() || case.told().held;
        let gone = machine.elsewhere.is_some();
        let frozen = machine.frozen == Some(true);
        if held || gone || frozen || machine.no_way_back.is_some() {
            assert_eq!(recommends, None, "{}", shown());
        }
        if held {
            assert!(!finding.summary.contains("dead"), "{}", shown());
        }
        // Of the verbs that end something only the one that also starts is ever told.
        assert!(
            matches!(recommends, None | Some(Verb::Start | Verb::Cycle)),
            "{}",
            shown()
        );
    }
    assert!(found > 1_000, "{found}");
}
